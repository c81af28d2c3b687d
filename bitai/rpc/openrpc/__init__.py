"""What the JSON-RPC of this node speaks, as one document that machines read (OpenRPC)."""
