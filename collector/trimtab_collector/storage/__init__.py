"""How the collector keeps what it was sent: journal, tiers, memory, accounting."""
