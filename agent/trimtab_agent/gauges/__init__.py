"""Gauges of the host: what is read from the kernel, once a window."""
