"""Journal to tiers: the batches of past hours merged into columns, at every level.

Works in slices of bounded size. A slice prepares a transaction in each tier's file, with the chunks
and the numbers of the journal rows that are in them, and is published as a whole: those
transactions are committed, then the rows leave the journal. Cut short anywhere, the next run finds
which file has which rows, adds what is missing and lets the rows go. Late batches are a slice of
their hour like any other: points add up.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from trimtab_collector.storage.columns import Columns, columns_of_batch
from trimtab_collector.storage.levels import above, rolled_up
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.series import SeriesTable
from trimtab_collector.storage.tierfile import add_chunks, forget, mark, marked, pieces
from trimtab_collector.storage.tiers import FINE, TIERS, Tier, file_of
from trimtab_collector.storage.writers import Writers
from trimtab_core.batches import SeriesKey, decode
from trimtab_core.errors import BatchError

__all__ = ["Step", "slices"]

logger = logging.getLogger("trimtab.compaction")

_HOUR_S: Final = 3600
#: an open hour is merged only when this many batches are due
_DUE: Final = 256
#: most batches, payload bytes and points of one slice
_SLICE: Final = 1024
_SLICE_BYTES: Final = 4 * 1024 * 1024
_SLICE_POINTS: Final = 60_000


class Step(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What changes in the small file when the commits of a step are done."""

    what: str
    #: rows to take out of the journal and their bytes
    journal: list[int] = []
    size_bytes: int = 0
    #: numbers of batches as (origin, first, last, latest window), kept to know repeats
    seen: list[tuple[int, int, int, int]] = []
    #: nothing before this second is in the journal only
    merged_before_s: int = 0
    #: tier -> from when on it is whole, raised
    floors: dict[str, int] = {}


#: a step and what commits it; the driver calls it, or goes away and nothing has happened
Prepared = tuple[Step, Callable[[], None]]


@dataclass(slots=True)
class _Row:
    id: int
    origin: int
    seq: int
    t0: int
    payload: bytes
    columns: Columns | None = None


def slices(
    journal: sqlite3.Connection,
    writers: Writers,
    series: SeriesTable,
    directory: Path,
    cutoff_s: int,
    floors: Mapping[str, int],
) -> Iterator[Prepared]:
    """Yield a prepared step for each slice of what started before cutoff_s.

    journal is the caller's own connection for reading; floors says from when on each tier is kept.
    Each step must be committed and its rows deleted before the next is asked for. Raises
    sqlite3.Error when a disk does not take it.
    """
    while due := _due(journal, cutoff_s):
        rows = _rows(journal, series, due, min(due + _HOUR_S, cutoff_s))
        if not rows:
            break
        commit = _prepare(journal, writers, series, directory, due, rows, floors)
        yield (
            Step(
                what="merge",
                journal=[row.id for row in rows],
                size_bytes=sum(len(row.payload) for row in rows),
                seen=_seen(rows),
                merged_before_s=cutoff_s,
            ),
            commit,
        )


def _due(journal: sqlite3.Connection, cutoff_s: int) -> int:
    """Return the hour to merge next, 0 for none."""
    for hour_s, batches in journal.execute(
        f"SELECT t0 - t0 % {_HOUR_S} AS hour, count(*) FROM journal WHERE t0 < ?"  # noqa: S608
        " GROUP BY hour ORDER BY hour",
        (cutoff_s,),
    ):
        if hour_s + _HOUR_S <= cutoff_s or batches >= _DUE:
            return int(hour_s)
    return 0


def _rows(journal: sqlite3.Connection, series: SeriesTable, start_s: int, end_s: int) -> list[_Row]:
    """Return the next rows of an hour, decoded; those that cannot be read have no columns."""
    known = journal.execute("SELECT * FROM series WHERE id >= ? ORDER BY id", (series.rows(),))
    series.load((row[0], SeriesKey(*row[1:])) for row in known)
    rows: list[_Row] = []
    size = points = 0
    cursor = journal.execute(
        "SELECT id, origin, seq, t0, payload FROM journal WHERE t0 >= ? AND t0 < ?"
        " ORDER BY t0, id LIMIT ?",
        (start_s, end_s, _SLICE),
    )
    for found in cursor:
        row = _Row(*found)
        # A minute is not torn apart when it can be helped: its points would be stored twice.
        full = size >= _SLICE_BYTES or points >= _SLICE_POINTS
        if rows and full and (row.t0 // 60 != rows[-1].t0 // 60 or points >= 2 * _SLICE_POINTS):
            break
        try:
            batch = decode(row.payload)
            row.columns = columns_of_batch(batch, series.know(batch.series).ids, row.t0)
            points += len(row.columns.key)
        except BatchError as error:
            # It was readable when it was taken; the disk has changed it since.
            logger.warning("journal row %d cannot be read and is left out: %s", row.id, error)
        size += len(row.payload)
        rows.append(row)
    cursor.close()
    return rows


def _prepare(
    journal: sqlite3.Connection,
    writers: Writers,
    series: SeriesTable,
    directory: Path,
    hour_s: int,
    rows: Sequence[_Row],
    floors: Mapping[str, int],
) -> Callable[[], None]:
    """Prepare the transactions of a slice and return what commits them, finest tier first."""
    merged: dict[tuple[int, ...], Columns] = {}
    prepared: list[sqlite3.Connection] = []
    for tier in TIERS:
        if hour_s < floors[tier.name]:
            continue

        def work(connection: sqlite3.Connection, tier: Tier = tier) -> None:
            here = marked(connection)
            new = [row for row in rows if row.id not in here]
            numbers = tuple(row.id for row in new)
            if numbers not in merged:
                merged[numbers] = merge([row.columns for row in new if row.columns is not None])
            _put(connection, tier, hour_s, merged[numbers], series)
            forget(connection, _gone(journal, here))
            mark(connection, numbers)

        prepared.append(writers.fill(file_of(directory, tier, hour_s), work))

    def commit() -> None:
        for connection in prepared:
            connection.execute("COMMIT")

    return commit


def _put(
    connection: sqlite3.Connection, tier: Tier, hour_s: int, columns: Columns, series: SeriesTable
) -> None:
    """Insert merged points of an hour at every level, as a part of their own."""
    if not len(columns.key):
        return
    parents, routes = series.parents(), series.routes()
    period = tier.period(hour_s)
    (part,) = connection.execute(
        "SELECT coalesce(max(part), 0) + 1 FROM chunk WHERE level = 0 AND period = ?", (period,)
    ).fetchone()
    if tier is not FINE:
        columns = rolled_up(columns, parents[0], tier.width_s)
    for level, points in enumerate(above(columns, parents)):
        chunks = pieces(points, routes, level)
        add_chunks(connection, level, period, part, tier.width_s, chunks)


def _gone(journal: sqlite3.Connection, numbers: frozenset[int]) -> list[int]:
    """Return those of some rows that are in the journal no more."""
    return [
        number
        for number in numbers
        if not journal.execute("SELECT 1 FROM journal WHERE id = ?", (number,)).fetchone()
    ]


def _seen(rows: Sequence[_Row]) -> list[tuple[int, int, int, int]]:
    """Return the numbers of batches as (origin, first, last, latest window)."""
    ordered = sorted((row.origin, row.seq, row.t0) for row in rows)
    seen: list[tuple[int, int, int, int]] = []
    begin = 0
    # A closing entry that continues nothing.
    for place, (one, other) in enumerate(pairwise([*ordered, (-1, -1, 0)])):
        if other[:2] != (one[0], one[1] + 1):
            latest = max(t0 for _, _, t0 in ordered[begin : place + 1])
            seen.append((one[0], ordered[begin][1], one[1], latest))
            begin = place + 1
    return seen
