"""Decides which neuron is asked what, and when an answer is known: a pure machine. Not consensus-critical."""
