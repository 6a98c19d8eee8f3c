"""What an app tells its agent of its inside, and the agent the collector.

From the app: measures by number, what was added to them, events. In batches: rows that say whose
they are, packed as one binary beside the columns of points.

Numbers of measures hold for a connection, as ids of routes do. Events are maps of short texts,
whole numbers and lists of these; the agent hands them on unread, within bounds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack

from trimtab_core.errors import BatchError
from trimtab_core.fields import MALFORMED, count_of, mapping, name_of, whole
from trimtab_core.measures import KINDS, MAX_ATTRIBUTES, MAX_TEXT, Delta, MeasureKey

__all__ = [
    "MAX_EVENT",
    "MAX_MEASURES",
    "MAX_ROWS",
    "Deltas",
    "EventRow",
    "Events",
    "MeasureNames",
    "MeasureRow",
    "fits",
    "key_of_row",
    "pack_rows",
    "parse_deltas",
    "parse_events",
    "parse_measure_names",
    "row_of_key",
    "unpack_rows",
]

#: Measures of a process.
MAX_MEASURES: Final = 20_000
#: Bytes of an event, packed.
MAX_EVENT: Final = 32_768
#: Bytes of the rows in a batch.
MAX_ROWS: Final = 1024 * 1024
_MAX_EVENTS: Final = 1000
_HEADERS: Final = 16
_MAX_ITEMS: Final = 50_000


@dataclass(frozen=True, slots=True)
class MeasureNames:
    """Measures announced by a process, by number from 1; they hold for its connection."""

    keys: Mapping[int, MeasureKey]

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["measure_names", [[number, *row_of_key(key)] for number, key in self.keys.items()]]


@dataclass(frozen=True, slots=True)
class Deltas:
    """What was added to measures since the last of these, by number."""

    deltas: Sequence[tuple[int, Delta]]

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["deltas", [[number, *delta.row()] for number, delta in self.deltas]]


@dataclass(frozen=True, slots=True)
class Events:
    """Slow queries, slow and failed requests and the like; `dropped` counts those left out."""

    events: Sequence[Mapping[str, Any]]
    dropped: int = 0

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["events", [dict(event) for event in self.events], self.dropped]


class MeasureRow(NamedTuple):
    """What was added to a measure within the window of a batch, and whose it is."""

    environment: str
    service: str
    instance: str
    key: MeasureKey
    delta: Delta


class EventRow(NamedTuple):
    """An event of an app, with `kind` and `at_us` (wall clock of the app) in its map."""

    environment: str
    service: str
    instance: str
    event: Mapping[str, Any]


def pack_rows(
    measures: Iterable[MeasureRow], events: Iterable[EventRow], most: int = MAX_ROWS
) -> list[bytes]:
    """Return the binaries of rows, as many as it takes for none to be longer than most bytes."""
    parts: list[tuple[list[bytes], list[bytes]]] = []
    size = most
    rows = [(0, [*row[:3], *row_of_key(row.key), *row.delta.row()]) for row in measures]
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
    """Return the rows of a binary, none of an empty one; raises BatchError for what is none."""
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
                MeasureRow(*_whose(row), key_of_row(row[3:7]), Delta.of_row(row[7:]))
                for row in measures
            ],
            [EventRow(*_whose(row), _event(row[3])) for row in events],
        )
    except (*MALFORMED, msgpack.UnpackException) as error:
        raise BatchError(f"expected well-formed rows of measures, got {error!r:.200}") from error


def _whose(row: list[Any]) -> tuple[str, str, str]:
    environment, service, instance = (name_of(text, empty=True, most=256) for text in row[:3])
    return environment, service, instance


def _event(value: Any) -> Mapping[str, Any]:
    name_of(mapping(value)["kind"])
    count_of(value["at_us"])
    return mapping(value)


def row_of_key(key: MeasureKey) -> list[Any]:
    """Return a key as it travels: name, kind, unit, attributes and values in turn."""
    return [key.name, key.kind, key.unit, [text for pair in key.attributes for text in pair]]


def key_of_row(row: Sequence[Any]) -> MeasureKey:
    """Return the key that `row_of_key` gave; raises ValueError or TypeError for what is none."""
    name, kind, unit, flat = row
    if kind not in KINDS:
        raise ValueError(f"expected one of {', '.join(sorted(KINDS))}, got {kind!r:.40}")
    if not isinstance(flat, list) or len(flat) % 2 or len(flat) > 2 * MAX_ATTRIBUTES:
        raise ValueError(f"expected at most {MAX_ATTRIBUTES} names and values in turn")
    if any(not isinstance(text, str) or len(text) > MAX_TEXT for text in flat):
        raise ValueError(f"expected texts of at most {MAX_TEXT} characters")
    pairs = tuple(sorted(zip(flat[::2], flat[1::2], strict=True)))
    return MeasureKey(name_of(name), kind, name_of(unit, empty=True), pairs)


def fits(event: Mapping[str, Any]) -> bool:
    """Tell whether an event can be packed, and is not too large."""
    try:
        return len(msgpack.packb(event)) <= MAX_EVENT
    except (*MALFORMED, OverflowError):
        return False


def parse_measure_names(message: list[Any]) -> MeasureNames:
    """Return the message of a frame; raises what `trimtab_core.messages.parse` makes an error."""
    return MeasureNames(
        {whole(number, 1, MAX_MEASURES): key_of_row(row) for number, *row in message[1]}
    )


def parse_deltas(message: list[Any]) -> Deltas:
    """Return the message of a frame."""
    return Deltas(
        [(whole(number, 1, MAX_MEASURES), Delta.of_row(row)) for number, *row in message[1]]
    )


def parse_events(message: list[Any]) -> Events:
    """Return the message of a frame."""
    events = message[1]
    if not isinstance(events, list) or len(events) > _MAX_EVENTS:
        raise ValueError(f"expected a list of at most {_MAX_EVENTS} events")
    for event in events:
        _event(event)
        if not fits(event):
            raise ValueError(f"an event has at most {MAX_EVENT} bytes")
    return Events(events, count_of(message[2]))
