"""Rows of measures and events in a batch, agent to collector.

Each row says whose it is: environment, service and instance. All rows of a batch travel as one
binary, a msgpack list of the measures and the events, beside the columns of points.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from trimtab_core.deltas import event_of
from trimtab_core.errors import BatchError
from trimtab_core.fields import MALFORMED, name_of
from trimtab_core.measures import Delta, MeasureKey

__all__ = ["MAX_ROWS", "EventRow", "MeasureRow", "pack_rows", "unpack_rows"]

#: Bytes of the rows in a batch.
MAX_ROWS: Final = 1024 * 1024
#: Bytes of the list headers around the rows, at most.
_HEADERS: Final = 16
_MAX_ITEMS: Final = 50_000


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


def pack_rows(
    measures: Iterable[MeasureRow], events: Iterable[EventRow], most: int = MAX_ROWS
) -> list[bytes]:
    """Return rows as binaries of up to most bytes each, as few of them as possible."""
    parts: list[tuple[list[bytes], list[bytes]]] = []
    size = most
    rows = [(0, [*row[:3], *row.key.row(), *row.delta.row()]) for row in measures]
    for place, row in (*rows, *((1, [*each[:3], dict(each.event)]) for each in events)):
        packed = msgpack.packb(row)
        size += len(packed)
        if size > most - _HEADERS:
            parts.append(([], []))
            size = len(packed)
        parts[-1][place].append(packed)
    packer = msgpack.Packer()
    return [
        b"".join((b"\x92", *(
            piece for each in part for piece in (packer.pack_array_header(len(each)), *each)
        )))
        for part in parts
    ]  # fmt: skip


def unpack_rows(data: bytes) -> tuple[list[MeasureRow], list[EventRow]]:
    """Return the rows in a binary; empty lists for an empty one.

    Raises BatchError for a binary that does not hold rows, or more than MAX_ROWS bytes.
    """
    if not data:
        return [], []
    if len(data) > MAX_ROWS:
        raise BatchError(f"rows of measures have at most {MAX_ROWS} bytes, got {len(data)}")
    try:
        measures, events = msgpack.unpackb(
            data, raw=False, max_ext_len=0, max_array_len=_MAX_ITEMS, max_map_len=_MAX_ITEMS
        )
        return (
            [
                MeasureRow(*_whose(row), MeasureKey.of_row(row[3:7]), Delta.of_row(row[7:]))
                for row in measures
            ],
            [EventRow(*_whose(row), event_of(row[3])) for row in events],
        )
    except (*MALFORMED, msgpack.UnpackException) as error:
        raise BatchError(f"expected well-formed rows of measures, got {error!r:.200}") from error


def _whose(row: list[Any]) -> tuple[str, str, str]:
    environment, service, instance = (name_of(text, empty=True, most=256) for text in row[:3])
    return environment, service, instance
