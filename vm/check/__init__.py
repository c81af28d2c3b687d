"""Compares what a chain database holds with what it must be, row by row."""
