"""Rows in memory, for tests and for an app that shows its own."""

import threading
import time
from collections import deque
from collections.abc import Sequence

from trimtab.metrics.metric import MetricRow
from trimtab.runtime import PROCESS
from trimtab.sinks.sink import Stored

__all__ = ["MemorySink"]


class MemorySink:
    """Keeps the latest rows, within an age and a count; any thread.

    A child of a fork has what its parent had stored by then.
    """

    def __init__(self, *, max_age_s: float = 3600, max_rows: int = 100_000) -> None:
        self._max_age_s = max_age_s
        self._rows: deque[MetricRow] = deque(maxlen=max(1, max_rows))
        self._lock = threading.Lock()
        PROCESS.join(self)

    def store(self, rows: Sequence[MetricRow]) -> Stored:
        """Keep rows; of more than max_rows the last ones."""
        most = self._rows.maxlen or 0
        kept = rows[-most:]
        with self._lock:
            self._rows.extend(kept)
            self._forget_old()
        if len(kept) == len(rows):
            return Stored(len(kept))
        return Stored(len(kept), f"expected at most {most} rows, got {len(rows)}: raise max_rows")

    def rows(self, name: str | None = None) -> list[MetricRow]:
        """Return what is kept, the oldest first; of one metric when it is named."""
        with self._lock:
            self._forget_old()
            return [row for row in self._rows if name is None or row.name == name]

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held."""
        self._lock = threading.Lock()

    def _forget_old(self) -> None:
        oldest = time.time() - self._max_age_s
        while self._rows and self._rows[0].timestamp < oldest:
            self._rows.popleft()
