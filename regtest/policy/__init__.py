"""Which valid transactions a node relays: Bitcoin Core's standardness rules, pure, one file a question."""
