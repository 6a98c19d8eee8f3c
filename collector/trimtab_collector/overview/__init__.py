"""The overview: one sentence, figures beside what is usual, services, what happened."""
