"""Events of a range: slow queries, repeated queries, requests that were kept whole."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import EventSelection
from trimtab_core.rows import EventRow

__all__ = ["events", "number"]

_FIELDS: Final = ("environment", "service", "instance", "route")


def events(
    reader: StoreReader, time_range: TimeRange, kind: str, limit: int
) -> Iterator[tuple[EventRow, Mapping[str, Any]]]:
    """Yield the latest events of a kind in the range, the latest first, with their map."""
    where = {name: text for name, text in time_range.parameters.where.items() if name in _FIELDS}
    start_s, end_s = time_range.selection.start_s, time_range.selection.end_s
    for row in reader.store.read_events(EventSelection(start_s, end_s, kind, where, limit)):
        yield row, row.event


def number(event: Mapping[str, Any], name: str) -> float:
    """Return a number of an event, 0 where it has none."""
    value = event.get(name, 0)
    return value if isinstance(value, (int, float)) else 0
