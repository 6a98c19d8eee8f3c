"""Applications to measure, and the demo that starts them all; none of them knows of trimtab."""
