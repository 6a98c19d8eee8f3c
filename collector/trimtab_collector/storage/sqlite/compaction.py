"""Journal to tiers: the batches of past hours merged into columns, at every level.

The work is done in slices of bounded size, a few of which make a unit. A unit prepares a
transaction in each tier's file, with the chunks and the ids of the journal rows in them. It is
published as a whole: the transactions are committed, then the rows are deleted from the journal. If
it is interrupted anywhere, the next run sees which file has which rows, adds what is missing and
deletes the rows. Late batches are a slice of their hour like any other, since points add up.
"""

import logging
import sqlite3
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from trimtab_collector.storage.catalogue import Catalogue
from trimtab_collector.storage.columns import (
    Array,
    Columns,
    columns_of_batch,
    columns_of_batches,
    narrowed,
    series_of,
    times_of,
)
from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.gaugepoints import Taken
from trimtab_collector.storage.levels import LEVELS, above, rolled_up
from trimtab_collector.storage.merging import merge, merged_in_parts
from trimtab_collector.storage.sqlite.facts import identity_of_journal
from trimtab_collector.storage.sqlite.gaugeunit import GaugeUnit
from trimtab_collector.storage.sqlite.journal import JOURNAL_ROW, batch_of, seen_of
from trimtab_collector.storage.sqlite.knownfiles import is_anew
from trimtab_collector.storage.sqlite.tierfacts import adopt, forget, mark, marked, note
from trimtab_collector.storage.sqlite.tierfile import add_points
from trimtab_collector.storage.sqlite.tiernames import add_series
from trimtab_collector.storage.sqlite.tiers import (
    COARSE,
    EVERY,
    FINE,
    MEDIUM,
    SUMMED,
    Tier,
    file_of,
)
from trimtab_collector.storage.sqlite.writers import Writers
from trimtab_core.batches import Batch

__all__ = ["Prepared", "Step", "units"]

logger = logging.getLogger("trimtab.compaction")

_HOUR_S: Final = 3600
#: an open hour is merged once this much of it is due: seconds of windows, or batches
_DUE_S: Final = 300
_DUE: Final = 2_000
#: payload bytes and points of a slice
_SLICE_BYTES: Final = 2 * 1024 * 1024
_SLICE_POINTS: Final = 20_000
#: this many gauges count as one point
_GAUGES_PER_POINT: Final = 4
#: most rows that a unit looks at, and the points after which it ends
_ROWS: Final = 6_000
_UNIT_POINTS: Final = 300_000
#: buckets of wide windows that are merged at once
_AT_ONCE: Final = 300_000

_ROW: Final = f"SELECT {JOURNAL_ROW} FROM journal WHERE id = ?"  # noqa: S608


class Step(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What changes in metrics.db once the commits of a step are done."""

    what: str
    #: rows to delete from the journal, and their bytes
    journal: list[int] = []
    size_bytes: int = 0
    #: those of them that cannot be read, and why
    unreadable: list[tuple[int, str]] = []
    #: name of each file in which something was damaged or lost, and what it was
    damaged: dict[str, str] = {}
    #: sequence numbers of batches: (origin, first, last, latest window), to recognise repeats
    seen: list[tuple[int, int, int, int]] = []
    #: nothing before this second is only in the journal
    merged_before_s: int = 0
    #: tier -> its new floor: the time from which on it holds everything
    floors: dict[str, int] = {}
    #: names of the files that the rows were merged into
    files: list[str] = []


#: a step and the call that commits it; if the driver never calls it, nothing has happened
Prepared = tuple[Step, Callable[[], None]]


@dataclass(slots=True)
class _JournalRow:
    id: int
    origin: int
    seq: int
    t0: int
    size_bytes: int = 0
    batch: Batch | None = None
    taken: Taken | None = None
    #: why it cannot be read, empty if it can
    trouble: str = ""


def units(
    journal: sqlite3.Connection,
    writers: Writers,
    max_series: int,
    directory: Path,
    cutoff_s: int,
    floors: Mapping[str, int],
    *,
    all_of_it: bool = False,
    on_failure: Callable[[str, Exception], None],
) -> Iterator[Prepared]:
    """Yield a prepared step for every few slices of windows that started before cutoff_s.

    A small amount of recent data waits for more, unless all_of_it is set. journal is the caller's
    own connection for reading; floors has the time from which on each tier is kept. Beyond
    max_series series of an hour the last ones are merged as the route `other`. Commit each step and
    delete its rows before asking for the next. Rows that arrive meanwhile are left to the next run.
    An hour that cannot be merged is told to on_failure and left in the journal. Raises
    sqlite3.Error if a disk refuses a write.
    """
    (last,) = journal.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()
    identity = identity_of_journal(journal)
    if not identity:
        raise sqlite3.DatabaseError("the journal has lost its identity: restart the collector")
    failed: set[int] = set()
    while due := _due(journal, cutoff_s, last, 0 if all_of_it else _DUE, failed):
        try:
            unit = _Unit(journal, writers, Catalogue(max_series), directory, due, floors, identity)
            rows = _listed(journal, due, min(due + _HOUR_S, cutoff_s), last)
            for some in _slices(journal, unit, rows):
                unit.add(some)
                if unit.points >= _UNIT_POINTS:
                    break
            step = unit.finish(cutoff_s)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - one hour; the others go on
            failed.add(due)
            on_failure(f"the hour from {due}", error)
            continue
        yield step


def _due(
    journal: sqlite3.Connection, cutoff_s: int, last: int, least: int, failed: Container[int]
) -> int:
    """Return the next hour to merge, of rows up to id last, 0 for none; not one that failed.

    An hour that is not over is due with this many batches, or once its oldest have waited long.
    """
    for hour_s, batches, first_s in journal.execute(
        f"SELECT t0 - t0 % {_HOUR_S} AS hour, count(*), min(t0) FROM journal"  # noqa: S608
        " WHERE t0 < ? AND id <= ? GROUP BY hour ORDER BY hour",
        (cutoff_s, last),
    ):
        if hour_s in failed:
            continue
        if hour_s + _HOUR_S <= cutoff_s or batches >= least or cutoff_s - first_s >= _DUE_S:
            return int(hour_s)
    return 0


def _listed(journal: sqlite3.Connection, start_s: int, end_s: int, last: int) -> list[_JournalRow]:
    """Return the next rows of an hour, up to id last, without payload, by minute and then agent.

    So a slice can end between two agents and need not divide a minute of a series, whose points
    would then be stored twice.
    """
    rows = [
        _JournalRow(*found)
        for found in journal.execute(
            "SELECT id, origin, seq, t0 FROM journal WHERE t0 >= ? AND t0 < ? AND id <= ?"
            " ORDER BY t0, id LIMIT ?",
            (start_s, end_s, last, _ROWS),
        )
    ]
    if len(rows) == _ROWS and rows[0].t0 // 60 != rows[-1].t0 // 60:
        rows = [row for row in rows if row.t0 // 60 != rows[-1].t0 // 60]
    return sorted(rows, key=lambda row: (row.t0 // 60, row.origin, row.t0, row.id))


def _slices(
    journal: sqlite3.Connection, unit: "_Unit", rows: Sequence[_JournalRow]
) -> Iterator[list[_JournalRow]]:
    """Yield decoded rows in slices; a row that cannot be read has no batch."""
    slice_: list[_JournalRow] = []
    size = points = 0
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        found = journal.execute(_ROW, (row.id,)).fetchone()
        try:
            batch = batch_of(found)
            row.taken = unit.gauges.take(batch, row.t0)
            # Gauges are kept separately: as objects they are most of the memory of some batches.
            row.batch = replace(batch, gauges=()) if batch.gauges else batch
            points += batch.points + len(batch.gauges) // _GAUGES_PER_POINT
        except Exception as error:  # noqa: BLE001 - the row costs itself, and would come again
            _left_out(row, error)
        row.size_bytes = len(found[5] or b"") if found else 0
        size += row.size_bytes
        slice_.append(row)
        full = size >= _SLICE_BYTES or points >= _SLICE_POINTS
        between = following is None or _agents_minute(following) != _agents_minute(row)
        if following is None or (full and between) or points >= 2 * _SLICE_POINTS:
            unit.points += points
            yield slice_
            slice_, size, points = [], 0, 0


def _agents_minute(row: _JournalRow) -> tuple[int, int]:
    return row.t0 // 60, row.origin


class _Unit:
    """Slices of one hour on their way into the tiers, in one open transaction a file."""

    def __init__(
        self,
        journal: sqlite3.Connection,
        writers: Writers,
        series: Catalogue,
        directory: Path,
        hour_s: int,
        floors: Mapping[str, int],
        identity: int,
    ) -> None:
        self._writers = writers
        self._series = series
        self._hour_s = hour_s
        self._step = Step(what="merge")
        self.points = 0
        self.gauges = GaugeUnit(hour_s)
        self._files: dict[Tier, _File] = {}
        #: points of wide windows, by level: written once, after the last slice
        self._held: dict[Tier, list[list[Columns]]] = {}
        for tier in EVERY:
            if hour_s >= floors[tier.name]:
                path = file_of(directory, tier, hour_s)
                begin = partial(_begun, path, tier, hour_s, journal, identity)
                self._files[tier] = writers.fill(path, begin)
                if tier.width_s > MEDIUM.width_s:
                    self._held[tier] = [[] for _ in range(LEVELS)]

    def add(self, rows: Sequence[_JournalRow]) -> None:
        """Add a slice to every file that does not have its rows yet."""
        known: dict[tuple[int, ...], list[Columns]] = {}
        for tier, file in self._files.items():
            new = [row for row in rows if row.id not in file.marked]
            numbers = tuple(row.id for row in new)
            if numbers not in known:
                points = merge([_points(new, self._series)])
                known[numbers] = list(above(points, self._series.dictionary.parents()))
            levels = known[numbers]
            if tier is not FINE:
                same = self._series.dictionary.parents()[0]
                levels = [rolled_up(points, same, tier.width_s) for points in levels]
                # Wider windows are then summed from a sixth of the points.
                known[numbers] = levels
            with self._writers.guarded(file.path):
                mark(file.connection, numbers)
                if tier is not SUMMED:
                    self.gauges.put(file.connection, tier, numbers, [row.taken for row in new])
                if tier in self._held:
                    for parts, points in zip(self._held[tier], levels, strict=True):
                        parts.append(narrowed(points))
                else:
                    self._put(file, tier, levels)
        self._step.journal += [row.id for row in rows]
        self._step.unreadable += [(row.id, row.trouble) for row in rows if row.trouble]
        self._step.size_bytes += sum(row.size_bytes for row in rows)
        self._step.seen += seen_of((row.origin, row.seq, row.t0) for row in rows)

    def finish(self, cutoff_s: int) -> Prepared:
        """Return the step and the call that commits it, the finest tier first."""
        for tier, held in self._held.items():
            file = self._files[tier]
            with self._writers.guarded(file.path):
                for level, parts in enumerate(held):
                    for points in merged_in_parts(parts, _AT_ONCE):
                        self._put_level(file, tier, level, points)
                if tier is COARSE:
                    self.gauges.finish(file.connection)
        self._step.merged_before_s = cutoff_s
        self._step.files = [file.path.name for file in self._files.values()]
        self._step.damaged = {f.path.name: f.anew for f in self._files.values() if f.anew}
        return self._step, self._commit

    def _commit(self) -> None:
        for file in self._files.values():
            file.connection.execute("COMMIT")

    def _put(self, file: "_File", tier: Tier, levels: Sequence[Columns]) -> None:
        for level, points in enumerate(levels):
            self._put_level(file, tier, level, points)

    def _put_level(self, file: "_File", tier: Tier, level: int, points: Columns) -> None:
        if not len(points.key) or (tier is SUMMED and not level):
            return
        series = self._writers.series(file.path)
        numbers = file.numbers(series_of(points.key), self._series.dictionary, series)
        points = replace(points, key=(numbers << 32) | times_of(points.key))
        add_points(file.connection, tier, level, file.part, points, series.routes())


@dataclass(slots=True)
class _File:
    """A file within a transaction: the rows that it had before, and the part to write."""

    path: Path
    connection: sqlite3.Connection
    marked: frozenset[int]
    part: int
    #: what it means that it had to be begun again, else empty
    anew: str = ""
    #: number of a series in the unit -> in the file, -1 for none yet
    known: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def numbers(self, series: Array, unit: Dictionary, own: Dictionary) -> Array:
        """Return the numbers that series of the unit have in the file."""
        if len(self.known) < len(unit):
            more = np.full(len(unit) - len(self.known), -1, np.int64)
            self.known = np.concatenate([self.known, more])
        new = np.unique(series[self.known[series] < 0])
        self.known[new] = add_series(self.connection, own, map(unit.key, new.tolist()))
        found: Array = self.known[series]
        return found


def _begun(
    path: Path,
    tier: Tier,
    hour_s: int,
    journal: sqlite3.Connection,
    identity: int,
    connection: sqlite3.Connection,
) -> _File:
    anew = is_anew(journal, path, connection)
    if anew:
        note(connection, anew=1)
    adopt(connection, identity)
    here = marked(connection, identity)
    gone = _gone(journal, here)
    forget(connection, gone)
    (part,) = connection.execute(
        "SELECT coalesce(max(part), 0) + 1 FROM chunk WHERE level IN (0, 1, 2) AND period = ?",
        (tier.period(hour_s),),
    ).fetchone()
    return _File(path, connection, here - {*gone}, part, anew)


def _points(rows: Sequence[_JournalRow], series: Catalogue) -> Columns:
    """Return the points of rows, without those rows that are not valid batches."""
    batches = []
    for row in rows:
        if row.batch is not None:
            try:
                batches.append((row.batch, series.know(row.batch.series).numbers, row.t0))
            except Exception as error:  # noqa: BLE001 - as in _slices
                _left_out(row, error)
    try:
        return columns_of_batches(batches)
    except Exception:  # noqa: BLE001 - one of them is at fault: each on its own
        found = []
        for row in rows:
            try:
                if row.batch is not None:
                    numbers = series.know(row.batch.series).numbers
                    found.append(columns_of_batch(row.batch, numbers, row.t0))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - it costs itself, and not its hour
                _left_out(row, error)
        return merge(found)


def _left_out(row: _JournalRow, error: Exception) -> None:
    # It was readable when it was accepted; the disk has changed it since.
    row.trouble = str(error)
    logger.error("journal row %d cannot be read and is set aside: %s", row.id, error)


def _gone(journal: sqlite3.Connection, numbers: frozenset[int]) -> list[int]:
    """Return those of some rows that are no longer in the journal."""
    return [
        number
        for number in numbers
        if not journal.execute("SELECT 1 FROM journal WHERE id = ?", (number,)).fetchone()
    ]
