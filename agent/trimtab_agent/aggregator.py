"""Records to points: sketches and integer sums per series, in windows. Standard library only.

A frame of records is read by columns: a slice with a stride gives all series keys, all durations
and so on, at the speed of C. They wait in one list per key until there are enough of them to be
summed and counted at the speed of C, too: about 0.3 us per record in all (`./dev bench agent`).
"""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import isfinite
from typing import Final

from trimtab_agent.allowance import Allowance, Allowances
from trimtab_agent.app import STATUS_CLASSES, App, other_series
from trimtab_agent.dating import moment_of
from trimtab_agent.faults import Faults
from trimtab_agent.names import AgentNames
from trimtab_agent.peers import Sharer
from trimtab_agent.points import book
from trimtab_agent.shares import SeriesShares
from trimtab_agent.waiting import WaitingRecords, distribute
from trimtab_core.batches import Point, SeriesKey
from trimtab_core.errors import FrameError
from trimtab_core.messages import Samples
from trimtab_core.records import (
    METHODS,
    OTHER_METHOD,
    UNMATCHED,
)

__all__ = ["Aggregator", "Window"]


#: Records that may wait before they are booked: about 1 MB, which fits the CPU's cache.
_WAITING: Final = 16_384
#: Series remembered per app: route, method, status and flags together. They are found again from
#: the record at once, so that the table is emptied when it is full.
_MAX_KNOWN: Final = 20_000
#: Ranges of record numbers of one process in one window; between two of them there is a gap.
_MAX_RANGES: Final = 1000
#: Open windows. The clocks of apps choose them, so there must be a bound; over it old records count
#: as new ones. So they do when old windows are opened too fast, by one process, by all of one user
#: or by all together: at once what was kept for three hours, and then one more per second.
_MAX_WINDOWS: Final = 1000
_LATE: Final = (1000, 1.0)
_USER_LATE: Final = (2000, 10.0)
_ALL_LATE: Final = (6000, 30.0)
#: Old windows closed at once, so that the present one need not wait for long.
_MOST_CLOSED: Final = 100
#: Memory of all open windows together, in full windows: the present one, the one before it, and a
#: backlog of six full ones or of many more that are not. By their number alone, windows could take
#: 10 GB. Where names are long, that of the present ones may be twice as much.
_FULL_WINDOWS: Final = 8
#: A series with its point, besides buckets and the text of its route; with a few and that text.
_POINT_BYTES: Final = 700
_SERIES_BYTES: Final = 1200
#: A bucket of a sketch.
_BUCKET_BYTES: Final = 90


class Window:
    """The points and the covered records of one window."""

    def __init__(self, start_s: int) -> None:
        self.start_s = start_s
        #: how far the wall clock was ahead of the monotonic one when the window was opened
        self.offset_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000
        self.points: dict[SeriesKey, Point] = {}
        #: whose the points are, but for those of `other`
        self.shares = SeriesShares()
        #: memory of the points, in bytes, approximately
        self.size_bytes = 0
        #: process -> [first, count] of records; adjacent ranges are joined
        self.ranges: dict[bytes, list[list[int]]] = {}
        self.waiting: dict[App, WaitingRecords] = {}

    def cover(self, process: bytes, first: int, count: int) -> None:
        """Note that records first to first + count - 1 of a process are in this window.

        Raises FrameError, and notes nothing, for more than 1,000 ranges.
        """
        ranges = self.ranges.setdefault(process, [])
        if ranges and sum(ranges[-1]) == first:
            ranges[-1][1] += count
        elif len(ranges) >= _MAX_RANGES:
            raise FrameError(f"more than {_MAX_RANGES} gaps in the numbers of one window")
        else:
            ranges.append([first, count])


class Aggregator:
    """The open windows; used from the agent's loop alone.

    The table of names is the window's own: each window names the first max_series that are used in
    it, so that one full of names says nothing about the next. A busy series is among the first.
    All open windows together have a bound in bytes, too: over it, series are `other` likewise; over
    twice the bound, old records count as new ones.
    """

    def __init__(
        self,
        window_s: int,
        max_series: int,
        faults: Faults | None = None,
        names: AgentNames | None = None,
    ) -> None:
        self.window_s = window_s
        #: series in a window; may be changed at any time
        self.max_series = max_series
        self.windows: dict[int, Window] = {}
        self._late_processes = Allowances(*_LATE)
        self._late_users = Allowances(*_USER_LATE)
        self._late = Allowance(*_ALL_LATE)
        self.faults = faults or Faults()
        self._names = (names or AgentNames()).series
        #: of all windows, the live one too
        self._size_bytes = 0
        self._live: Window | None = None
        self._now_s = 0.0
        self._waiting = 0
        #: app -> windows in which records of it wait: there may be a thousand open ones
        self._waiting_in: defaultdict[App, list[Window]] = defaultdict(list)
        #: times a series was folded into `other`
        self.over_limit = 0
        #: records that were added
        self.records = 0

    def add(self, app: App, samples: Samples, now_s: float, now_mono_us: int = 0) -> None:
        """Add a frame of records to the window of its clock reading.

        The clocks are those of `moment_of`. Record numbers must ascend. Raises FrameError when a
        process leaves out numbers for the 1,000th time in one window.
        """
        at_s = moment_of(samples.wall_us, samples.mono_us, now_s, now_mono_us)
        window = self.window_at(at_s, now_s, app)
        window.cover(app.hello.process, samples.first, samples.count)
        waiting = window.waiting.get(app)
        if waiting is None:
            waiting = window.waiting[app] = WaitingRecords()
            self._waiting_in[app].append(window)
        distribute(samples, waiting)
        count = samples.count
        waiting.count += count
        self.records += count
        self._waiting += count
        if self._waiting >= _WAITING:
            self.book()

    def window_at(self, at_s: float, now_s: float, app: App) -> Window:
        """Return the open window of a time, or of now where app may open no other one."""
        self._now_s = now_s
        start_s = int(at_s) // self.window_s * self.window_s
        if start_s not in self.windows and (
            len(self.windows) >= _MAX_WINDOWS
            or self._size_bytes >= 2 * self._most_bytes
            or (self._is_late(start_s, now_s) and not self._may_open(app, now_s))
        ):
            start_s = int(now_s) // self.window_s * self.window_s
        return self.open(start_s)

    def _may_open(self, app: App, now_s: float) -> bool:
        peer = app.peer
        process = peer if peer.process else (peer, app.hello.process)
        return (
            self._late_processes.take(process, now_s)
            and self._late_users.take(peer.user, now_s)
            and self._late.take(now_s)
        )

    def open(self, start_s: int) -> Window:
        """Return the open window that starts at a time, a new one where there is none."""
        window = self.windows.get(start_s)
        if window is None:
            window = self.windows[start_s] = Window(start_s)
        return window

    def book(self, app: App | None = None) -> None:
        """Add the records that wait, of one app or of all, to the points of their windows."""
        for each in [*self._waiting_in] if app is None else [app]:
            for window in self._waiting_in.pop(each, ()):
                waiting = window.waiting.pop(each)
                self._waiting -= waiting.count
                try:
                    self._book(each, waiting, window)
                    if self._live is not None:
                        self._book(each, waiting, self._live)
                except Exception:  # noqa: BLE001 - what waits of one app, which would come again
                    self.faults.note("book")

    def close(self, before_s: float) -> list[Window]:
        """Take the windows that ended before a time, oldest first.

        A window far ahead of that time was opened before the clock was put back: it ends, too. Of
        many, the newest are taken, the others next time; all for an infinite time.
        """
        ended = sorted(
            start
            for start in self.windows
            if start + self.window_s <= before_s or start > before_s + self.window_s
        )
        if isfinite(before_s):
            ended = ended[-_MOST_CLOSED:]
        if ended:
            self.book()
        windows = [self.windows.pop(start) for start in ended]
        self._size_bytes -= sum(window.size_bytes for window in windows)
        return windows

    def take_live(self, start_s: int | None) -> Window | None:
        """Take the one-second summary and begin the next at start_s; None begins no other."""
        self.book()
        taken, self._live = self._live, Window(start_s) if start_s is not None else None
        self._size_bytes -= taken.size_bytes if taken is not None else 0
        return taken

    @property
    def is_live(self) -> bool:
        """Tell whether a one-second summary is being made."""
        return self._live is not None

    def open_ranges(self, processes: Sequence[bytes] | None = None) -> dict[bytes, int]:
        """Return the lowest record number of processes, or all, in windows that are still open."""
        lowest: dict[bytes, int] = {}
        for window in self.windows.values():
            for process in window.ranges if processes is None else processes:
                ranges = window.ranges.get(process)
                if ranges:  # numbers ascend
                    lowest[process] = min(ranges[0][0], lowest.get(process, ranges[0][0]))
        return lowest

    def _book(self, app: App, waiting: WaitingRecords, window: Window) -> None:
        wider = 0
        for key, words in waiting.items():
            point = self._point(app, key, window)
            known = len(point.buckets)
            book(key, point, words)
            wider += len(point.buckets) - known
        for (key, name), total in waiting.rare.items():
            if key >> 48 and name == "ttfb_us":
                continue  # a WebSocket's or event stream's first byte says nothing of requests
            point = self._point(app, key, window)
            setattr(point, name, getattr(point, name) + total)
        if wider:
            window.shares.widen(app.owner, wider)
            self._resize(window, wider * _BUCKET_BYTES)
            while self._is_wide(window) and self._give_up_wide(window):
                pass

    def _point(self, app: App, key: int, window: Window) -> Point:
        series = app.series.get(key) or _series(app, key)
        self.over_limit += key & 0xFFFF in app.other_routes
        point = window.points.get(series)
        if point is not None:
            return point
        if self._names.take(series, app.owner) and self._has_room(app, window):
            window.shares.add(app.owner, series)
            return self._new_point(window, series)
        self.over_limit += 1
        return self._other(window, series)

    def _new_point(self, window: Window, series: SeriesKey) -> Point:
        point = window.points[series] = Point(buckets=Counter())
        self._resize(window, _POINT_BYTES + sys.getsizeof(series.route))
        return point

    def _other(self, window: Window, series: SeriesKey) -> Point:
        """Return the point of all series of an instance that find no room."""
        other = other_series(series)
        return window.points.get(other) or self._new_point(window, other)

    def _resize(self, window: Window, size_bytes: int) -> None:
        window.size_bytes += size_bytes
        self._size_bytes += size_bytes

    def _has_room(self, app: App, window: Window) -> bool:
        """Tell whether a window takes one more series, after another one has become `other` maybe.

        Where it is full, whoever has most series in it gives one up for an app that has fewer. Late
        windows, which the clocks of apps choose, have three quarters of the bytes together; for
        those of the present their number is the bound, whatever others have.
        """
        if window.shares.count < self.max_series and self._has_bytes(window):
            return True
        given = window.shares.give_up(app.owner)
        if given is None:
            return False
        self._fold(window, *given)
        return True

    def _give_up_wide(self, window: Window) -> bool:
        """Make a series `other` of whoever has most buckets in a window; False for none."""
        given = window.shares.give_up_wide()
        if given is None:
            return False
        self._fold(window, *given)
        return True

    def _fold(self, window: Window, owner: Sharer, series: SeriesKey) -> None:
        """Add a series that has lost its place to the one that collects all like it."""
        self.over_limit += 1
        point = window.points.pop(series)
        window.shares.widen(owner, -len(point.buckets))
        other = self._other(window, series)
        known = len(other.buckets)
        other.merge(point)
        freed = len(point.buckets) - (len(other.buckets) - known)
        self._resize(window, -_POINT_BYTES - sys.getsizeof(series.route) - freed * _BUCKET_BYTES)

    def _has_bytes(self, window: Window) -> bool:
        if self._size_bytes < self._most_bytes * 3 // 4:
            return True
        return window is self._live or not self._is_late(window.start_s, self._now_s)

    def _is_wide(self, window: Window) -> bool:
        """Tell whether wide sketches have to become those of `other`.

        A late window gives up what all windows together have too much, one of the present what it
        has itself: what old ones hold costs the present nothing.
        """
        late = window is not self._live and self._is_late(window.start_s, self._now_s)
        return (self._size_bytes if late else window.size_bytes) > self._most_bytes

    def _is_late(self, start_s: int, now_s: float) -> bool:
        return start_s < now_s - 3 * self.window_s

    @property
    def _most_bytes(self) -> int:
        return _FULL_WINDOWS * _SERIES_BYTES * self.max_series


def _series(app: App, key: int) -> SeriesKey:
    """Return the series of a record's key, and remember it with the app."""
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
        STATUS_CLASSES[status // 100] if 100 <= status < 600 else STATUS_CLASSES[0],
    )
    if len(app.series) >= _MAX_KNOWN:
        app.series.clear()
    app.series[key] = series
    return series
