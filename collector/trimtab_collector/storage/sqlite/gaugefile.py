"""Gauges in a tier file: names of gauges, and chunks by period and name.

Every file names its own gauges. So names are deleted with the file, and it can be read without any
other file. Chunks are in order of name: the place of a name is the smallest number of its gauges,
which never changes. Sets of chunks (`part`) add up, like those of requests.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.gaugepoints import GaugeKey, GaugePoints, merge, rolled_up
from trimtab_collector.storage.sqlite.gaugechunks import decode_gauges, encode_gauges
from trimtab_collector.storage.sqlite.planes import ChunkError
from trimtab_collector.storage.sqlite.tiers import COARSE, FINE, Tier
from trimtab_core.logs import RateLimited

__all__ = [
    "GAUGE_SCHEMA",
    "GaugeChunkEntry",
    "entries_of",
    "gauges_of",
    "merge_sets",
    "payload_of",
    "put_gauges",
    "sets_due",
]

_log: Final = RateLimited(logging.getLogger("trimtab.compaction"))

GAUGE_SCHEMA: Final = """
CREATE TABLE gauge (id INTEGER PRIMARY KEY, agent TEXT NOT NULL, environment TEXT NOT NULL,
    service TEXT NOT NULL, instance TEXT NOT NULL, name TEXT NOT NULL,
    UNIQUE (name, service, instance, environment, agent));
CREATE TABLE gauge_chunk (id INTEGER PRIMARY KEY, period INTEGER NOT NULL, part INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, points INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX gauge_chunk_place ON gauge_chunk (period, first, last, part, points);
"""
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
    part: int
    first: int
    last: int
    points: int


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
) -> Iterator[tuple[int, int, GaugeKey]]:
    """Yield number, place of the name, and key of gauges; where filters by fields of GaugeKey."""
    conditions = [f"{field} = ?" for field in where]
    for name in [None] if names is None else names:
        named = [*conditions, *(["name = ?"] if name is not None else [])]
        places: dict[str, int] = {}
        for number, *key in connection.execute(
            "SELECT id, agent, environment, service, instance, name FROM gauge"  # noqa: S608
            + (" WHERE " + " AND ".join(named) if named else ""),
            (*where.values(), *([name] if name is not None else [])),
        ):
            gauge = GaugeKey(*key)
            if gauge.name not in places:
                (places[gauge.name],) = connection.execute(
                    "SELECT min(id) FROM gauge WHERE name = ?", (gauge.name,)
                ).fetchone()
            yield number, places[gauge.name], gauge


def entries_of(
    connection: sqlite3.Connection, start_s: int, end_s: int
) -> Iterator[GaugeChunkEntry]:
    """Yield the chunks of periods that start in [start_s, end_s)."""
    for row in connection.execute(
        "SELECT id, part, first, last, points FROM gauge_chunk WHERE period >= ? AND period < ?"
        " ORDER BY period, first, last, id",
        (start_s, end_s),
    ):
        yield GaugeChunkEntry(*row)


def payload_of(connection: sqlite3.Connection, entry: GaugeChunkEntry) -> GaugePoints:
    """Return the points of a chunk; raises ChunkError or sqlite3.Error."""
    (payload,) = connection.execute(
        "SELECT payload FROM gauge_chunk WHERE id = ?", (entry.id,)
    ).fetchone()
    return decode_gauges(payload)


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


def merge_sets(connection: sqlite3.Connection, tier: Tier, period: int) -> None:
    """Replace the chunks of a period by one set, in the open transaction."""
    places = _places(connection)
    found = sorted(entries_of(connection, period, period + 1), key=lambda entry: entry.first)
    if not found:
        return
    part = max(entry.part for entry in found) + 1
    waiting: list[GaugePoints] = []
    for number, entry in enumerate(found):
        try:
            waiting.append(payload_of(connection, entry))
        except ChunkError as error:
            _log.warning("chunk", "chunk %d of gauges is left out: %s", entry.id, error)
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
    connection.executemany(
        "INSERT INTO gauge_chunk (period, part, first, last, points, payload)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        _chunks(points, place, period, part, tier.width_s),
    )


def _chunks(
    points: GaugePoints, place: Array, period: int, part: int, width_s: int
) -> Iterable[tuple[int, int, int, int, int, bytes]]:
    for begin in range(0, len(place), _MOST_POINTS):
        end = min(begin + _MOST_POINTS, len(place))
        payload = encode_gauges(points.taken(np.arange(begin, end)), width_s)
        yield period, part, int(place[begin]), int(place[end - 1]), end - begin, payload


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
            connection.execute("INSERT INTO gauge VALUES (?, ?, ?, ?, ?, ?)", (most, *key))
            ids[place] = most
    return ids


def _places(connection: sqlite3.Connection) -> Array:
    """Return for every number of a gauge the place of its name."""
    rows = connection.execute("SELECT id, min(id) OVER (PARTITION BY name) FROM gauge").fetchall()
    places = np.zeros(max((row[0] for row in rows), default=0) + 1, np.int64)
    for number, place in rows:
        places[number] = place
    return places
