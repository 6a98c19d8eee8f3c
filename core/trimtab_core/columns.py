"""The points of a window as columns of whole numbers.

A column travels as wide as its largest value needs, little-endian, and not at all when all its
values are zero.
"""

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = [
    "BUCKET_COLUMNS",
    "ITEM_SIZES",
    "MAX_COUNT",
    "MAX_VALUE",
    "POINT_COLUMNS",
    "STATUS_COLUMNS",
    "Column",
    "Point",
    "columns_of",
    "pack_column",
    "total_of",
    "values_of",
]

#: Largest value of a point: 285 years of microseconds, 9 PB. Sums stay there.
MAX_VALUE: Final = 2**53
#: Largest count of a bucket, and largest duration in us.
MAX_COUNT: Final = 2**32 - 1
#: item type -> bytes per item
ITEM_SIZES: Final = {"B": 1, "H": 2, "I": 4, "Q": 8}

#: Columns with one value per point: integers in the unit of the name; without a unit, counts.
POINT_COLUMNS: Final = (
    "series",
    "errors",
    "sum_us",
    "max_us",
    "bytes",
    "ttfb_us",
    "queue_us",
    "queued",
    "db_us",
    "db_calls",
    "external_us",
    "external_calls",
    "cache_us",
    "cache_hits",
    "cache_misses",
    "background_us",
    "backgrounds",
    "websocket_us",
    "websockets",
    "event_stream_us",
    "event_streams",
    "buckets",
)
#: Columns with one value per bucket: the buckets of the first point, then of the second, and so on.
BUCKET_COLUMNS: Final = ("indexes", "counts")
#: How many status codes each point has, and then, with one value per code as for buckets, the codes
#: and how often each was sent.
STATUS_COLUMNS: Final = ("statuses", "status_codes", "status_counts")
_SUMS: Final = tuple(name for name in POINT_COLUMNS[1:-1] if name != "max_us")


@dataclass(slots=True)
class Point:
    """One series in one window: sums in us or bytes; `buckets` is the sketch, bucket -> count.

    `statuses` has the number of requests by status code, 0 for a code outside 100 to 599. Together
    they are at most the requests of the sketch: older agents do not tell codes.
    """

    errors: int = 0
    sum_us: int = 0
    max_us: int = 0
    bytes: int = 0
    ttfb_us: int = 0
    queue_us: int = 0
    queued: int = 0
    db_us: int = 0
    db_calls: int = 0
    external_us: int = 0
    external_calls: int = 0
    cache_us: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    background_us: int = 0
    backgrounds: int = 0
    websocket_us: int = 0
    websockets: int = 0
    event_stream_us: int = 0
    event_streams: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)

    def merge(self, other: "Point") -> None:
        """Add another point to this one."""
        for name in _SUMS:
            if value := getattr(other, name):
                setattr(self, name, getattr(self, name) + value)
        self.max_us = max(self.max_us, other.max_us)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        for code, count in other.statuses.items():
            self.statuses[code] = self.statuses.get(code, 0) + count


class Column(NamedTuple):
    """A column as it travels: item type (B, H, I, Q, little-endian) and bytes."""

    kind: str
    data: bytes


def pack_column(values: list[int], largest: int = 2**64 - 1) -> Column:
    """Return the column of values from 0; what is above largest becomes largest.

    Raises OverflowError for a negative value.
    """
    most = max(values, default=0)
    if most > largest:
        values, most = [min(value, largest) for value in values], largest
    kind = "B" if most < 1 << 8 else "H" if most < 1 << 16 else "I" if most < 1 << 32 else "Q"
    packed = array(kind, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return Column(kind, packed.tobytes())


def values_of(column: Column) -> "array[int]":
    """Return the values of a column."""
    values: array[int] = array(column.kind)
    values.frombytes(column.data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def total_of(column: Column) -> int:
    """Return the sum of the values of a column."""
    # Bytes are numbers already: half of the time.
    return sum(column.data if column.kind == "B" else values_of(column))


def columns_of(points: Sequence[tuple[int, Point]]) -> dict[str, Column]:
    """Return the columns of (series index, point) rows, within what a collector takes."""
    columns: dict[str, Column] = {}
    _put(columns, "series", [index for index, _ in points])
    for name in POINT_COLUMNS[1:-1]:
        largest = MAX_COUNT if name == "max_us" else MAX_VALUE
        _put(columns, name, [getattr(point, name) for _, point in points], largest)
    _put(columns, "buckets", [len(point.buckets) for _, point in points])
    indexes: list[int] = []
    counts: list[int] = []
    for _, point in points:
        before = 0
        for bucket in sorted(point.buckets):
            indexes.append(bucket - before)
            counts.append(point.buckets[bucket])
            before = bucket
    _put(columns, "indexes", indexes)
    _put(columns, "counts", counts, MAX_COUNT)
    _put(columns, "statuses", [len(point.statuses) for _, point in points])
    codes: list[int] = []
    counts = []
    for _, point in points:
        statuses = point.statuses
        if len(statuses) > 1:
            statuses = dict(sorted(statuses.items()))
        codes += statuses
        counts += statuses.values()
    _put(columns, "status_codes", codes)
    _put(columns, "status_counts", counts, MAX_COUNT)
    return columns


def _put(
    columns: dict[str, Column], name: str, values: list[int], largest: int = MAX_VALUE
) -> None:
    if any(values):
        columns[name] = pack_column(values, largest)
