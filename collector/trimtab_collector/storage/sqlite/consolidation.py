"""Merges the sets of chunks of a period, and deletes files that are too old.

Each slice adds a set of chunks to its period, and reading one route goes through the chunks of
every set. So sets are merged when their period is over or when there are many. Chunks are in order
of route: the sets are read side by side, and complete routes are written as they come, so that
memory holds a few chunks per set and never a period.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import Array, Columns, rekey, series_of
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.sqlite.chunkindex import ChunkEntry, counted, listed, payload_of
from trimtab_collector.storage.sqlite.chunks import ChunkError, decode_chunk
from trimtab_collector.storage.sqlite.compaction import Prepared, Step
from trimtab_collector.storage.sqlite.gaugefile import merge_sets, sets_due
from trimtab_collector.storage.sqlite.indexes import make_anew_within
from trimtab_collector.storage.sqlite.tierfile import add_points
from trimtab_collector.storage.sqlite.tiers import COARSE, Tier, files_of
from trimtab_collector.storage.sqlite.tierschema import UNREADABLE, open_reader
from trimtab_collector.storage.sqlite.writers import Writers
from trimtab_core.logs import RateLimited

__all__ = ["chunks_aside", "consolidations", "drops"]

#: sets of an open period, and points per set of single series, below which merging is worth it
_MANY: Final = 16
_SMALL: Final = 20_000
#: a period is over when this much time has passed and nothing of it is due
_GRACE_S: Final = 600
#: merge what is complete when this many points or buckets wait
_HELD: Final = (20_000, 300_000)


def consolidations(
    writers: Writers,
    path: Path,
    tier: Tier,
    cutoff_s: int,
    log: RateLimited,
) -> Iterator[Prepared]:
    """Yield a prepared step for every period of a file with too many sets of chunks."""
    due: list[tuple[int, int]] = []
    gauges: list[int] = []

    def look(connection: sqlite3.Connection) -> None:
        due.clear()
        gauges[:] = sets_due(
            connection, tier, lambda period: period + tier.period_s + _GRACE_S <= cutoff_s
        )
        for level, period, parts, points in connection.execute(
            "SELECT level, period, count(DISTINCT part), sum(points) FROM chunk"
            " WHERE level >= 0 GROUP BY level, period"
        ):
            over = period + tier.period_s + _GRACE_S <= cutoff_s
            # Large sets of single series are rarely read, and merging them costs a full write.
            worth = tier is COARSE or level > 0 or points < parts * _SMALL
            if parts > 1 and worth and (over or parts >= _MANY):
                due.append((level, period))

    writers.fill(path, look)
    if due or gauges:
        connection, anew = writers.fill(path, _index_mended)
        if anew:
            why = "its index of chunks differed from them and was made anew"
            step = Step(what="consolidate", damaged={path.name: why})
            yield step, partial(_commit, connection)
            writers.fill(path, look)
    for level, period in due:

        def work(
            connection: sqlite3.Connection, level: int = level, period: int = period
        ) -> tuple[sqlite3.Connection, bool]:
            series = writers.series(path)
            whole = _rewrite(connection, series.routes(), tier, level, period, log)
            return connection, whole and not series.lost

        connection, whole = writers.fill(path, work)
        why = "names, or chunks, cannot be read: what they stood for is left out"
        step = Step(what="consolidate", damaged={} if whole else {path.name: why})
        yield step, partial(_commit, connection)
    for period in gauges:

        def merged(
            connection: sqlite3.Connection, period: int = period
        ) -> tuple[sqlite3.Connection, str]:
            return connection, merge_sets(connection, tier, period)

        connection, why = writers.fill(path, merged)
        step = Step(what="consolidate", damaged={path.name: why} if why else {})
        yield step, partial(_commit, connection)


def _index_mended(connection: sqlite3.Connection) -> tuple[sqlite3.Connection, bool]:
    """Make indexes anew that differ: nothing can be deleted by one that does."""
    indexes = (("chunk", "chunk_place"), ("gauge_chunk", "gauge_chunk_place"))
    anew = [make_anew_within(connection, *each) for each in indexes]
    return connection, any(anew)


def _rewrite(
    connection: sqlite3.Connection,
    routes: Array,
    tier: Tier,
    level: int,
    period: int,
    log: RateLimited,
) -> bool:
    """Replace the chunks of a level and period by one set, in the open transaction.

    Returns whether all could be read. One that cannot stays as evidence, at a level below zero,
    where nothing is read.
    """
    found, wrong = listed(connection, level, period, period + 1)
    if not found:  # the file was found broken meanwhile, and a new one is in its place
        return True
    unread: list[int] = []
    part = max(entry.part for entry in found) + 1
    counted(connection, level, period, found, gone=True)
    for _, chunks in groupby(found, key=lambda entry: entry.begin):
        for merged in _merged(connection, list(chunks), routes, log, unread):
            add_points(connection, tier, level, part, merged, routes)
    connection.executemany(
        "UPDATE chunk SET level = -1 - level WHERE id = ?", [(number,) for number in unread]
    )
    gone = [(entry.id,) for entry in found if entry.id not in unread]
    connection.executemany("DELETE FROM chunk WHERE id = ?", gone)
    return not unread and not wrong


def chunks_aside(files: Iterable[tuple[Tier, int, Path]]) -> dict[str, str]:
    """Return the files in which chunks were set aside because they could not be read."""
    found = {}
    for _, _, path in files:
        with suppress(*UNREADABLE), closing(open_reader(path)) as connection:
            query = "SELECT count(*) FROM chunk WHERE level < 0"
            (count,) = connection.execute(query).fetchone()
            if count:
                found[path.name] = f"{count} chunks cannot be read and are set aside"
    return found


def _merged(
    connection: sqlite3.Connection,
    found: Sequence[ChunkEntry],
    routes: Array,
    log: RateLimited,
    unread: list[int],
) -> Iterator[Columns]:
    """Yield merged points of chunks in order of route; found has the chunks in that order.

    The ids of those that cannot be read are added to unread.
    """
    waiting: list[Columns] = []
    for place, entry in enumerate(found):
        columns = _columns_of(connection, entry, len(routes), log)
        if columns is None:
            unread.append(entry.id)
        else:
            waiting.append(columns)
        points = sum(len(columns.key) for columns in waiting)
        buckets = sum(len(columns.indexes) for columns in waiting)
        if place + 1 < len(found) and points < _HELD[0] and buckets < _HELD[1]:
            continue
        # Routes before the first one of the next chunk are complete.
        border = found[place + 1].first if place + 1 < len(found) else np.iinfo(np.int64).max
        ready: list[Columns] = []
        rest: list[Columns] = []
        for columns in waiting:
            complete = routes[series_of(columns.key)] < border
            if complete.any():
                ready.append(rekey(columns, columns.key[complete], complete))
            if not complete.all():
                rest.append(rekey(columns, columns.key[~complete], ~complete))
        waiting = rest
        merged = merge(ready)
        if len(merged.key):
            yield merged


def _columns_of(
    connection: sqlite3.Connection, entry: ChunkEntry, known: int, log: RateLimited
) -> Columns | None:
    try:
        columns = decode_chunk(payload_of(connection, entry))
        series = series_of(columns.key)
        if len(series) and series.max() >= known:
            raise ChunkError(f"it names series {series.max()}, its file has {known}")
    except ChunkError as error:
        log.warning("chunk", "chunk %d is set aside: %s", entry.id, error)
        return None
    return columns


def drops(
    directory: Path,
    writers: Writers,
    floors: Mapping[str, int],
    now_s: float,
    max_bytes: int,
    log: RateLimited,
) -> Iterator[Prepared]:
    """Yield a prepared step for every file that is too old, or beyond max_bytes (0: no limit).

    Beyond the limit the oldest file of the finest tier goes first; a file that is being written
    stays. Files that were put aside as broken are kept as evidence.
    """
    here = list(files_of(directory))
    for tier, start_s, path in here:
        if tier.span(start_s)[1] <= floors[tier.name]:
            # Noted, so that with a longer retention later the deleted time does not count as kept.
            step = Step(what="drop", floors={tier.name: tier.span(start_s)[1]})
            yield step, partial(_unlink, writers, path)
    if not max_bytes:
        return
    kept = [row for row in here if row[2].exists()]
    total = sum(entry.stat().st_size for entry in directory.glob("*.db*"))
    for tier, start_s, path in kept:
        if total <= max_bytes:
            return
        end_s = tier.span(start_s)[1]
        if end_s > now_s - 2 * tier.period_s:
            continue
        total -= path.stat().st_size
        log.warning("max-bytes", "over storage.max_bytes=%d: %s is dropped", max_bytes, path.name)
        step = Step(what="drop", floors={tier.name: end_s})
        yield step, partial(_unlink, writers, path)
    if total > max_bytes:
        log.warning(
            "max-bytes",
            "%d bytes, over storage.max_bytes=%d: nothing is left to drop",
            total,
            max_bytes,
        )


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


def _unlink(writers: Writers, path: Path) -> None:
    writers.forget(path)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
