"""The embedded engine: SQLite files in one locked directory."""
