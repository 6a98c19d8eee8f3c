"""Batches on disk until the collector has them."""
