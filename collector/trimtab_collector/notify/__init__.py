"""Notifications: from a notice through the outbox and a channel to a person or a program."""
