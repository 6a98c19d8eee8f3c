"""Gauges in a tier file: names of gauges, and chunks by period and name.

Every file names its own gauges. So names are deleted with the file, and it can be read without any
other file. Chunks are in order of name: the place of a name is the smallest number of its gauges,
which never changes. Sets of chunks (`part`) add up, like those of requests.
"""

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.gaugepoints import GaugeKey, GaugePoints, merge, rolled_up
from trimtab_collector.storage.sqlite.chunkindex import (
    GAUGE_NAMES,
    GAUGES,
    counted,
    differs,
    differs_by_name,
)
from trimtab_collector.storage.sqlite.gaugechunks import decode_gauges, encode_gauges
from trimtab_collector.storage.sqlite.planes import ChunkError, sealed, verify_place
from trimtab_collector.storage.sqlite.tiernames import is_sound, name_checksum, seal_names
from trimtab_collector.storage.sqlite.tiers import COARSE, FINE, Tier
from trimtab_collector.storage.sqlite.tierschema import VERSION, rows_of, version_of
from trimtab_core.logs import RateLimited

__all__ = [
    "GaugeChunkEntry",
    "NamedGauges",
    "entries_of",
    "gauges_of",
    "merge_sets",
    "payload_of",
    "put_gauges",
    "seal_gauges",
    "sets_due",
]

_log: Final = RateLimited(logging.getLogger("trimtab.compaction"))

#: columns of a gauge without a checksum
_OF_VERSION_3: Final = 6
#: most gauges in a file; further ones are left out
_MOST_GAUGES: Final = 1_000_000
_MOST_POINTS: Final = 4_000
#: as in consolidation: sets of an open period, and points per set below which merging is worth it
_MANY: Final = 16
_SMALL: Final = 20_000
#: merge what is complete when this many points wait
_HELD: Final = 100_000


class GaugeChunkEntry(NamedTuple):
    """A chunk without its payload; first and last are places of names."""

    id: int
    period: int
    part: int
    first: int
    last: int
    points: int


class NamedGauges(NamedTuple):
    """Gauges of a file: number, place of the name, and key; and what is damaged among names."""

    gauges: list[tuple[int, int, GaugeKey]]
    wrong: str


def put_gauges(
    connection: sqlite3.Connection,
    tier: Tier,
    t: int,
    points: GaugePoints,
    keys: Sequence[GaugeKey],
) -> None:
    """Insert merged points of the period of t as a set of chunks, in the open transaction.

    The gauge number of a point is a place in keys.
    """
    if not len(points.key):
        return
    used, place = np.unique(points.key >> 32, return_inverse=True)
    ids = _ids(connection, [keys[number] for number in used.tolist()])
    gauge = ids[place.reshape(-1)]
    if (ids < 0).any():
        _log.warning(
            "gauges", "over %d gauges in one file: gauges of new ones are left out", _MOST_GAUGES
        )
    points = points.under((gauge << 32) | (points.key & 0xFFFFFFFF), gauge >= 0)
    points = merge([points]) if tier is FINE else rolled_up(points, tier.width_s)
    period = tier.period(t)
    (part,) = connection.execute(
        "SELECT coalesce(max(part), 0) + 1 FROM gauge_chunk WHERE period = ?", (period,)
    ).fetchone()
    _insert(connection, tier, period, part, points, _places(connection))


def gauges_of(
    connection: sqlite3.Connection, names: Sequence[str] | None, where: Mapping[str, str]
) -> NamedGauges:
    """Return the gauges of some names, of all for None; where filters by fields of GaugeKey.

    Gauges whose texts are not as they were written are left out. Then the place of a name may be
    any.
    """
    found: list[tuple[int, int, GaugeKey]] = []
    wrong = ""
    for name in [None] if names is None else names:
        rows, why = _rows_of(connection, name)
        wrong = wrong or why
        places: dict[str, int] = {}
        for number, *key in rows:
            gauge = GaugeKey(*key)
            place = places.setdefault(gauge.name, number)
            if not where or all(getattr(gauge, field) == text for field, text in where.items()):
                found.append((number, place, gauge))
    return NamedGauges(found, wrong)


def _rows_of(connection: sqlite3.Connection, name: str | None) -> tuple[list[Any], str]:
    """Return number and texts of the gauges of a name, in order, and what is wrong with them."""
    if name is not None:
        query = "SELECT * FROM gauge WHERE name = ? ORDER BY id"
        rows = rows_of(connection, query, (name,))
        if (not rows or len(rows[0]) == _OF_VERSION_3) and version_of(connection) < VERSION:
            return connection.execute(query, (name,)).fetchall(), ""
        if all(map(is_sound, rows)) and not differs_by_name(
            connection, _number_of(name), [row[0] for row in rows]
        ):
            return [row[:-1] for row in rows], ""
    query = "SELECT * FROM gauge NOT INDEXED ORDER BY id"
    if version_of(connection) < VERSION:
        return connection.execute(query).fetchall(), ""
    every = rows_of(connection, query)
    sound = [row[:-1] for row in every if is_sound(row)]
    (told,) = connection.execute(
        "SELECT coalesce(sum(chunks), 0) FROM block WHERE level = ?", (GAUGE_NAMES,)
    ).fetchone()
    chosen = [row for row in sound if name in (None, row[-1])]
    if name is None and len(sound) == len(every) == told:
        return chosen, ""
    return chosen, "names of gauges, or the index of them, are not as they were written"


def seal_gauges(connection: sqlite3.Connection) -> None:
    """Give checksums to the gauges that a file of version 3 has, and count them."""
    seal_names(connection, "gauge")
    for number, name in connection.execute("SELECT id, CAST(name AS BLOB) FROM gauge").fetchall():
        _count(connection, number, name.decode("utf-8", "replace"))


def _count(connection: sqlite3.Connection, number: int, name: str) -> None:
    counted(connection, GAUGE_NAMES, _number_of(name), [(number, 0, 0, 0, 0, 0, 0, 0, 0)])


def _number_of(name: str) -> int:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2


def entries_of(
    connection: sqlite3.Connection, start_s: int, end_s: int
) -> tuple[list[GaugeChunkEntry], str]:
    """Return the chunks of periods that start in [start_s, end_s), and what is wrong with them.

    If their index is damaged, they are those of the rows themselves.
    """
    wrong = differs(connection, GAUGES, start_s, end_s)
    rows = connection.execute(
        "SELECT id, period, part, first, last, points FROM gauge_chunk"  # noqa: S608
        f" {'NOT INDEXED' if wrong else ''} WHERE period >= ? AND period < ?"
        " ORDER BY period, first, last, id",
        (start_s, end_s),
    )
    return [GaugeChunkEntry(*row) for row in rows], wrong


def payload_of(connection: sqlite3.Connection, entry: GaugeChunkEntry) -> GaugePoints:
    """Return the points of a chunk; raises ChunkError or sqlite3.Error."""
    query = "SELECT CAST(payload AS BLOB) FROM gauge_chunk WHERE id = ?"
    row = connection.execute(query, (entry.id,)).fetchone()
    if row is None or row[0] is None:
        raise ChunkError(f"expected chunk {entry.id} of gauges where the index has one, got none")
    payload = bytes(row[0])
    verify_place(payload, _place(entry))
    return decode_gauges(payload)


def _place(entry: GaugeChunkEntry) -> tuple[int, ...]:
    """Return where a chunk is, in the columns of chunks of points."""
    number, period, part, first, last, points = (
        value if isinstance(value, int) else -1 for value in entry
    )
    return number, GAUGES, period, 0, part, first, last, points, 0


def sets_due(
    connection: sqlite3.Connection, tier: Tier, is_over: Callable[[int], bool]
) -> list[int]:
    """Return the periods with too many sets; is_over tells whether a period is over."""
    return [
        period
        for period, parts, points in connection.execute(
            "SELECT period, count(DISTINCT part), sum(points) FROM gauge_chunk GROUP BY period"
        )
        if parts > 1
        and (tier is COARSE or points < parts * _SMALL)
        and (is_over(period) or parts >= _MANY)
    ]


def merge_sets(connection: sqlite3.Connection, tier: Tier, period: int) -> str:
    """Replace the chunks of a period by one set, in the open transaction.

    Returns what was damaged, empty for nothing.
    """
    places = _places(connection)
    entries, wrong = entries_of(connection, period, period + 1)
    found = sorted(entries, key=lambda entry: entry.first)
    if not found:
        return ""
    part = max(entry.part for entry in found) + 1
    counted(connection, GAUGES, period, [_place(entry) for entry in found], gone=True)
    waiting: list[GaugePoints] = []
    for number, entry in enumerate(found):
        try:
            waiting.append(payload_of(connection, entry))
        except ChunkError as error:
            _log.warning("chunk", "chunk %d of gauges is left out: %s", entry.id, error)
            wrong = wrong or f"chunks of gauges could not be read and are left out: {error!s:.100}"
        last = number + 1 == len(found)
        if not last and sum(len(points.key) for points in waiting) < _HELD:
            continue
        # Names before the first one of the next chunk are complete.
        border = np.iinfo(np.int64).max if last else found[number + 1].first
        complete = [places[points.key >> 32] < border for points in waiting]
        ready = [points.taken(mask) for points, mask in zip(waiting, complete, strict=True)]
        waiting = [points.taken(~mask) for points, mask in zip(waiting, complete, strict=True)]
        _insert(connection, tier, period, part, merge(ready), places)
    connection.executemany("DELETE FROM gauge_chunk WHERE id = ?", [(entry.id,) for entry in found])
    return wrong


def _insert(
    connection: sqlite3.Connection,
    tier: Tier,
    period: int,
    part: int,
    points: GaugePoints,
    places: Array,
) -> None:
    place = places[points.key >> 32]
    order = np.lexsort((points.key, place))
    points, place = points.taken(order), place[order]
    (number,) = connection.execute("SELECT coalesce(max(id), 0) FROM gauge_chunk").fetchone()
    added: list[tuple[int, ...]] = []
    for begin in range(0, len(place), _MOST_POINTS):
        end = min(begin + _MOST_POINTS, len(place))
        number += 1
        entry = GaugeChunkEntry(
            number, period, part, int(place[begin]), int(place[end - 1]), end - begin
        )
        payload = encode_gauges(points.taken(np.arange(begin, end)), tier.width_s)
        added.append(_place(entry))
        connection.execute(
            "INSERT INTO gauge_chunk (id, period, part, first, last, points, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*entry, sealed(payload, added[-1])),
        )
    counted(connection, GAUGES, period, added)


def _ids(connection: sqlite3.Connection, keys: Sequence[GaugeKey]) -> Array:
    """Return the numbers of gauges, adding new gauges; -1 beyond the limit."""
    find = (
        "SELECT id FROM gauge WHERE name = ? AND service = ? AND instance = ? AND environment = ?"
        " AND agent = ?"
    )
    ids = np.full(len(keys), -1, np.int64)
    (most,) = connection.execute("SELECT coalesce(max(id), 0) FROM gauge").fetchone()
    for place, key in enumerate(keys):
        found = connection.execute(
            find, (key.name, key.service, key.instance, key.environment, key.agent)
        ).fetchone()
        if found is not None:
            ids[place] = found[0]
        elif most < _MOST_GAUGES:
            most += 1
            row = (most, *key, name_checksum(most, *key))
            connection.execute("INSERT INTO gauge VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            _count(connection, most, key.name)
            ids[place] = most
    return ids


def _places(connection: sqlite3.Connection) -> Array:
    """Return for every number of a gauge the place of its name."""
    rows = connection.execute("SELECT id, min(id) OVER (PARTITION BY name) FROM gauge").fetchall()
    places = np.zeros(max((row[0] for row in rows), default=0) + 1, np.int64)
    for number, place in rows:
        places[number] = place
    return places
