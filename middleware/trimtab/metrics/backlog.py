"""What was added to measures and waits for the agent, by windows of time, in bounded memory.

A window is as long as a window of the agent, 10 seconds, and begins with it. So what gathers while
the agent is away reaches it with the time at which it was added, and not as one lump.

Over the bound of bytes the oldest windows are joined to windows of a minute, then of ten minutes,
then of an hour, the finest of them first, as the agent does it in its spool. When nothing can be
joined any more, the oldest window is dropped, and its deltas are counted. The agent shares what is
in a long window evenly among its own.

Windows are joined by the monotonic clock, whatever the wall clock does meanwhile. No call works for
longer than about 0.2 ms: what is left of joining and dropping waits for the next one.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from itertools import islice
from math import isfinite
from time import monotonic_ns, time_ns
from typing import Final

from trimtab_core.measures import Delta, MeasureKey

__all__ = ["BacklogWindow", "MeasureBacklog"]

_WINDOW_US: Final = 10_000_000
_STEPS_US: Final = (60_000_000, 600_000_000, 3_600_000_000)
_MOST_BYTES: Final = 4 * 2**20
#: Six days: a window older than seven days is refused by the collector.
_MOST_AGE_US: Final = 6 * 86_400_000_000
#: What is taken this late after the end of a window still belongs to it. The agent closes a window
#: a second after its end.
_LATE_US: Final = 500_000
#: What is taken was added within this time, if the process has not stood still.
_MOST_SPAN_US: Final = 1_400_000
#: A jump of the wall clock by more than this begins another window.
_JUMP_US: Final = 2_000_000
#: Memory of a window, of a delta in it, and of one of its buckets, approximately.
_EMPTY_BYTES: Final = 500
_DELTA_BYTES: Final = 500
_BUCKET_BYTES: Final = 90
_KEY_BYTES: Final = 200
#: Work of one call, in microseconds, and what things cost, approximately.
_WORK_US: Final = 200.0
_LOOK_US: Final = 0.3
_MOVE_US: Final = 2.5
_BUCKET_US: Final = 0.15


class BacklogWindow:
    """What was added to measures between two moments of the monotonic clock, in us."""

    __slots__ = ("begin_us", "deltas", "end_us", "limit_us", "offset_us")

    def __init__(self, begin_us: int, end_us: int, limit_us: int, offset_us: int) -> None:
        self.begin_us, self.end_us = begin_us, end_us
        #: its latest end: a multiple of 10 s of the wall clock
        self.limit_us = limit_us
        #: how far the wall clock was ahead of the monotonic one
        self.offset_us = offset_us
        self.deltas: dict[MeasureKey, Delta] = {}

    def like(self) -> "BacklogWindow":
        """Return an empty window of the same time."""
        return BacklogWindow(self.begin_us, self.end_us, self.limit_us, self.offset_us)

    def step(self, step_us: int, offset_us: int) -> int:
        """Return the step in which this window ends, by a wall clock that is ahead by offset_us."""
        return (self.end_us - 1 + offset_us) // step_us


class MeasureBacklog:
    """The windows of a process, oldest first. Any thread, one after the other: hold `lock`."""

    def __init__(
        self,
        most_bytes: int = _MOST_BYTES,
        clocks_ns: Callable[[], tuple[int, int]] = lambda: (time_ns(), monotonic_ns()),
    ) -> None:
        self._most_bytes = most_bytes
        #: wall and monotonic clock
        self._clocks_ns = clocks_ns
        self.after_fork()

    def after_fork(self) -> None:
        """Start from nothing; in the child of a fork."""
        self.lock = threading.Lock()
        #: deltas that were dropped, and values that were no finite numbers
        self.dropped = 0
        self._windows: list[BacklogWindow] = []
        #: the last one, as long as more can come into it
        self._open: BacklogWindow | None = None
        self._size_bytes = 0
        #: for each step: no two windows before this place can be joined
        self._joined = [0] * len(_STEPS_US)
        #: how many windows have a key: its memory counts once
        self._uses: dict[MeasureKey, int] = {}
        self._taken_us = 0

    @property
    def size_bytes(self) -> int:
        """Memory of all that waits, approximately."""
        return self._size_bytes

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing waits."""
        return not any(window.deltas for window in self._windows)

    @property
    def is_over(self) -> bool:
        """Tell whether the window of what is being taken has ended: its last values can be had."""
        return self._open is not None and self._clocks_ns()[1] // 1000 >= self._open.limit_us

    @property
    def is_full(self) -> bool:
        """Tell whether so much waits that nothing older could make room."""
        return self._size_bytes > self._most_bytes

    def add(self, taken: Iterable[tuple[MeasureKey, Delta]], *, is_all: bool = True) -> None:
        """Add what was taken from measures just now.

        is_all: there is no more to be taken now; what is taken next was added later.
        """
        wall_us, mono_us = (ns // 1000 for ns in self._clocks_ns())
        window = self._open
        if window is not None and (
            mono_us - window.limit_us > _LATE_US
            or abs(wall_us - mono_us - window.offset_us) > _JUMP_US
        ):
            window = self._open = None
        for key, delta in taken:
            if isfinite(delta.sum):
                if window is None:
                    window = self._open = self._begin(wall_us, mono_us)
                self._merge(window, key, delta)
            else:
                self.dropped += 1
        if is_all:
            self._taken_us = mono_us
        if window is not None and is_all:
            window.end_us = min(mono_us, window.limit_us)
            if not window.deltas:
                window.begin_us = window.end_us
            self._open = window if mono_us < window.limit_us else None
        self._trim()

    def _begin(self, wall_us: int, mono_us: int) -> BacklogWindow:
        """Return a new window, the last one, for what is taken now."""
        offset_us = wall_us - mono_us
        begun_us = wall_us // _WINDOW_US * _WINDOW_US - offset_us
        begin_us = max(self._taken_us, mono_us - _MOST_SPAN_US, begun_us)
        window = BacklogWindow(begin_us, mono_us, begun_us + _WINDOW_US, offset_us)
        self._windows.append(window)
        self._size_bytes += _EMPTY_BYTES
        return window

    def next(self, most: int, most_buckets: int) -> BacklogWindow | None:
        """Take up to that many deltas of the oldest window, as a window; None if nothing waits."""
        while self._windows:
            window = self._windows[0]
            if window.deltas:
                part = window.like()
                for key in list(islice(window.deltas, most)):
                    if most_buckets < 0:
                        break
                    delta = part.deltas[key] = window.deltas.pop(key)
                    most_buckets -= len(delta.buckets)
                    self._forget(key, delta)
                if window is self._open and not window.deltas:
                    window.begin_us = window.end_us
                return part
            if window is self._open:
                break
            self._remove(0)
        return None

    def keys(self, most: int) -> list[MeasureKey]:
        """Return the keys of what `next` gives, or a few more."""
        for window in self._windows:
            if window.deltas:
                return list(islice(window.deltas, most))
        return []

    def drop(self, key: MeasureKey) -> None:
        """Drop all that waits of a measure."""
        for window in self._windows:
            delta = window.deltas.pop(key, None)
            if delta is not None:
                self._forget(key, delta)
                self.dropped += 1

    def put_back(self, part: BacklogWindow) -> None:
        """Put back what `next` gave and nobody has read."""
        first = self._windows[0] if self._windows else None
        if first is None or first.begin_us != part.begin_us or first.limit_us != part.limit_us:
            first = part.like()
            self._windows.insert(0, first)
            self._joined = [0] * len(_STEPS_US)
            self._size_bytes += _EMPTY_BYTES
        later, first.deltas = first.deltas, {}
        for key, delta in later.items():
            self._forget(key, delta)
        for deltas in (part.deltas, later):
            for key, delta in deltas.items():
                self._merge(first, key, delta)
        self._trim()

    def _merge(self, window: BacklogWindow, key: MeasureKey, delta: Delta) -> None:
        before = window.deltas.get(key)
        if before is None:
            window.deltas[key] = delta
            self._size_bytes += _DELTA_BYTES + _BUCKET_BYTES * len(delta.buckets)
            uses = self._uses.get(key, 0)
            if not uses:
                self._size_bytes += _size_of(key)
            self._uses[key] = uses + 1
        else:
            self._size_bytes -= _BUCKET_BYTES * len(before.buckets)
            before.merge(delta)
            self._size_bytes += _BUCKET_BYTES * len(before.buckets)

    def _forget(self, key: MeasureKey, delta: Delta) -> None:
        self._size_bytes -= _DELTA_BYTES + _BUCKET_BYTES * len(delta.buckets)
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._uses[key]
            self._size_bytes -= _size_of(key)

    def _trim(self) -> None:
        """Join or drop the oldest windows as long as there is too much, and time."""
        left_us = _WORK_US
        while left_us > 0 and len(self._windows) > 1:
            if self._windows[0].end_us < self._windows[-1].end_us - _MOST_AGE_US:
                left_us = self._drop_oldest(left_us)
            elif self._size_bytes > self._most_bytes:
                left_us = self._join(left_us)
            else:
                return

    def _join(self, left_us: float) -> float:
        """Join the oldest two windows of a step, or drop the oldest one; return the time left."""
        windows, offset_us = self._windows, self._windows[-1].offset_us
        last = len(windows) - 1 - (windows[-1] is self._open)
        for number, step_us in enumerate(_STEPS_US):
            at = self._joined[number]
            while at < last:
                if windows[at].step(step_us, offset_us) == windows[at + 1].step(step_us, offset_us):
                    self._joined[number:] = [min(at, each) for each in self._joined[number:]]
                    return self._absorb(at, left_us)
                at += 1
                self._joined[number] = at
                left_us -= _LOOK_US
                if left_us <= 0:
                    return left_us
        return self._drop_oldest(left_us)

    def _absorb(self, at: int, left_us: float) -> float:
        """Add to a window what is in the one behind it; return the time left."""
        into, later = self._windows[at : at + 2]
        into.end_us, into.limit_us = later.end_us, later.limit_us
        into.offset_us = later.offset_us
        while later.deltas and left_us > 0:
            key, delta = later.deltas.popitem()
            self._forget(key, delta)
            self._merge(into, key, delta)
            left_us -= _MOVE_US + _BUCKET_US * len(delta.buckets)
        if not later.deltas:
            self._remove(at + 1)
        return left_us - _LOOK_US

    def _drop_oldest(self, left_us: float) -> float:
        """Drop what is in the oldest window; return the time left."""
        deltas = self._windows[0].deltas
        while deltas and left_us > 0:
            key, delta = deltas.popitem()
            self._forget(key, delta)
            self.dropped += 1
            left_us -= _MOVE_US
        if not deltas:
            self._remove(0)
        return left_us - _LOOK_US

    def _remove(self, at: int) -> None:
        """Forget a window that is empty."""
        del self._windows[at]
        self._size_bytes -= _EMPTY_BYTES
        self._joined = [each - (each > at) for each in self._joined]


def _size_of(key: MeasureKey) -> int:
    texts = sum(sys.getsizeof(name) + sys.getsizeof(text) for name, text in key.attributes)
    return _KEY_BYTES + texts
