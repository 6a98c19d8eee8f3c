"""The read API: routes, bodies, errors."""
