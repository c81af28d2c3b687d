"""The embedded Bitcoin: Bitcoin Core's validation engine, a mempool, a miner, a JSON-RPC; regtest only."""
