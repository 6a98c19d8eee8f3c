"""What an endpoint is: a row of the table in `endpoints.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.kinds import Parameter
from trimtab_collector.contract.parameters import BACK_S, BackBy, Parameters
from trimtab_collector.reads.reader import StoreReader
from trimtab_core.addresses import API

__all__ = ["BASE", "ApiEndpoint", "summary_of"]

#: what every path begins with
BASE: Final = API


@dataclass(frozen=True, slots=True)
class ApiEndpoint:
    """One thing that can be asked."""

    #: below BASE; each has the same answer
    paths: tuple[str, ...]
    #: computes the answer from what `of` names, in a reading thread, or in that of changes (any
    #: method but GET), or, if it is a coroutine function, in the loop; the first line of its
    #: docstring is the summary
    read: Callable[[Any, Parameters], Any]
    #: what the answer's `data` is, one of these; empty: no envelope
    bodies: tuple[type[Body], ...]
    #: empty: the query is ignored
    parameters: tuple[Parameter[Any], ...] = ()
    #: default range in seconds
    back: int | BackBy = BACK_S
    role: Role = Role.PLANNER
    method: str = "GET"
    #: whether it changes nothing in spite of its method: it is computed where reads are
    computes: bool = False
    #: what the body of the request is; None: it is ignored
    takes: type[Body] | None = None
    #: the part of the collector that is asked
    of: type[Any] = StoreReader
    #: of an answer that states no other
    status: int = 200
    #: whether the answer may be a page of HTML instead
    html: bool = False
    #: whether who ask at the same time may share an answer: it does not depend on who asks;
    #: None: as for any read of the StoreReader by a planner
    shares: bool | None = None
    #: statuses of refusals beyond those that follow from the rest of the row
    refuses: tuple[int, ...] = ()

    @property
    def is_shared(self) -> bool:
        """Whether those who ask at the same time get one answer."""
        reads = self.of is StoreReader and self.role is Role.PLANNER
        return self.method == "GET" and (reads if self.shares is None else self.shares)


def summary_of(endpoint: ApiEndpoint) -> str:
    """Return what an endpoint answers or does, as a phrase: the first line of its docstring."""
    text = (endpoint.read.__doc__ or endpoint.paths[0]).partition("\n")[0]
    text = text.removeprefix("Return ").rstrip(".")
    return text[:1].upper() + text[1:]
