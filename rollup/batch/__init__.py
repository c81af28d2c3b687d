"""The bytes of a batch: columns, compression, frames, both ways. Consensus-critical."""
