"""What an endpoint is: a row of the table in `endpoints.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trimtab_collector.auth.access import Role
from trimtab_collector.contract.body import Body
from trimtab_collector.contract.kinds import Parameter
from trimtab_collector.contract.parameters import BACK_S, BackBy, Parameters
from trimtab_collector.reads.reader import StoreReader

__all__ = ["BASE", "ApiEndpoint"]

#: what every path begins with
BASE: Final = "/api/performance"


@dataclass(frozen=True, slots=True)
class ApiEndpoint:
    """One thing that can be asked."""

    #: below BASE; each has the same answer
    paths: tuple[str, ...]
    #: computes the answer, in a reading thread; the first line of its docstring is the summary
    read: Callable[[StoreReader, Parameters], Any]
    #: what the answer's `data` is, one of these; empty: no envelope
    bodies: tuple[type[Body], ...]
    #: empty: the query is ignored
    parameters: tuple[Parameter[Any], ...] = ()
    #: default range in seconds
    back: int | BackBy = BACK_S
    role: Role = Role.READER
    methods: tuple[str, ...] = ("GET",)
