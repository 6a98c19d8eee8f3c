"""Rows of measures and events in a batch, agent to collector.

Each row says whose it is: environment, service and instance. All rows of a batch travel as one
binary, a msgpack list of the measures and the events, beside the columns of points. It is bounded
in bytes, rows, and lists and maps, by those who pack as by those who unpack. A row that is
malformed costs itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from trimtab_core.deltas import MAX_EVENT
from trimtab_core.errors import BatchError
from trimtab_core.events import containers_of, event_of
from trimtab_core.fields import MALFORMED, MAX_NAME, name_of, sound
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.unpacking import unpacked

__all__ = [
    "MAX_ROWS",
    "EventRow",
    "MeasureRow",
    "PackedEvent",
    "pack_event",
    "pack_rows",
    "packed_rows",
    "unpack_rows",
]

#: Bytes of the rows in a batch.
MAX_ROWS: Final = 1024 * 1024
#: Bytes of them that are packed for one batch: they are part of its header.
_MOST_PACKED: Final = 768 * 1024
#: Bytes of the list headers around the rows, at most.
_HEADERS: Final = 16
_MOST_ROWS: Final = 10_000
#: Lists and maps: those who pack stay below what those who unpack take.
_MOST_CONTAINERS: Final = 40_000
_MAX_ITEMS: Final = 50_000
#: Of a measure: the row, its attributes, its buckets.
_OF_MEASURE: Final = 3


class MeasureRow(NamedTuple):
    """What was added to a measure within the window of a batch, and whose it is."""

    environment: str
    service: str
    instance: str
    key: MeasureKey
    delta: Delta


class EventRow(NamedTuple):
    """An event of an app, with `kind` and `at_us` in its map.

    `at_us` is by the clock of the batch (its `closed_us`); the collector puts its own in place.
    """

    environment: str
    service: str
    instance: str
    event: Mapping[str, Any]


class PackedEvent(NamedTuple):
    """An event row as it travels: a tenth of the memory of its objects, or less."""

    data: bytes
    #: lists and maps in it
    containers: int


def pack_event(row: EventRow) -> PackedEvent:
    """Return a row as it travels; raises an error of MALFORMED for what `event_of` refuses."""
    containers = 1 + containers_of(row.event)
    return PackedEvent(msgpack.packb([*row[:3], dict(row.event)]), containers)


def pack_rows(
    measures: Iterable[MeasureRow],
    events: Iterable[EventRow | PackedEvent],
    most: int = _MOST_PACKED,
) -> list[bytes]:
    """Return rows as binaries of up to most bytes each, as few of them as possible."""
    return list(packed_rows(measures, events, most))


def packed_rows(
    measures: Iterable[MeasureRow],
    events: Iterable[EventRow | PackedEvent],
    most: int = _MOST_PACKED,
) -> Iterator[bytes]:
    """Yield what `pack_rows` returns; each binary is packed when it is asked for."""
    part: tuple[list[bytes], list[bytes]] = ([], [])
    size, count, containers = 0, 0, 0
    for place, packed, own in _packed(measures, events):
        size += len(packed)
        count += 1
        containers += own
        if count > 1 and (
            size > most - _HEADERS or count > _MOST_ROWS or containers > _MOST_CONTAINERS
        ):
            yield _joined(part)
            part = ([], [])
            size, count, containers = len(packed), 1, own
        part[place].append(packed)
    if count:
        yield _joined(part)


def _packed(
    measures: Iterable[MeasureRow], events: Iterable[EventRow | PackedEvent]
) -> Iterator[tuple[int, bytes, int]]:
    """Yield the place of each row, the row as it travels, and how many lists and maps it has."""
    for row in measures:
        yield 0, msgpack.packb([*row[:3], *row.key.row(), *row.delta.row()]), _OF_MEASURE
    for each in events:
        yield 1, *(each if isinstance(each, PackedEvent) else pack_event(each))


def _joined(part: tuple[list[bytes], list[bytes]]) -> bytes:
    header = msgpack.Packer().pack_array_header
    return b"".join((b"\x92", *(
        piece for rows in part for piece in (header(len(rows)), *rows)
    )))  # fmt: skip


def unpack_rows(
    data: bytes, malformed: list[str] | None = None
) -> tuple[list[MeasureRow], list[EventRow]]:
    """Return the rows in a binary; empty lists for an empty one.

    A row that is malformed is left out, and why is added to `malformed`. Raises BatchError for a
    binary that does not hold rows, or is over a bound.
    """
    if not data:
        return [], []
    if len(data) > MAX_ROWS:
        raise BatchError(f"rows of measures have at most {MAX_ROWS} bytes, got {len(data)}")
    found = unpacked(
        data, containers=_MAX_ITEMS, items=_MAX_ITEMS, text=MAX_EVENT, binary=MAX_EVENT
    )
    measures, events = found if isinstance(found, list) and len(found) == 2 else (None, None)
    if not isinstance(measures, list) or not isinstance(events, list):
        raise BatchError("expected a list of measures and a list of events")
    try:
        return [_measure(row) for row in measures], [_event(row) for row in events]
    except MALFORMED:
        why: list[str] = [] if malformed is None else malformed
        return sound(measures, _measure, why), sound(events, _event, why)


def _measure(row: Any) -> MeasureRow:
    return MeasureRow(*_whose(row), MeasureKey.of_row(row[3:7]), Delta.of_row(row[7:]))


def _event(row: Any) -> EventRow:
    return EventRow(*_whose(row), event_of(row[3]))


def _whose(row: list[Any]) -> tuple[str, str, str]:
    environment, service, instance = (
        name_of(text, empty=True, most=2 * MAX_NAME) for text in row[:3]
    )
    return environment, service, instance
