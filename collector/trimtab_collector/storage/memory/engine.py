"""The engine in memory: plain and small, it forgets everything when it is closed.

It is for tests, and for an app that looks at itself; the conformance suite holds it to the answers
of SQLite. It keeps windows of 10 seconds for one retention and never widens them. Beyond its bound
of memory it refuses batches until `compact` has dropped what is too old.
"""

import asyncio
import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from trimtab_collector.storage.accounting import AccountingTable, Staged
from trimtab_collector.storage.arrivals import latest_run
from trimtab_collector.storage.catalogue import Catalogue
from trimtab_collector.storage.columns import WINDOW_S, Columns, columns_of_batch
from trimtab_collector.storage.commits import tell
from trimtab_collector.storage.gaugepoints import chosen
from trimtab_collector.storage.gauges import LatestGauges
from trimtab_collector.storage.grouping import WhoseMeasure, grouped_by
from trimtab_collector.storage.memory.seen import SeenBatches
from trimtab_collector.storage.memory.windows import (
    MemoryWindow,
    MemoryWindows,
    renumber,
    used_series,
)
from trimtab_collector.storage.steps import GaugeSteps, PointSteps
from trimtab_collector.storage.store import (
    Admit,
    CommitListener,
    EventSelection,
    GaugeRows,
    GaugeSelection,
    Health,
    LatestGauge,
    MeasurePart,
    MeasureSelection,
    Numbered,
    Received,
    Rows,
    Selection,
    ServiceAccounting,
    UnavailableError,
    UnstorableError,
)
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.batches import Batch, SeriesKey
from trimtab_core.errors import BatchError
from trimtab_core.rows import EventRow

__all__ = ["MemoryHealth", "MemoryStore"]

logger = logging.getLogger("trimtab.memory")

#: span of live summaries kept, seconds
_LIVE_S: Final = 120
#: names of batches are kept longer than late windows are accepted (7 days)
_SEEN_S: Final = 8 * 86_400
_TIDY_S: Final = 30
#: batches whose gauges are merged at once
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class MemoryHealth(Health):
    """The state of a MemoryStore."""

    #: bytes of stored windows
    recent_bytes: int

    def details(self) -> Mapping[str, Any]:
        """Return the figure that not every engine has."""
        return {"recent_bytes": self.recent_bytes}


class MemoryStore:
    """A Store without files; see the Protocol for each method."""

    def __init__(
        self,
        *,
        keep_s: int = 86_400,
        max_bytes: int = 256 * 1024 * 1024,
        max_series: int = 200_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keep_s = keep_s
        self._max_bytes = max_bytes
        self._clock = clock
        #: held briefly; acquired before the catalogue's own lock, never after it
        self._lock = threading.Lock()
        self._catalogue = Catalogue(max_series)
        self._stored = MemoryWindows()
        self._live: dict[int, MemoryWindow] = {}
        self.over = SenderTally()
        self._latest = LatestGauges(over=self.over)
        self._accounting = AccountingTable(self.over)
        self._seen = SeenBatches(max_bytes // 4)
        self._waiting_bytes = 0
        self._batches = 0
        self._duplicates = 0
        #: why what is too old stays, else empty
        self._tidying = ""
        self._listeners: list[CommitListener] = []
        self._closed = threading.Event()
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="trimtab-commit")
        self._tidier = threading.Thread(target=self._tidy, name="trimtab-tidy", daemon=True)

    # ------------------------------------------------ life

    def start(self) -> None:
        """Start the thread that drops what is too old."""
        self._tidier.start()

    def close(self) -> None:
        """Stop the threads, after listeners have been told of what was accepted."""
        self._closed.set()
        self._committer.shutdown()
        if self._tidier.is_alive():
            self._tidier.join()

    def _tidy(self) -> None:
        while True:
            try:
                self.compact(self._clock())
                self._tidying = ""
            except Exception as error:
                logger.exception("what is too old could not be dropped, it is tried again")
                self._tidying = f"what is too old could not be dropped: {error}"
            if self._closed.wait(_TIDY_S):
                return

    # ------------------------------------------------ writing

    def number(self, batch: Batch, window_s: int, admit: Admit) -> Numbered:
        """Return the points of a batch under the numbers of the catalogue."""
        return self._catalogue.number(batch, window_s, admit)

    async def append(self, received: Received) -> bool:
        """Store a batch; True if it was here before."""
        with self._lock:
            trouble = "the collector is stopping" if self._closed.is_set() else self._trouble()
            if trouble:
                raise UnavailableError(f"{trouble}: send the batch again", 10)
            self._waiting_bytes += len(received.raw)
        committed = self._committer.submit(self._commit, received)
        # A caller that stops waiting does not undo it.
        return await asyncio.shield(asyncio.wrap_future(committed))

    def _commit(self, received: Received) -> bool:
        with self._lock:
            self._waiting_bytes -= len(received.raw)
            if self._seen.has(received.key, received.batch):
                self._duplicates += 1
                return True
            try:
                self._take(received)
            except (UnavailableError, MemoryError):
                raise
            except Exception as error:
                logger.exception("batch refused: the store raised")
                message = f"expected a batch that can be stored, got {error!r:.200}"
                raise UnstorableError(message) from error
        tell(self._listeners, [received])
        return False

    def _take(self, received: Received) -> None:
        try:
            points = self._points(received)
        except BatchError as error:
            raise UnavailableError(f"{error}; send the batch again", 10) from error
        self._stored.add(received, points)
        self._latest.note(received.batch, received.read_s, received.key)
        staged = Staged()
        self._accounting.stage(staged, received)
        self._accounting.confirm(staged)
        self._seen.add(received.key, received.batch, received.window_s)
        self._batches += 1

    def _points(self, received: Received) -> Columns:
        """Return points under the present numbers: names may have gone since it was numbered."""
        if received.numbered.origin is self._catalogue.dictionary:
            return received.columns
        known = self._catalogue.know(received.batch.series)
        return columns_of_batch(received.batch, known.numbers, received.window_s)

    def show(self, received: Received) -> None:
        """Accept a live summary: readable at once, never stored."""
        batch = received.batch
        name = (received.key, batch.agent, batch.boot, batch.seq)
        with self._lock:
            self._forget_live()
            if received.window_s >= self._clock() - _LIVE_S:
                window = self._live.setdefault(received.window_s, MemoryWindow())
                if name not in window.names:
                    window.add_points(self._points(received))
                    window.names.add(name)
            self._latest.note(batch, received.read_s, received.key)

    def note_held(self, batch: Batch, held: int) -> None:
        """Note how many records an agent holds in addition to a batch; loop only."""
        with self._lock:
            self._accounting.note_held(batch, held)

    def on_commit(self, listener: CommitListener) -> None:
        """Call a listener with each new batch; before `start` only."""
        self._listeners.append(listener)

    # ------------------------------------------------ reading

    def read(self, selection: Selection) -> Rows:
        """Return merged points."""
        with self._lock:
            self._forget_live()
            windows = self._live if selection.live else self._stored.windows
            dictionary = self._catalogue.dictionary
            parts = [
                window.points
                for t, window in windows.items()
                if selection.start_s <= t < selection.end_s
            ]
        steps = PointSteps(selection)
        steps.add_all(dictionary, parts)
        return steps.rows(1 if selection.live else WINDOW_S)

    def read_gauges(self, selection: GaugeSelection) -> GaugeRows:
        """Return the history of gauges."""
        edges_s = selection.edges_s
        with self._lock:
            names = self._stored.gauge_names()
            windows = self._stored.within(edges_s[0], edges_s[-1])
            taken = [each for _, window in windows for each in window.gauges]
        steps = GaugeSteps(selection)
        numbers = steps.numbers(enumerate(names), len(names))
        for begin in range(0, len(taken), _AT_ONCE):
            steps.add(chosen(taken[begin : begin + _AT_ONCE], numbers))
        return steps.rows(WINDOW_S)

    def read_measures(self, selection: MeasureSelection) -> list[MeasurePart]:
        """Return what was added to measures, by group and then step."""
        edges_s = selection.edges_s
        found: dict[tuple[WhoseMeasure, int], MeasurePart] = {}
        with self._lock:
            for t, window in self._stored.within(edges_s[0], edges_s[-1]):
                step = bisect_right(edges_s, t) - 1
                for whose, delta in window.measures.items():
                    if _wanted(selection, whose):
                        group = grouped_by(selection, whose)
                        part = found.get((group, step))
                        if part is None:
                            found[group, step] = MeasurePart(*group, step, deepcopy(delta))
                        else:
                            part.delta.merge(delta)
        return sorted(found.values(), key=lambda part: (part[:4], part.step))

    def read_events(self, selection: EventSelection) -> list[EventRow]:
        """Return the latest events of a kind, the latest first."""
        start_us, end_us = selection.start_s * 1_000_000, selection.end_s * 1_000_000
        with self._lock:
            found = [
                seen
                for window in self._stored.windows.values()
                for seen in window.events
                if start_us <= seen[0] < end_us and _is_asked_for(selection, seen[2])
            ]
        found.sort(key=lambda seen: seen[:2], reverse=True)
        # Copies, so that readers cannot change what is stored.
        return [deepcopy(row) for _, _, row in found[: selection.limit]]

    def latest_gauges(self, now_s: float) -> list[LatestGauge]:
        """Return the latest value of every gauge that was read recently."""
        return self._latest.fresh(now_s)

    def series_names(self) -> Sequence[SeriesKey]:
        """Return the series in memory, and those that sum them up."""
        with self._lock:
            return self._catalogue.dictionary.keys()

    def measure_names(self) -> Sequence[WhoseMeasure]:
        """Return whose every measure is, and its key."""
        with self._lock:
            windows = self._stored.windows.values()
            return list({whose: None for window in windows for whose in window.measures})

    def arrived(
        self, start_s: int, end_s: int, gap_s: int, *, live: bool = False
    ) -> tuple[int, int] | None:
        """Return start and end of the latest run of windows."""
        with self._lock:
            self._forget_live()
            windows: Iterable[int] = self._live if live else self._stored.windows
            held = [t for t in windows if start_s <= t < end_s]
        return latest_run(held, 1 if live else WINDOW_S, gap_s)

    def accounting(self) -> list[ServiceAccounting]:
        """Return what became of the records of every service."""
        with self._lock:
            return self._accounting.services()

    def health(self) -> MemoryHealth:
        """Return the state of the store."""
        with self._lock:
            return MemoryHealth(
                trouble=self._trouble(),
                batches=self._batches,
                duplicates=self._duplicates,
                waiting_bytes=self._waiting_bytes,
                compaction=self._tidying,
                damage={},
                series=len(self._catalogue),
                gauges_left_out=self._latest.left_out,
                rows_left_out=0,
                recent_bytes=self._stored.size_bytes,
            )

    def _trouble(self) -> str:
        held = self._stored.size_bytes + self._seen.size_bytes + self._waiting_bytes
        return f"memory is full, {held} bytes are held" if held > self._max_bytes else ""

    # ------------------------------------------------ upkeep

    def compact(self, now_s: float) -> int:
        """Drop what is too old, and names that are no longer used; merges nothing."""
        with self._lock:
            self._stored.drop(int(now_s) - self._keep_s)
            self._forget_live()
            self._latest.forget(now_s)
            self._accounting.retire(self._accounting.retirement())
            self._seen.forget(now_s - _SEEN_S)
            if self._catalogue.is_crowded:
                windows = [*self._stored.windows.values(), *self._live.values()]
                self._catalogue.sweep(partial(used_series, windows), partial(renumber, windows))
        return 0

    def _forget_live(self) -> None:
        floor_s = self._clock() - _LIVE_S
        for t in [t for t in self._live if t < floor_s]:
            del self._live[t]
        size = sum(window.size_bytes for window in self._live.values())
        while size > self._max_bytes // 4:
            size -= self._live.pop(min(self._live)).size_bytes


def _wanted(selection: MeasureSelection, whose: WhoseMeasure) -> bool:
    name = whose[3].name
    named = any(
        name.startswith(each[:-1]) if each.endswith("*") else name == each
        for each in selection.names
    )
    places = dict(zip(("environment", "service", "instance"), whose[:3], strict=True))
    return named and all(places[field] == text for field, text in selection.where.items())


def _is_asked_for(selection: EventSelection, row: EventRow) -> bool:
    route = row.event.get("route")
    texts = {**row._asdict(), "route": route if isinstance(route, str) else ""}
    return row.event["kind"] == selection.kind and all(
        texts[field] == text for field, text in selection.where.items()
    )
