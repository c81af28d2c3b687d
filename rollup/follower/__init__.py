"""Drivers that follow: Bitcoin's blocks, and the blocks that the sequencer signs."""
