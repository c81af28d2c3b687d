"""Transactions that wait for a block: their graph, who may join it, and which go first; pure."""
