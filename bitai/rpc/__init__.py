"""The Ethereum JSON-RPC of the node: framing, parameters, methods, and the server that carries them."""
