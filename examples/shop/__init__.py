"""A small shop: Starlette on SQLite, with the good and bad habits of real services."""
