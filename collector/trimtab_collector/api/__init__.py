"""The API: one table of endpoints, and what serves it over HTTP."""
