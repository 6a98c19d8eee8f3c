"""What an operator does to a data directory: back it up, restore it, prove it sound."""
