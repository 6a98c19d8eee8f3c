"""Journal to blocks: the batches of past hours merged into columns, and old hours dropped.

Works in slices of bounded size, each with one transaction that puts the block in, takes its
batches out of the journal and remembers their numbers in `seen`: cut short anywhere, a slice has
happened or has not. A small block of the same hour is merged along, so late data re-opens it;
since points add up, an hour may have several blocks.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from trimtab_collector.storage.accounts import Ledger
from trimtab_collector.storage.blocks import BlockError, decode_block, encode_block
from trimtab_collector.storage.columns import Columns, columns_of_batch
from trimtab_collector.storage.committer import Committer
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.series import SeriesTable
from trimtab_core.batches import decode
from trimtab_core.errors import BatchError

__all__ = ["Slice", "compact"]

logger = logging.getLogger("trimtab.compaction")

_HOUR_S: Final = 3600
#: an open hour is merged only when this many batches are due
_DUE: Final = 256
#: most batches and payload bytes of one slice
_SLICE: Final = 512
_SLICE_BYTES: Final = 4 * 1024 * 1024
#: a block below this is merged again with what comes later
_SMALL_BYTES: Final = 2 * 1024 * 1024
#: numbers of merged batches are kept longer than any window is taken (7 days)
_SEEN_S: Final = 8 * 24 * 3600


class Slice(NamedTuple):
    """What one slice took out of the journal."""

    batches: int
    size_bytes: int


@dataclass(slots=True)
class _Row:
    id: int
    origin: int
    seq: int
    t0: int
    payload: bytes


def compact(
    reader: sqlite3.Connection,
    committer: Committer,
    series: SeriesTable,
    ledger: Ledger,
    cutoff_s: int,
    drop_before_s: int,
) -> Iterator[Slice]:
    """Merge what started before cutoff_s, one slice a step, then drop hours before drop_before_s.

    reader is the caller's own connection. Raises sqlite3.Error when the disk does not take it.
    """
    while due := _due(reader, cutoff_s):
        rows = _rows(reader, due, min(due + _HOUR_S, cutoff_s))
        if not rows:
            break
        _merge(reader, committer, series, due, rows, cutoff_s)
        yield Slice(len(rows), sum(len(row.payload) for row in rows))

    def drop(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM block WHERE t0 < ?", (drop_before_s - _HOUR_S,))
        connection.execute("DELETE FROM seen WHERE t < ?", (cutoff_s - _SEEN_S,))
        ledger.retire(connection)

    committer.run(drop)


def _due(reader: sqlite3.Connection, cutoff_s: int) -> int:
    """Return the hour to merge next, 0 for none."""
    for hour_s, batches in reader.execute(
        f"SELECT t0 - t0 % {_HOUR_S} AS hour, count(*) FROM journal WHERE t0 < ?"  # noqa: S608
        " GROUP BY hour ORDER BY hour",
        (cutoff_s,),
    ):
        if hour_s + _HOUR_S <= cutoff_s or batches >= _DUE:
            return int(hour_s)
    return 0


def _rows(reader: sqlite3.Connection, start_s: int, end_s: int) -> list[_Row]:
    rows: list[_Row] = []
    size = 0
    cursor = reader.execute(
        "SELECT id, origin, seq, t0, payload FROM journal WHERE t0 >= ? AND t0 < ?"
        " ORDER BY t0, id LIMIT ?",
        (start_s, end_s, _SLICE),
    )
    for row in cursor:
        rows.append(_Row(*row))
        size += len(rows[-1].payload)
        if size >= _SLICE_BYTES:
            break
    cursor.close()
    return rows


def _merge(
    reader: sqlite3.Connection,
    committer: Committer,
    series: SeriesTable,
    hour_s: int,
    rows: Sequence[_Row],
    cutoff_s: int,
) -> None:
    parts: list[Columns] = []
    gauges: list[bytes] = []
    readings: list[tuple[int, str, str, str, str, str, float]] = []
    for row in rows:
        try:
            batch = decode(row.payload)
            parts.append(columns_of_batch(batch, series.know(batch.series).ids, row.t0))
        except BatchError as error:
            # It was readable when it was taken; the disk has changed it since.
            logger.warning("journal row %d cannot be read and is left out: %s", row.id, error)
            continue
        readings += [(row.t0, batch.agent, *gauge) for gauge in batch.gauges]
    replaced = 0
    found = reader.execute(
        "SELECT id, payload FROM block WHERE t0 = ? AND length(payload) < ? ORDER BY id LIMIT 1",
        (hour_s, _SMALL_BYTES),
    ).fetchone()
    if found is not None:
        try:
            columns, gauges = decode_block(found[1])
        except BlockError as error:
            logger.warning("block %d cannot be read and stays apart: %s", found[0], error)
        else:
            parts.append(columns)
            replaced = found[0]
    if readings:
        gauges.append(msgspec.msgpack.encode(readings))
    merged = merge(parts)
    payload = encode_block(merged, gauges)

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM block WHERE id = ?", (replaced,))
        connection.execute(
            "INSERT INTO block (t0, points, payload) VALUES (?, ?, ?)",
            (hour_s, len(merged.key), payload),
        )
        connection.executemany("DELETE FROM journal WHERE id = ?", [(row.id,) for row in rows])
        connection.executemany(
            "INSERT OR REPLACE INTO seen (origin, first, last, t) VALUES (?, ?, ?, ?)", _seen(rows)
        )
        connection.execute(
            "INSERT INTO fact VALUES ('merged_before_s', ?1)"
            " ON CONFLICT DO UPDATE SET value = max(value, ?1)",
            (cutoff_s,),
        )

    committer.run(write)


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
