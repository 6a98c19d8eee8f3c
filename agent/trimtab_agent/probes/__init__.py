"""Probes: what databases, queues and other services say of themselves, read by the agent."""

from trimtab_agent.probes.schedule import Probes

__all__ = ["Probes"]
