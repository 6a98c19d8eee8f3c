"""What a caller of the API may say and hear: parameters, bodies, errors; no computation."""
