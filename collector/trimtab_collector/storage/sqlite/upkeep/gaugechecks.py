"""Checks the gauges of a tier file, and sums them up by hour."""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.gaugepoints import GaugePoints, merge, rolled_up
from trimtab_collector.storage.sqlite.gaugefile import (
    GaugeChunkEntry,
    entries_of,
    gauges_of,
    payload_of,
)
from trimtab_collector.storage.sqlite.planes import ChunkError
from trimtab_collector.storage.sqlite.tiers import Tier
from trimtab_collector.storage.sqlite.upkeep.findings import CheckReport, Finding, Wrong
from trimtab_collector.storage.sqlite.upkeep.sums import HOUR_S, instant

__all__ = ["gauge_sums_of"]

_GATHER = 64
_ODD = np.uint64(0x9E3779B97F4A7C15)


def gauge_sums_of(
    connection: sqlite3.Connection, name: str, tier: Tier, report: CheckReport
) -> Mapping[int, tuple[int, int]]:
    """Check the gauges of a file; returns for each hour a digest that equal gauges share.

    That is a hash of the gauges with their counts, smallest, largest and last values, and the
    number of values. Sums of floats depend on their order and are left out. Raises sqlite3.Error.
    """
    gauges = _Gauges(connection)
    if lost := gauges_of(connection, None, {}).wrong:
        report.add(Finding(name, lost))
    span = connection.execute("SELECT DISTINCT period FROM gauge_chunk ORDER BY period").fetchall()
    hours: dict[int, tuple[int, int]] = {}
    for (period,) in span:
        parts: list[GaugePoints] = []
        found, damaged = entries_of(connection, period, period + 1)
        if damaged:
            report.add(Finding(name, f"gauges: {damaged}"))
        for entry in found:
            report.chunks += 1
            try:
                points = payload_of(connection, entry)
            except ChunkError as error:
                what = f"gauges cannot be read: {error}"
                report.add(Finding(name, what, chunk=entry.id))
                continue
            report.points += len(points.key)
            wrong = list(_wrong(entry, points, period, tier, gauges))
            for what, expected, got in wrong:
                report.add(Finding(name, what, expected, got, entry.id))
            if not wrong:
                parts.append(rolled_up(points, HOUR_S))
            if len(parts) >= _GATHER:
                parts = [merge(parts)]
        hours |= _hours(merge(parts), gauges)
    return hours


class _Gauges:
    """The gauges of a file, by number: a hash of the texts of each, and the place of its name."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT id, agent, environment, service, instance, name,"
            " min(id) OVER (PARTITION BY name) FROM gauge"
        ).fetchall()
        size = max((row[0] for row in rows), default=0) + 1
        self.hashes: Array = np.zeros(size, np.uint64)
        #: -1 where there is no gauge
        self.places: Array = np.full(size, -1, np.int64)
        for number, *texts, place in rows:
            digest = hashlib.blake2b(repr(texts).encode(), digest_size=8).digest()
            self.hashes[number] = int.from_bytes(digest, "little")
            self.places[number] = place


def _wrong(
    entry: GaugeChunkEntry, points: GaugePoints, period: int, tier: Tier, gauges: _Gauges
) -> Iterator[Wrong]:
    if entry.points != len(points.key):
        what = "its row tells another number of gauges than it has"
        yield what, str(entry.points), str(len(points.key))
    gauge, t = points.key >> 32, points.key & 0xFFFFFFFF
    if int(gauge.min()) < 0 or int(gauge.max()) >= len(gauges.places):
        yield "a gauge is not in the file", f"below {len(gauges.places)}", str(int(gauge.max()))
        return
    places = gauges.places[gauge]
    if int(places.min()) < 0:
        yield "a gauge is not in the file", "a row of it", str(int(gauge[places < 0][0]))
        return
    if (int(places.min()), int(places.max())) != (entry.first, entry.last):
        got = f"{places.min()} to {places.max()}"
        yield "its row tells other names than it has", f"{entry.first} to {entry.last}", got
    order = np.lexsort((points.key, places))
    if (order != np.arange(len(order))).any() or (np.diff(np.sort(points.key)) == 0).any():
        yield "gauges are not in order", "each once, by name, gauge and window", "another order"
    outside = (t < period) | (t >= period + tier.period_s) | (t % tier.width_s != 0)
    if period % tier.period_s or outside.any():
        whole = f"windows of {tier.name} in the period {instant(period)}"
        yield "a window is not of its period", whole, instant(int(t[outside][:1].sum()))
    if not ((points.low <= points.last) & (points.last <= points.high)).all():
        yield "a last value is not between smallest and largest", "in between", "outside"


def _hours(points: GaugePoints, gauges: _Gauges) -> Mapping[int, tuple[int, int]]:
    if not len(points.key):
        return {}
    hashed = gauges.hashes[points.key >> 32]
    for column in (points.count, points.low, points.high, points.last, points.at):
        hashed = (hashed ^ (hashed >> np.uint64(29))) * _ODD + np.ascontiguousarray(column).view(
            np.uint64
        )
    hashed = (hashed ^ (hashed >> np.uint64(32))) * _ODD
    t = points.key & 0xFFFFFFFF
    found = {}
    for hour_s in np.unique(t).tolist():
        within = t == hour_s
        found[hour_s] = (
            int(hashed[within].sum(dtype=np.uint64)),
            int(points.count[within].sum()),
        )
    return found
