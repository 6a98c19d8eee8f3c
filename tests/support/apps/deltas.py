"""What the measures of this process hold, for tests: what was added since they began to look."""

from collections.abc import Iterator
from contextlib import contextmanager

from support.processes.peer import Peer
from trimtab.context import RequestContext, context_variable, reset_context
from trimtab.instrumentation import instrument, uninstrument
from trimtab.runtime import PROCESS
from trimtab_core.deltas import Deltas, MeasureNames
from trimtab_core.measures import COUNTER, Attributes, Delta, MeasureKey

__all__ = ["Look", "heard", "in_request", "instrumented"]


class Look:
    """Measures since this was made; only those that were added to."""

    def __init__(self) -> None:
        self._before = dict(_all())

    def __call__(self, name: str, *attributes: str) -> list[tuple[int, tuple[str, ...]]]:
        """Return (count, values of these attributes) of a name's measures, sorted.

        An attribute that a measure has not got is an empty text. For a counter it is its sum.
        """
        found = []
        for (family, pairs), count in _all():
            count -= self._before.get((family, pairs), 0)
            if family == name and count:
                given = dict(pairs)
                found.append((count, tuple(given.get(each, "") for each in attributes)))
        return sorted(found)

    def texts(self) -> str:
        """Return all that measures say of what they measure, as one text."""
        return repr([key for key, _ in _all()])


def heard(peer: Peer) -> dict[MeasureKey, Delta]:
    """Return what all processes have told a peer of their measures, added up."""
    keys: dict[tuple[int, int], MeasureKey] = {}
    found: dict[MeasureKey, Delta] = {}
    for _, connection, message in list(peer.heard):
        if isinstance(message, MeasureNames):
            keys.update({(connection, number): key for number, key in message.keys.items()})
        elif isinstance(message, Deltas):
            for number, delta in message.deltas:
                found.setdefault(keys[connection, number], Delta()).merge(delta)
    return found


def _all() -> Iterator[tuple[tuple[str, Attributes], int]]:
    for name, family in PROCESS.measures.families().items():
        for measure in family:
            delta = measure.read()
            count = delta.sum if family.kind == COUNTER else delta.count
            yield (name, measure.key.attributes), round(count)


@contextmanager
def instrumented(*libraries: str) -> Iterator[Look]:
    """Instrument libraries, yield a look at what they add, and put them back."""
    instrument(*libraries)
    try:
        yield Look()
    finally:
        uninstrument()


@contextmanager
def in_request() -> Iterator[RequestContext]:
    """Yield the context of a request that is under way here."""
    context = RequestContext()
    token = context_variable.set(context)
    try:
        yield context
    finally:
        reset_context(token)
