"""Traces for people: a transaction's call tree with the names that a developer's artifacts give."""
