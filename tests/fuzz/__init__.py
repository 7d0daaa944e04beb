"""Fuzzing of every parser of the product: `python -m tests.fuzz --help`."""
