"""Shared by middleware, agent and collector: the words and bytes they exchange."""
