"""The latest value of every gauge; any thread may use it."""

import threading
from typing import Final

from trimtab_collector.storage.shares import SharedPlaces
from trimtab_collector.storage.store import LatestGauge
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.batches import Batch

__all__ = ["STALE_S", "LatestGauges"]

#: a value older than this says nothing about the present
STALE_S: Final = 30
_MAX_GAUGES: Final = 100_000
_FORGET_S: Final = 900


class LatestGauges:
    """Latest gauges by agent and name, up to 100,000.

    When all places are taken, a gauge that is stale gives its place to a new one. Without any, new
    ones are left out and counted, as are those of a key or an app that has its share of the places.
    """

    def __init__(self, max_gauges: int = _MAX_GAUGES, over: SenderTally | None = None) -> None:
        """Count values that find no place in a tally."""
        self._over = over or SenderTally()
        self._places: SharedPlaces[tuple[str, str, str, str, str]] = SharedPlaces(max_gauges)
        self._lock = threading.Lock()
        #: the gauge that came least recently stands first
        self._latest: dict[tuple[str, str, str, str, str], LatestGauge] = {}
        #: the latest time at which any gauge was read
        self._latest_s = 0.0
        #: values that found no place
        self.left_out = 0

    def note(self, batch: Batch, read_s: float, sender: str = "") -> None:
        """Take the gauges of a batch, read at read_s, unless later values are here.

        sender is the id of the key that brought it.
        """
        with self._lock:
            self._latest_s = max(self._latest_s, read_s)
            for gauge in batch.gauges:
                key = (batch.agent, *gauge[:4])
                before = self._latest.get(key)
                if before is None and not self._has_place(key, sender, read_s):
                    self.left_out += 1
                    self._over.note("gauges", sender, batch.agent)
                elif before is None or before.read_s <= read_s:
                    self._latest.pop(key, None)
                    self._latest[key] = LatestGauge(*key, gauge.value, read_s)

    def _has_place(self, key: tuple[str, str, str, str, str], sender: str, read_s: float) -> bool:
        """Tell whether there is a place for a new gauge, after a stale one was dropped for it."""
        if not self._places.is_full:
            return self._places.take(key, sender, key[1:3])
        # Only the first is looked at, so that a full table costs no search. Others that are stale
        # get there within 30 s, as all that are not stale come again or become so.
        first, row = next(iter(self._latest.items()))
        stale_s = self._latest_s - STALE_S
        if row.read_s >= stale_s or read_s < stale_s:
            return False
        self._drop(first)
        return self._places.take(key, sender, key[1:3])

    def _drop(self, key: tuple[str, str, str, str, str]) -> None:
        del self._latest[key]
        self._places.drop(key)

    def fresh(self, now_s: float) -> list[LatestGauge]:
        """Return the gauges that are not stale."""
        with self._lock:
            return [row for row in self._latest.values() if now_s - row.read_s <= STALE_S]

    def forget(self, now_s: float) -> None:
        """Drop gauges that have not been read for a quarter of an hour."""
        with self._lock:
            old = [key for key, row in self._latest.items() if now_s - row.read_s > _FORGET_S]
            for key in old:
                self._drop(key)
