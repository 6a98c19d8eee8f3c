"""Calls to other services."""

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.calls import Calls, ProbedTarget

__all__ = ["External", "HostCalls", "MethodCalls"]


class MethodCalls(Body, kw_only=True):
    """Calls to one host with one method that ended in one way: with a status, or with an error."""

    method: str
    status: int | None
    #: type of the exception that came in place of a response
    error: str | None
    calls: Calls


class HostCalls(Body, kw_only=True):
    """Calls to one host and port; port is null where an older app does not tell it."""

    host: str
    port: int | None
    calls: Calls
    errors: dict[str, int]
    #: responses by status code; calls without a response are in `errors` alone
    status_codes: dict[str, int]
    #: those with the most time first
    methods: list[MethodCalls]


class External(RangeBody, kw_only=True):
    """Calls to other services, and what agents look at."""

    calls: Calls
    hosts: list[HostCalls]
    hosts_left_out: int
    dependencies: list[ProbedTarget]
