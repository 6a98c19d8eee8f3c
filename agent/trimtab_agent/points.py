"""Adds records of one series to its point, at the speed of C where there are many."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from trimtab_core.batches import Point
from trimtab_core.records import (
    FLAG_BACKGROUND,
    FLAG_FAILED,
    FLAG_KIB,
    FLAG_QUEUED,
    FLAG_STREAMED,
    FLAG_UNKNOWN_BYTES,
    KIND_EVENT_STREAM,
    METHODS,
)
from trimtab_core.sketch import UPPER_US

__all__ = ["book", "buckets_below"]


def buckets_below(most_us: int) -> list[int]:
    """Return the bucket of each duration below most_us; equal buckets are the same int object."""
    buckets: list[int] = []
    for bucket, upper_us in enumerate(UPPER_US):
        buckets.extend([bucket] * (min(upper_us + 1, most_us) - len(buckets)))
    return buckets


#: Buckets of the durations below 131 ms, looked up instead of searched.
_BUCKETS: Final = buckets_below(1 << 17)
_HEAD: Final = METHODS.index("HEAD")


def book(key: int, point: Point, words: list[int]) -> None:
    """Add records of one key to its point."""
    flags = key >> 24 & 0xFF
    count = len(words)
    # In the order of the records: duration, bytes, duration, bytes.
    both = memoryview(array("Q", words)).cast("B").cast("I")
    durations = both[0::2].tolist()
    total_us = sum(durations)
    if flags & FLAG_QUEUED:
        point.queued += count
    if flags & FLAG_BACKGROUND:
        point.background_us += total_us
        point.backgrounds += count
        return
    kind = key >> 48
    if kind:
        _book_connections(kind, point, count, total_us)
        point.bytes += sum(both[1::2].tolist()) * (1024 if flags & FLAG_KIB else 1)
        return
    status = key >> 32 & 0xFFFF
    code = status if 100 <= status < 600 else 0
    point.statuses[code] = point.statuses.get(code, 0) + count
    point.sum_us += total_us
    most_us = max(durations)
    if most_us > point.max_us:
        point.max_us = most_us
    if most_us < len(_BUCKETS):
        buckets: Iterable[int] = map(_BUCKETS.__getitem__, durations)
    else:
        known = len(_BUCKETS)
        buckets = (_BUCKETS[us] if us < known else bisect_left(UPPER_US, us) for us in durations)
    point.buckets.update(buckets)  # type: ignore[arg-type]
    if not flags & FLAG_STREAMED:
        point.ttfb_us += total_us
    if flags & FLAG_FAILED or 500 <= status < 600:
        point.errors += count
    # The body of a HEAD response is never sent, whatever the app handed over.
    if key >> 16 & 0xFF != _HEAD and not flags & FLAG_UNKNOWN_BYTES:
        size = sum(both[1::2].tolist())
        point.bytes += size * 1024 if flags & FLAG_KIB else size


def _book_connections(kind: int, point: Point, count: int, total_us: int) -> None:
    """Add connections that ended to their point; a kind of a newer app counts as a WebSocket."""
    if kind == KIND_EVENT_STREAM:
        point.event_streams += count
        point.event_stream_us += total_us
    else:
        point.websockets += count
        point.websocket_us += total_us
