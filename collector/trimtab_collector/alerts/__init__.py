"""Judges what was measured: rules, alerts, and when somebody must be told."""
