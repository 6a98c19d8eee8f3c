"""Stores, what goes into them, and what they must answer."""
