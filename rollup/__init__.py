"""The rollup: batches on Bitcoin, derivation of the chain from them, and the drivers of both."""
