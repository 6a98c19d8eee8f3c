"""Messages from beyond the schemas, by a seed, and the processes that must bear them."""
