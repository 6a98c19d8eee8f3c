"""What a caller of the API may say and hear; no computation."""
