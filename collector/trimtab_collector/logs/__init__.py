"""Log files of JSON lines: performance.log, error.log, and combined.log with both and more."""
