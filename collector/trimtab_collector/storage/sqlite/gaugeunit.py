"""The gauges of a unit of compaction on their way into the tiers."""

import sqlite3
from collections.abc import Sequence

from trimtab_collector.storage.gaugepoints import (
    GaugeKey,
    GaugePoints,
    Taken,
    chosen,
    merge,
    rolled_up,
    take,
)
from trimtab_collector.storage.sqlite.gaugefile import put_gauges
from trimtab_collector.storage.sqlite.tiers import COARSE, MEDIUM, Tier
from trimtab_core.batches import Batch

__all__ = ["GaugeUnit"]


class GaugeUnit:
    """Gauges of one hour, written in the caller's transactions."""

    def __init__(self, hour_s: int) -> None:
        self._hour_s = hour_s
        self._numbers: dict[tuple[str, ...], int] = {}
        #: gauges of windows of an hour: written once, after the last slice
        self._coarse: list[GaugePoints] = []
        self._known: tuple[tuple[int, ...], GaugePoints] = ((), chosen([]))

    def take(self, batch: Batch, t: int) -> Taken | None:
        """Return the gauges of a batch of the window t, None if it has none."""
        return take(batch, t, self._numbers) if batch.gauges else None

    def put(
        self,
        connection: sqlite3.Connection,
        tier: Tier,
        rows: tuple[int, ...],
        taken: Sequence[Taken | None],
    ) -> None:
        """Write the gauges of a slice to a file; rows are the ids of its journal rows.

        Call it for the finest tier first.
        """
        known, points = self._known
        if known != rows:
            points = merge([chosen([each for each in taken if each is not None])])
        if tier is MEDIUM:
            points = rolled_up(points, tier.width_s)
        self._known = (rows, points)
        if tier is COARSE:
            self._coarse = [merge([*self._coarse, rolled_up(points, tier.width_s)])]
        else:
            self._write(connection, tier, points)

    def finish(self, connection: sqlite3.Connection) -> None:
        """Write the widest windows to their file."""
        self._write(connection, COARSE, merge(self._coarse))

    def _write(self, connection: sqlite3.Connection, tier: Tier, points: GaugePoints) -> None:
        if len(points.key):
            keys = [GaugeKey(*key) for key in self._numbers]
            put_gauges(connection, tier, self._hour_s, points, keys)
