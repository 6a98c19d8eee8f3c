"""Gauges of the host and its container, read from the kernel twice per window."""
