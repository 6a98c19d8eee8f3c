"""Probes: the agent asks databases, queues and other services for their own figures."""

from trimtab_agent.probes.schedule import Probes

__all__ = ["Probes"]
