"""What middleware, agent and collector share: the words and bytes they exchange."""
