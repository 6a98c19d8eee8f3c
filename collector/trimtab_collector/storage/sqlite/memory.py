"""What the engine keeps in memory of the durable data: points, gauges, and the names of both.

Any thread may read; `take` is for the committing thread, `show` for the loop.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from trimtab_collector.storage.catalogue import Catalogue
from trimtab_collector.storage.columns import WINDOW_S, columns_of_batch
from trimtab_collector.storage.gauges import LatestGauges
from trimtab_collector.storage.sqlite.aside import Aside
from trimtab_collector.storage.sqlite.gaugehead import GAUGES_S, GaugeHead
from trimtab_collector.storage.sqlite.head import LIVE_S, Head, move, used
from trimtab_collector.storage.sqlite.journal import batch_of
from trimtab_collector.storage.store import Received
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.errors import BatchError

__all__ = ["Memory"]

#: a window is summed up for readers when it began this long ago
_SETTLE_S: Final = 20


class Memory:
    """The heads of points and gauges; both heads of points share one catalogue of series."""

    def __init__(
        self,
        max_series: int,
        max_bytes: int,
        clock: Callable[[], float],
        floor_s: int,
        aside: Aside,
        over: SenderTally | None = None,
    ) -> None:
        self._aside = aside
        self.catalogue = Catalogue(max_series)
        self._sweeping = threading.Lock()
        dictionary = self.catalogue.dictionary
        self.recent = Head(None, WINDOW_S, max_bytes, dictionary, clock, floor_s)
        self.live = Head(LIVE_S, 1, max_bytes // 4, dictionary, clock)
        self.gauges = GaugeHead(GAUGES_S, max_bytes // 2, clock, floor_s)
        self.latest = LatestGauges(over=over)

    @property
    def size_bytes(self) -> int:
        """Bytes held."""
        return self.recent.size_bytes + self.live.size_bytes + self.gauges.size_bytes

    def take(self, received: Received) -> None:
        """Add a batch that has just become durable."""
        batch = received.batch
        self._add(self.recent, received)
        self.latest.note(batch, received.read_s, received.key)
        self.gauges.add(batch, received.window_s)

    def show(self, received: Received) -> None:
        """Add a live summary."""
        batch = received.batch
        name = (received.key, batch.agent, batch.boot, batch.seq)
        self._add(self.live, received, name)
        self.latest.note(batch, received.read_s, received.key)

    def _add(self, head: Head, received: Received, name: object = None) -> None:
        batch, window_s = received.batch, received.window_s
        columns, origin = received.columns, received.numbered.origin
        while not head.add(window_s, columns, origin, name):
            # The catalogue has started a new dictionary since the batch was numbered.
            known = self.catalogue.know(batch.series)
            origin, columns = known.dictionary, columns_of_batch(batch, known.numbers, window_s)

    def replay(self, number: int, row: tuple[Any, ...]) -> None:
        """Add a batch of the journal, at the start of the store: the columns `JOURNAL_ROW`."""
        try:
            batch, t0, received_us = batch_of(row), row[3], row[4]
            known = self.catalogue.know(batch.series)
            columns = columns_of_batch(batch, known.numbers, t0)
        except BatchError as error:
            self._aside.note("journal", number, error)
            return
        self.recent.add(t0, columns, known.dictionary)
        self.latest.note(batch, min(t0 + batch.step_s, received_us / 1e6))
        self.gauges.add(batch, t0)

    def tidy(self, now_s: float) -> None:
        """Prepare the latest windows for readers, and forget what nobody uses any more."""
        self.latest.forget(now_s)
        self._sweep()
        self.recent.settle(int(now_s) - _SETTLE_S)

    def release(self, before_s: int) -> None:
        """Drop the windows before a second, and the names that only they used."""
        self.recent.release(before_s)
        self._sweep()

    def _sweep(self) -> None:
        if self.catalogue.is_crowded:
            heads = (self.recent, self.live)
            with self._sweeping:
                self.catalogue.sweep(partial(used, heads), partial(move, heads))
