"""Calls to other services."""

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.calls import Calls, ProbedTarget

__all__ = ["External", "HostCalls"]


class HostCalls(Body, kw_only=True):
    """Calls to one host."""

    host: str
    calls: Calls
    errors: dict[str, int]


class External(RangeBody, kw_only=True):
    """Calls to other services, and what agents look at."""

    calls: Calls
    hosts: list[HostCalls]
    dependencies: list[ProbedTarget]
