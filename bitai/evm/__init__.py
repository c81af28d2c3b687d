"""Doors for Ethereum's own test tools: the node's executor, state and trie under plain Ethereum's rules."""
