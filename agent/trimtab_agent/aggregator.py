"""Records to points: sketches and integer sums per series, in windows. Standard library only.

A frame of records is taken apart by columns: a stride over the buffer gives all durations, all
series keys and so on at the speed of C; Python adds each record to its point, or all at once
where a frame has one series. About 0.35 us a record in frames of 1,000 (`./dev bench agent`).
"""

import struct
import sys
from bisect import bisect_left
from collections import Counter
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
    METHODS,
    OTHER_METHOD,
    OTHER_ROUTE,
    RECORD,
    RECORD_SIZE,
    UNMATCHED,
)
from trimtab_core.sketch import UPPER_US, slot_of

__all__ = ["Aggregator", "Window"]

#: Slots of the durations below 66 ms, looked up instead of searched.
_SLOTS: Final = [slot_of(us) for us in range(1 << 16)]
_HEAD: Final = METHODS.index("HEAD")
_CLASSES: Final = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")


class Window:
    """The points and the covered records of one window."""

    def __init__(self, start_s: int) -> None:
        self.start_s = start_s
        self.points: dict[SeriesKey, Point] = {}
        #: process -> [first, count] of records, joined where they follow each other
        self.ranges: dict[bytes, list[list[int]]] = {}
        #: records in it
        self.records = 0

    def cover(self, process: bytes, first: int, count: int) -> None:
        """Note that records first to first + count - 1 of a process are in this window."""
        ranges = self.ranges.setdefault(process, [])
        if ranges and sum(ranges[-1]) == first:
            ranges[-1][1] += count
        else:
            ranges.append([first, count])
        self.records += count


class Aggregator:
    """The open windows; used from the agent's loop alone."""

    def __init__(self, window_s: int, max_series: int) -> None:
        self.window_s = window_s
        self._max_series = max_series
        self.windows: dict[int, Window] = {}
        #: one-second summary for those who watch, None while nobody does
        self.live: Window | None = None
        #: records folded into a series `other`
        self.over_limit = 0
        #: records taken in
        self.records = 0

    def add(self, app: App, samples: Samples, now_s: float) -> None:
        """Add a frame of records to the window of its clock reading.

        A reading from the future counts as now. The frame's numbers must follow those before.
        """
        wall_s = min(samples.wall_us / 1e6, now_s)
        start_s = int(wall_s) // self.window_s * self.window_s
        window = self.open(start_s)
        count = samples.count
        frame = _Frame(samples)
        self._add(app, frame, window)
        window.cover(app.hello.process, samples.first, count)
        self.records += count
        if self.live is not None:
            self._add(app, frame, self.live)

    def open(self, start_s: int) -> Window:
        """Return the open window that starts at a time, a new one where there is none."""
        window = self.windows.get(start_s)
        if window is None:
            window = self.windows[start_s] = Window(start_s)
        return window

    def close(self, before_s: float) -> list[Window]:
        """Take the windows that ended before a time, oldest first."""
        ended = sorted(start for start in self.windows if start + self.window_s <= before_s)
        return [self.windows.pop(start) for start in ended]

    def take_live(self, start_s: int | None) -> Window | None:
        """Take the live summary and begin the next one, or end it with None."""
        taken, self.live = self.live, Window(start_s) if start_s is not None else None
        return taken

    def open_ranges(self) -> dict[bytes, int]:
        """Return the lowest record number of each process in windows that are still open."""
        lowest: dict[bytes, int] = {}
        for window in self.windows.values():
            for process, ranges in window.ranges.items():
                first = min(each[0] for each in ranges)
                lowest[process] = min(first, lowest.get(process, first))
        return lowest

    def _add(self, app: App, frame: "_Frame", window: Window) -> None:
        known = app.points_of(window)
        for key in frame.distinct:
            if key not in known:
                known[key] = self._point(app, key, window)
        if len(frame.distinct) == 1:
            frame.book_all(frame.keys[0], known[frame.keys[0]])
            return
        special = {key for key in frame.distinct if _is_special(key)}
        if special:
            # Booked one key at a time; the loop over all rows adds them to a point nobody reads.
            unread = Point(slots=Counter())
            frame.book_plain({**known, **dict.fromkeys(special, unread)})
            for key, rows in frame.rows_of(special).items():
                frame.book_rows(key, known[key], rows)
        else:
            frame.book_plain(known)

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
        if point is None:
            if len(window.points) >= self._max_series:
                self.over_limit += 1
                series = SeriesKey(
                    hello.environment, hello.service, "", app.instance,
                    OTHER_ROUTE, OTHER_METHOD, _CLASSES[0],
                )  # fmt: skip
                point = window.points.get(series)
            if point is None:
                point = window.points[series] = Point(slots=Counter())
        return point


def _is_special(key: int) -> bool:
    """Tell whether a key's records need more than sums: errors, HEAD, odd sizes, no requests."""
    flags = key >> 24 & 0xFF
    return (
        bool(flags & ~(FLAG_QUEUED | FLAG_CONTEXT))
        or key >> 16 & 0xFF == _HEAD
        or key >> 32 & 0xFFFF >= 500
    )


class _Frame:
    """The columns of one frame of records."""

    def __init__(self, samples: Samples) -> None:
        data = samples.data
        if sys.byteorder == "big":
            data = _swapped(data, samples.record_size)
        view = memoryview(data)
        self._words = view.cast("I")
        self._stride = samples.record_size // 4
        #: the first eight bytes of each record: route, method, flags, status
        self.keys: list[int] = view.cast("Q")[0 :: samples.record_size // 8].tolist()
        self.distinct = set(self.keys)
        self._durations = durations = self._word(3)
        try:
            self._slots = [*map(_SLOTS.__getitem__, durations)]
        except IndexError:
            most = len(_SLOTS)
            self._slots = [
                _SLOTS[us] if us < most else bisect_left(UPPER_US, us) for us in durations
            ]
        self._ttfb = self._word(4)
        self._bytes = self._word(6)
        # The flags say which of the rare columns are worth reading.
        flags = 0
        for key in self.distinct:
            flags |= key >> 24
        self._rare: dict[str, list[int]] = {}
        if flags & FLAG_QUEUED:
            self._rare["queue_us"] = self._word(5)
        if flags & FLAG_CONTEXT:
            for at, name in enumerate(("db_us", "external_us", "cache_us"), 7):
                self._rare[name] = self._word(at)
            halves = view.cast("H")
            for at, name in enumerate(_COUNTS, 20):
                self._rare[name] = halves[at :: self._stride * 2].tolist()

    def book_plain(self, points: dict[int, Point]) -> None:
        """Add every record to the point of its key."""
        for key, us, slot, ttfb, size in zip(
            self.keys, self._durations, self._slots, self._ttfb, self._bytes, strict=True
        ):
            point = points[key]
            point.sum_us += us
            if us > point.max_us:
                point.max_us = us
            point.slots[slot] += 1
            point.ttfb_us += ttfb
            point.bytes += size
        for name, column in self._rare.items():
            for key, value in zip(self.keys, column, strict=True):
                if value:
                    _book_rare(points[key], name, value, 1)

    def book_all(self, key: int, point: Point) -> None:
        """Add all records of a frame with one key to its point."""
        _book(key, point, self._durations, self._slots, self._ttfb, self._bytes)
        for name, column in self._rare.items():
            _book_rare(point, name, sum(column), len(column) - column.count(0))

    def rows_of(self, keys: set[int]) -> dict[int, list[int]]:
        """Return the places of the records of some keys."""
        rows: dict[int, list[int]] = {key: [] for key in keys}
        for row, key in enumerate(self.keys):
            if key in keys:
                rows[key].append(row)
        return rows

    def book_rows(self, key: int, point: Point, rows: list[int]) -> None:
        """Add some records, all of one key, to its point."""

        def take(column: list[int]) -> list[int]:
            return [column[row] for row in rows]

        _book(
            key, point, take(self._durations), take(self._slots), take(self._ttfb),
            take(self._bytes),
        )  # fmt: skip
        for name, column in self._rare.items():
            values = take(column)
            _book_rare(point, name, sum(values), len(values) - values.count(0))

    def _word(self, at: int) -> list[int]:
        return self._words[at :: self._stride].tolist()


_COUNTS: Final = ("db_calls", "external_calls", "cache_hits", "cache_misses")


def _book_rare(point: Point, name: str, total: int, records: int) -> None:
    setattr(point, name, getattr(point, name) + total)
    if name == "queue_us":
        point.queued += records


def _book(
    key: int,
    point: Point,
    durations: list[int],
    slots: list[int],
    ttfb: list[int],
    sizes: list[int],
) -> None:
    """Add records of one key to its point, whatever its flags say."""
    flags = key >> 24 & 0xFF
    total_us = sum(durations)
    if flags & FLAG_BACKGROUND:
        point.background_us += total_us
        point.backgrounds += len(durations)
        return
    point.sum_us += total_us
    point.max_us = max(point.max_us, *durations)
    point.slots.update(slots)  # type: ignore[arg-type]
    point.ttfb_us += sum(ttfb)
    if flags & FLAG_FAILED or 500 <= key >> 32 & 0xFFFF < 600:
        point.errors += len(durations)
    # The body of a HEAD response is never sent, whatever the app handed over.
    if key >> 16 & 0xFF != _HEAD and not flags & FLAG_UNKNOWN_BYTES:
        point.bytes += sum(sizes) * 1024 if flags & FLAG_KIB else sum(sizes)


def _swapped(data: bytes, record_size: int) -> bytes:
    """Return records with their fields in this machine's order, where that is big-endian."""
    native = struct.Struct(RECORD.format.replace("<", "="))
    rest = bytes(record_size - RECORD_SIZE)
    return b"".join(
        native.pack(*RECORD.unpack_from(data, start)) + rest
        for start in range(0, len(data), record_size)
    )
