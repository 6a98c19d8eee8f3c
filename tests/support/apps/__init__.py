"""Apps that are wrapped, and what they must go on doing."""
