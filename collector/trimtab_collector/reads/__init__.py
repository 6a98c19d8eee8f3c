"""Computations over a store, one noun a file."""
