"""Closes windows and writes what is in them to the spool. Loop only.

A window that was over before, because its records came late, travels with what is its own alone:
points, measures, and the accounting of the processes in it. Whose clock is wrong may have its
window refused, and takes along nothing of anybody else.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from trimtab_agent.aggregator import Aggregator, Window
from trimtab_agent.contents import Contents, OwnedRows
from trimtab_agent.faults import Faults
from trimtab_agent.gathered import Gathered
from trimtab_agent.listener import Listener
from trimtab_agent.peers import Sharer
from trimtab_agent.probes import Probes
from trimtab_agent.selfmetrics import Totals
from trimtab_agent.spool import Spool
from trimtab_agent.window import accounting_of, gauges_of
from trimtab_agent.writer import BatchWriter
from trimtab_core.rows import MeasureRow

__all__ = ["WindowCloser"]

log = logging.getLogger("trimtab.agent")

#: Time for spans at each closing of windows, once a second, and at the end: shared as long as there
#: is time, then as a whole.
_SPANS_S: Final = 0.1
_LAST_SPANS_S: Final = 1.0
#: While the collector answers, more batches than these that wait for it hold spans back, and for
#: how many closings at most.
_MOST_AHEAD: Final = 64
_MOST_HELD: Final = 10


class WindowCloser:
    """Closes the windows of an aggregator; own has the gauges of host and agent.

    is_reached tells whether the collector takes what is sent.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        gathered: Gathered,
        listener: Listener,
        probes: Probes,
        spool: Spool,
        writer: BatchWriter,
        totals: Totals,
        faults: Faults,
        host: str,
        own: Callable[[], Mapping[str, float]],
        is_reached: Callable[[], bool],
    ) -> None:
        self._aggregator = aggregator
        self._gathered = gathered
        self._listener = listener
        self._probes = probes
        self._spool = spool
        self._writer = writer
        self._totals = totals
        self._faults = faults
        self._host = host
        self._own = own
        self._is_reached = is_reached
        #: shares spans, and how many closings ago that began
        self._sharing: asyncio.Task[None] | None = None
        self._spans_held = 0
        #: start of the newest window that was closed
        self._closed_s = int(time.time()) // aggregator.window_s * aggregator.window_s - 1

    async def close(self, before_s: float) -> None:
        """Close the windows that ended before a time."""
        step_s = self._aggregator.window_s
        ended_s = int(before_s) // step_s * step_s - step_s
        if self._closed_s > ended_s + 2 * step_s:
            # The clock was put back: do not wait until it reaches the last closed window again.
            log.warning("the clock was put back by about %s s", self._closed_s - ended_s)
            self._closed_s = ended_s - 1
        if ended_s > self._closed_s:
            # A window without records still carries gauges and accounting.
            self._open(ended_s)
        await self._spool_windows(self._aggregator.close(before_s))
        self._gathered.age_spans()
        # Beside the windows: what is read between its batches delays spans, and no window.
        if (self._sharing is None or self._sharing.done()) and self._has_time_for_spans():
            self._sharing = asyncio.create_task(self._spool_spans(_SPANS_S))

    async def close_all(self) -> None:
        """Close all windows, the present one too, then what spans there are; for the end."""
        step_s = self._aggregator.window_s
        now_s = int(time.time()) // step_s * step_s
        # Also where the clock was put back a little: what waits goes with the last window.
        self._closed_s = min(self._closed_s, now_s - 1)
        self._open(now_s)
        await self._spool_windows(self._aggregator.close(float("inf")))
        if self._sharing is not None:
            await self._sharing
        await self._spool_spans(_LAST_SPANS_S)
        await self._spool_spans(_LAST_SPANS_S, whole=True)
        # Where the clock was put back, there are windows ahead of it.
        await self._spool_windows(self._aggregator.close(float("inf")))

    def _has_time_for_spans(self) -> bool:
        """Tell whether spans are shared now: while a lot waits to be sent, at every tenth closing.

        So they keep their order, in which each app has its turns, and no window of now behind them.
        """
        self._spans_held += 1
        if (
            self._spans_held < _MOST_HELD
            and self._is_reached()
            and self._spool.stats.held_batches > _MOST_AHEAD
        ):
            return False
        self._spans_held = 0
        return True

    async def _spool_spans(self, most_s: float, *, whole: bool = False) -> None:
        """Share what was added over several windows, and spool it, for about that long.

        In batches of its own where the window is closed, else together with what it has. The rest
        waits for the next time.
        """
        until_s = time.monotonic() + most_s
        try:
            for portion in self._gathered.take_spans(whole=whole):
                for start_s, rows in portion.items():
                    await self._spool_share(start_s, rows)
                if time.monotonic() > until_s:
                    break
        except Exception:  # noqa: BLE001 - what waits has its turn at the next closing
            self._faults.note("spans")

    async def _spool_share(self, start_s: int, rows: Sequence[tuple[Sharer, MeasureRow]]) -> None:
        try:
            if start_s > self._closed_s:
                self._aggregator.open(start_s)
                for owner, row in rows:
                    self._gathered.add_delta(start_s, row[:4], row.delta, owner)
            else:
                named = [(owner, {row[2:4]: row.delta}) for owner, row in rows]
                await self._writer.write(Contents(Window(start_s), OwnedRows(named)))
        except Exception:  # noqa: BLE001 - one window of one portion
            self._faults.note("spans")
            self._gathered.measures_dropped += len(rows)

    def _open(self, start_s: int) -> None:
        """Have a window closed whatever apps send, with what was probed until now."""
        self._aggregator.open(start_s)
        for row in self._probes.measures():
            self._gathered.add_delta(start_s, row[:4], row[4])

    async def _spool_windows(self, windows: Sequence[Window]) -> None:
        for left in range(len(windows), 0, -1):
            window = windows[-left]
            is_late = window.start_s <= self._closed_s
            self._closed_s = max(self._closed_s, window.start_s)
            try:
                if is_late:
                    await self._spool_late(window)
                else:
                    await self._spool_window(window, is_last=left == 1)
            except Exception:  # noqa: BLE001 - one window, whatever is in it
                self._faults.note("windows")
                requests = sum(sum(point.buckets.values()) for point in window.points.values())
                self._spool.lose("malformed", requests)
            for key, point in window.points.items():
                self._totals.add(key, point)

    async def _spool_late(self, window: Window) -> None:
        own = list(window.ranges)
        open_ranges = self._aggregator.open_ranges(own)
        accounting = accounting_of(window, self._listener.apps, open_ranges, own)
        if window.points or accounting or self._gathered.has(window.start_s):
            rows = self._gathered.take(window.start_s, with_events=False)
            await self._writer.write(Contents(window, rows, accounting))

    async def _spool_window(self, window: Window, *, is_last: bool) -> None:
        apps = self._listener.apps
        accounting = accounting_of(window, apps, self._aggregator.open_ranges())
        names = self._gathered.names.gauges
        gauges = gauges_of(apps, self._host, self._own(), names, self._probes.gauges())
        # A process that left is forgotten with the last window that may hold its records.
        still_open = self._aggregator.open_ranges() if is_last else {}
        for process in self._listener.departed() if is_last else ():
            if process not in still_open:
                del apps[process]
        rows = self._gathered.take(window.start_s, window.offset_us, with_events=is_last)
        await self._writer.write(Contents(window, rows, accounting, gauges))
