"""Post L2 blocks to Bitcoin, each exactly once as far as Bitcoin allows it."""
