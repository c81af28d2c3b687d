"""Derive the chain from Bitcoin: L1 blocks in, block data out, nothing else. Pure and consensus-critical."""
