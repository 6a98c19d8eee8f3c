"""Real processes, their links and clocks."""
