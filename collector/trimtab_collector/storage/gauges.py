"""The latest value of every gauge; any thread may use it."""

import threading
from typing import Final

from trimtab_collector.storage.store import LatestGauge
from trimtab_core.batches import Batch

__all__ = ["STALE_S", "LatestGauges"]

#: a value older than this says nothing about the present
STALE_S: Final = 30
_MAX_GAUGES: Final = 100_000
_FORGET_S: Final = 900


class LatestGauges:
    """Latest gauges by agent and name; beyond 100,000, new ones are left out and counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str, str, str, str], LatestGauge] = {}
        self.left_out = 0

    def note(self, batch: Batch, read_s: float) -> None:
        """Take the gauges of a batch, read at read_s, unless later values are here."""
        with self._lock:
            for gauge in batch.gauges:
                key = (batch.agent, *gauge[:4])
                before = self._latest.get(key)
                if before is None and len(self._latest) >= _MAX_GAUGES:
                    self.left_out += 1
                elif before is None or before.read_s <= read_s:
                    self._latest[key] = LatestGauge(*key, gauge.value, read_s)

    def fresh(self, now_s: float) -> list[LatestGauge]:
        """Return the gauges that are not stale."""
        with self._lock:
            return [row for row in self._latest.values() if now_s - row.read_s <= STALE_S]

    def forget(self, now_s: float) -> None:
        """Drop gauges that have not been read for a quarter of an hour."""
        with self._lock:
            self._latest = {
                key: row for key, row in self._latest.items() if now_s - row.read_s <= _FORGET_S
            }
