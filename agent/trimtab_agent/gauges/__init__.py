"""Gauges of the host and its container, read from the kernel twice per window."""

from trimtab_agent.gauges.host import HostReader

__all__ = ["HostReader"]
