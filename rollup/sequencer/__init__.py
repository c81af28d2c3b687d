"""Order transactions into blocks: the pool, the loop, and the rules that keep blocks derivable."""
