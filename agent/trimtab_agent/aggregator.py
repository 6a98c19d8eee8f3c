"""Records to points: sketches and integer sums per series, in windows. Standard library only.

A frame of records is taken apart by columns: a stride over the buffer gives all series keys, all
durations and so on at the speed of C. They wait in lists, a list a key, until there are enough
of them to be summed and counted at the speed of C, too: about 0.3 us a record in all
(`./dev bench agent`).
"""

import struct
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

from trimtab_agent.app import App
from trimtab_core.batches import Point, SeriesKey
from trimtab_core.messages import Samples
from trimtab_core.records import (
    FLAG_BACKGROUND,
    FLAG_CONTEXT,
    FLAG_FAILED,
    FLAG_KIB,
    FLAG_QUEUED,
    FLAG_UNKNOWN_BYTES,
    MAX_U32,
    METHODS,
    OTHER_METHOD,
    OTHER_ROUTE,
    RECORD,
    RECORD_SIZE,
    UNMATCHED,
)
from trimtab_core.sketch import UPPER_US

__all__ = ["Aggregator", "Window", "slots_below"]


def slots_below(most_us: int) -> list[int]:
    """Return the slots of all durations below most_us, each slot one object however often."""
    slots: list[int] = []
    for slot, upper_us in enumerate(UPPER_US):
        slots.extend([slot] * (min(upper_us + 1, most_us) - len(slots)))
    return slots


#: Slots of the durations below 131 ms, looked up instead of searched.
_SLOTS: Final = slots_below(1 << 17)
_HEAD: Final = METHODS.index("HEAD")
_CLASSES: Final = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
#: Records that wait at the most before they are booked: about 1 MB, still in the cache.
_WAITING: Final = 8192
#: Columns that are zero in most frames: half-words of a record, counted from its start.
_COUNTS: Final = (
    ("db_calls", 20),
    ("external_calls", 21),
    ("cache_hits", 22),
    ("cache_misses", 23),
)
_TIMES: Final = (("db_us", 7), ("external_us", 8), ("cache_us", 9))

_Put = Callable[[int], None]


class _Waiting(dict[int, tuple[_Put, _Put]]):
    """Records of one app in one window, by series key: the ways to its lists.

    A list of durations, and one of words with time to first byte below and bytes above 32 bits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[int, tuple[list[int], list[int]]] = {}
        self.rare: dict[tuple[int, str], int] = defaultdict(int)

    def __missing__(self, key: int) -> tuple[_Put, _Put]:
        durations: list[int] = []
        words: list[int] = []
        self.lists[key] = durations, words
        ways = self[key] = durations.append, words.append
        return ways


class Window:
    """The points and the covered records of one window."""

    def __init__(self, start_s: int) -> None:
        self.start_s = start_s
        self.points: dict[SeriesKey, Point] = {}
        #: process -> [first, count] of records, joined where they follow each other
        self.ranges: dict[bytes, list[list[int]]] = {}
        self.waiting: dict[App, _Waiting] = {}

    def cover(self, process: bytes, first: int, count: int) -> None:
        """Note that records first to first + count - 1 of a process are in this window."""
        ranges = self.ranges.setdefault(process, [])
        if ranges and sum(ranges[-1]) == first:
            ranges[-1][1] += count
        else:
            ranges.append([first, count])


class Aggregator:
    """The open windows; used from the agent's loop alone."""

    def __init__(self, window_s: int, max_series: int) -> None:
        self.window_s = window_s
        self._max_series = max_series
        self.windows: dict[int, Window] = {}
        self._live: Window | None = None
        self._waiting = 0
        #: times a series was folded into `other`
        self.over_limit = 0
        #: records taken in
        self.records = 0

    def add(self, app: App, samples: Samples, now_s: float) -> None:
        """Add a frame of records to the window of its clock reading.

        A reading from the future counts as now. The frame's numbers must follow those before.
        """
        wall_s = min(samples.wall_us / 1e6, now_s)
        window = self.open(int(wall_s) // self.window_s * self.window_s)
        waiting = window.waiting.get(app)
        if waiting is None:
            waiting = window.waiting[app] = _Waiting()
        _sort(samples, waiting)
        count = samples.count
        window.cover(app.hello.process, samples.first, count)
        self.records += count
        self._waiting += count
        if self._waiting >= _WAITING:
            self.book()

    def open(self, start_s: int) -> Window:
        """Return the open window that starts at a time, a new one where there is none."""
        window = self.windows.get(start_s)
        if window is None:
            window = self.windows[start_s] = Window(start_s)
        return window

    def book(self) -> None:
        """Add all records that wait to the points of their windows."""
        for window in self.windows.values():
            for app, waiting in window.waiting.items():
                self._book(app, waiting, window)
                if self._live is not None:
                    self._book(app, waiting, self._live)
            window.waiting.clear()
        self._waiting = 0

    def close(self, before_s: float) -> list[Window]:
        """Take the windows that ended before a time, oldest first."""
        ended = sorted(start for start in self.windows if start + self.window_s <= before_s)
        if ended:
            self.book()
        return [self.windows.pop(start) for start in ended]

    def take_live(self, start_s: int | None) -> Window | None:
        """Take the one-second summary and begin the next one, or end it with None."""
        self.book()
        taken, self._live = self._live, Window(start_s) if start_s is not None else None
        return taken

    @property
    def is_live(self) -> bool:
        """Tell whether a one-second summary is being made."""
        return self._live is not None

    def open_ranges(self) -> dict[bytes, int]:
        """Return the lowest record number of each process in windows that are still open."""
        lowest: dict[bytes, int] = {}
        for window in self.windows.values():
            for process, ranges in window.ranges.items():
                first = min(each[0] for each in ranges)
                lowest[process] = min(first, lowest.get(process, first))
        return lowest

    def _book(self, app: App, waiting: _Waiting, window: Window) -> None:
        for key, (durations, words) in waiting.lists.items():
            _book(key, self._point(app, key, window), durations, words)
        for (key, name), total in waiting.rare.items():
            point = self._point(app, key, window)
            setattr(point, name, getattr(point, name) + total)

    def _point(self, app: App, key: int, window: Window) -> Point:
        route = app.routes.get(key & 0xFFFF, UNMATCHED)
        method = key >> 16 & 0xFF
        status = key >> 32 & 0xFFFF
        hello = app.hello
        series = SeriesKey(
            hello.environment,
            hello.service,
            hello.version,
            app.instance,
            route,
            METHODS[method] if method < len(METHODS) else OTHER_METHOD,
            _CLASSES[status // 100] if 100 <= status < 600 else _CLASSES[0],
        )
        point = window.points.get(series)
        if point is None and len(window.points) >= self._max_series:
            self.over_limit += 1
            series = SeriesKey(
                hello.environment, hello.service, "", app.instance,
                OTHER_ROUTE, OTHER_METHOD, _CLASSES[0],
            )  # fmt: skip
            point = window.points.get(series)
        if point is None:
            point = window.points[series] = Point(slots=Counter())
        return point


def _sort(samples: Samples, waiting: _Waiting) -> None:
    """Put the records of a frame into the lists of their series keys."""
    data, size = samples.data, samples.record_size
    if sys.byteorder == "big":
        data = _swapped(data, size)
    view = memoryview(data)
    quads, words = view.cast("Q"), view.cast("I")
    keys = quads[0 :: size // 8].tolist()
    for (put_duration, put_word), duration, word in zip(
        map(waiting.__getitem__, keys),
        words[3 :: size // 4].tolist(),
        quads[2 :: size // 8].tolist(),
        strict=True,
    ):
        put_duration(duration)
        put_word(word)
    # The flags say whether any of the rare columns is worth reading.
    flags = 0
    for key in set(keys):
        flags |= key >> 24
    rare: list[tuple[str, list[int]]] = []
    if flags & FLAG_QUEUED:
        rare.append(("queue_us", words[6 :: size // 4].tolist()))
        rare.append(("queued", [key >> 24 & FLAG_QUEUED and 1 for key in keys]))
    if flags & FLAG_CONTEXT:
        halves = view.cast("H")
        rare += [(name, words[at :: size // 4].tolist()) for name, at in _TIMES]
        rare += [(name, halves[at :: size // 2].tolist()) for name, at in _COUNTS]
    for name, column in rare:
        for key, value in zip(keys, column, strict=True):
            if value:
                waiting.rare[key, name] += value


def _book(key: int, point: Point, durations: list[int], words: list[int]) -> None:
    """Add records of one key to its point."""
    flags = key >> 24 & 0xFF
    count = len(durations)
    total_us = sum(durations)
    if flags & FLAG_BACKGROUND:
        point.background_us += total_us
        point.backgrounds += count
        return
    point.sum_us += total_us
    most_us = max(durations)
    if most_us > point.max_us:
        point.max_us = most_us
    if most_us < len(_SLOTS):
        slots = [*map(_SLOTS.__getitem__, durations)]
    else:
        known = len(_SLOTS)
        slots = [_SLOTS[us] if us < known else bisect_left(UPPER_US, us) for us in durations]
    point.slots.update(slots)  # type: ignore[arg-type]
    both = sum(words)
    if total_us <= MAX_U32:
        # No time to first byte is longer than its duration, so the lower sum has not run over.
        ttfb_us, size = both & MAX_U32, both >> 32
    else:
        ttfb_us = sum(word & MAX_U32 for word in words)
        size = (both - ttfb_us) >> 32
    point.ttfb_us += ttfb_us
    if flags & FLAG_FAILED or 500 <= key >> 32 & 0xFFFF < 600:
        point.errors += count
    # The body of a HEAD response is never sent, whatever the app handed over.
    if key >> 16 & 0xFF != _HEAD and not flags & FLAG_UNKNOWN_BYTES:
        point.bytes += size * 1024 if flags & FLAG_KIB else size


def _swapped(data: bytes, record_size: int) -> bytes:
    """Return records with their fields in this machine's order, where that is big-endian."""
    native = struct.Struct(RECORD.format.replace("<", "="))
    rest = bytes(record_size - RECORD_SIZE)
    return b"".join(
        native.pack(*RECORD.unpack_from(data, start)) + rest
        for start in range(0, len(data), record_size)
    )
