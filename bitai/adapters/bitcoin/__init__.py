"""The user's own Bitcoin node over JSON-RPC: the same few portable calls on every implementation."""
