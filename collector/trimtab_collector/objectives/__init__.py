"""What is promised: service level objectives with their budgets, and targets of key figures."""
