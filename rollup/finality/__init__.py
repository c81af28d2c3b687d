"""Decide which blocks are final: their data is deep, and nothing about them can be disputed. Pure."""
