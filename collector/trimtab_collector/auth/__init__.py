"""Who may write to and read from the collector."""
