"""The collector: takes batches from agents, keeps them, answers questions about them."""
