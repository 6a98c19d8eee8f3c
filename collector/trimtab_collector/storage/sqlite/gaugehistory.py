"""Reads of the history of gauges: the latest windows from memory, older ones from the files.

Points are merged per gauge first, so that a step has the mean of each gauge; only then are gauges
of one name put together.
"""

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import WINDOW_S, Array
from trimtab_collector.storage.gaugepoints import GaugeKey, Taken, chosen, take
from trimtab_collector.storage.sqlite.gaugefile import (
    GaugeChunkEntry,
    entries_of,
    gauges_of,
    payload_of,
)
from trimtab_collector.storage.sqlite.gaugehead import GaugeHead
from trimtab_collector.storage.sqlite.planes import ChunkError
from trimtab_collector.storage.sqlite.reading import FileView, Reader
from trimtab_collector.storage.sqlite.tierschema import VersionError
from trimtab_collector.storage.steps import GaugeSteps
from trimtab_collector.storage.store import GaugeRows, GaugeSelection, TooMuchError

__all__ = ["GaugeReader"]

logger = logging.getLogger("trimtab.reading")

#: most points and batches that a read may go through
_MOST_POINTS: Final = 20_000_000
_MOST_BATCHES: Final = 50_000


class GaugeReader:
    """Answers selections of gauges; from any thread but the loop's."""

    def __init__(self, reader: Reader, ring: GaugeHead) -> None:
        self._reader = reader
        self._ring = ring

    def read(self, selection: GaugeSelection) -> GaugeRows:
        """Return the history of gauges; raises TooMuchError before it takes much memory."""
        found = GaugeSteps(selection)
        start_s, end_s = selection.edges_s[0], selection.edges_s[-1]

        def snapshot(start_s: int) -> tuple[int, tuple[Sequence[GaugeKey], Sequence[Taken]]]:
            floor_s, keys, taken = self._ring.snapshot(start_s, end_s)
            return floor_s, (keys, taken)

        border_s, (keys, taken) = self._reader.latest(snapshot, start_s)
        numbers = found.numbers(enumerate(keys), len(keys))
        for begin in range(0, len(taken), 100):
            found.add(chosen(taken[begin : begin + 100], numbers))
        resolution_s = WINDOW_S
        if border_s > start_s:
            resolution_s = self._older(found, selection, min(end_s, border_s))
        return found.rows(resolution_s)

    def _older(self, found: GaugeSteps, selection: GaugeSelection, end_s: int) -> int:
        with ExitStack() as transactions:
            begun = self._reader.begin(selection.edges_s, end_s, transactions)
            chunks = [(view, *self._chunks(view, found, selection)) for view in begun.views]
            _check([entries for _, _, entries in chunks], len(begun.rows))
            for view, numbers, entries in chunks:
                for entry in entries:
                    self._add(found, view, numbers, entry)
            for t0, batch in self._reader.batches(begun):
                keys: dict[tuple[str, ...], int] = {}
                gauges = take(batch, t0, keys)
                named = ((place, GaugeKey(*key)) for key, place in keys.items())
                found.add(chosen([gauges], found.numbers(named, len(keys))))
        return begun.resolution_s

    def _chunks(
        self, view: FileView, found: GaugeSteps, selection: GaugeSelection
    ) -> tuple[Array, list[GaugeChunkEntry]]:
        """Return the numbers of a file's gauges, and the chunks that may hold what is wanted."""
        try:
            gauges, wrong = gauges_of(view.connection, selection.names, selection.where)
            if wrong:
                self._reader.damaged(view.path, ChunkError(wrong))
            if not gauges:
                return np.zeros(0, np.int64), []
            size = max(number for number, _, _ in gauges) + 1
            numbers = found.numbers(((number, key) for number, _, key in gauges), size)
            places = np.unique([place for _, place, _ in gauges])
            start_s = view.run.tier.period(view.run.start_s)
            every, unlisted = entries_of(view.connection, start_s, view.run.end_s)
            if unlisted:
                self._reader.damaged(view.path, ChunkError(unlisted))
            entries = [
                entry
                for entry in every
                if wrong
                or np.searchsorted(places, entry.first)
                < np.searchsorted(places, entry.last, "right")
            ]
        except (sqlite3.Error, VersionError, ValueError, TypeError) as error:
            self._reader.damaged(view.path, error)
            return np.zeros(0, np.int64), []
        return numbers, entries

    def _add(
        self, found: GaugeSteps, view: FileView, numbers: Array, entry: GaugeChunkEntry
    ) -> None:
        try:
            points = payload_of(view.connection, entry)
        except (ChunkError, sqlite3.Error) as error:
            self._reader.damaged(view.path, error)
            return
        t, gauge = points.key & 0xFFFFFFFF, points.key >> 32
        within = (t >= view.run.start_s) & (t < view.run.end_s) & (gauge < len(numbers))
        gauge = numbers[np.where(within, gauge, 0)]
        keep = within & (gauge >= 0)
        found.add(points.under(((gauge << 32) | t)[keep], keep))


def _check(chosen: list[list[GaugeChunkEntry]], batches: int) -> None:
    points = sum(entry.points for entries in chosen for entry in entries)
    if points > _MOST_POINTS:
        raise TooMuchError(
            f"the read would go through {points / 1e6:.1f} M gauges, over the limit of "
            f"{_MOST_POINTS / 1e6:.0f} M: ask for a shorter range, whole hours, or fewer names"
        )
    if batches > _MOST_BATCHES:
        raise TooMuchError(
            f"the read would go through {batches} batches that are not merged yet, over the limit "
            f"of {_MOST_BATCHES}: ask for a shorter range, or again when compaction has caught up"
        )
