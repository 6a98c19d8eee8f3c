"""Disks that fill up and fail."""
