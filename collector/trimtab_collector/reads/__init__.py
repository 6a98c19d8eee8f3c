"""Computations over a store, one noun a file: `read(reader, parameters)` returns the body."""
