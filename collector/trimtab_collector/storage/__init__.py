"""How the collector keeps what it was sent: journal, blocks, memory, accounts."""
