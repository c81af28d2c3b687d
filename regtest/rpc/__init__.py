"""Bitcoin Core's JSON-RPC, the part that a rollup and its tests use; bytes in, bytes out, no sockets."""
