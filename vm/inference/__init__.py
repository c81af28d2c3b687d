"""What a model means: canonical integer graphs, their identity, and the reference that runs them."""
