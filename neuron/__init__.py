"""A neuron: the process that runs models for the chain and signs what they answer."""
