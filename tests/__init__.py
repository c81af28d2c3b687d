"""The tests; this file makes `tests` one package, so that tests/vm never hides the package vm."""
