"""Measures what a batch costs the others, and holds back keys that are to come later."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trimtab_collector.contract.errors import ApiError
from trimtab_collector.cpushares import CpuShares, paced_s
from trimtab_collector.storage.store import Received
from trimtab_collector.storage.tallies import SenderTally

__all__ = ["BatchCost", "KeyPacing"]

#: how long a refusal is held back whose cause is what the others send, and how many at a time
_HOLD_S: Final = 1.0
_MOST_HELD: Final = 64
#: a batch with more of these is checked in a thread
_MANY_NAMES: Final = 64
_MANY_RANGES: Final = 2_000
_MANY_ROW_BYTES: Final = 32 * 1024
_MANY_COLUMN_BYTES: Final = 256 * 1024


@dataclass(slots=True)
class BatchCost:
    """What a batch takes: its CPU, and what costs more than that."""

    #: when work on it began, by the CPU clock of the thread that is at it
    began_s: float = 0.0
    #: names that it brings and nobody uses: 30 us each
    names: int = 0
    #: ranges of records: 0.6 us each; and bytes of measures and events: 10 kB take 0.4 to 1 ms
    ranges: int = 0
    row_bytes: int = 0
    #: bytes of its points, unpacked, which may be a thousand times what was sent: 10 us a kB
    column_bytes: int = 0

    def begin(self) -> None:
        """Begin the work, or go on in another thread with what one has left."""
        self.began_s += time.thread_time()

    def leave(self) -> None:
        """Leave the work to another thread."""
        # What was spent, negative: the other one has a clock of its own.
        self.began_s -= time.thread_time()

    @property
    def is_small(self) -> bool:
        """Whether its check takes three ms at most: more would stop the loop for everybody."""
        return (
            self.names <= _MANY_NAMES
            and self.ranges <= _MANY_RANGES
            and self.row_bytes <= _MANY_ROW_BYTES
            and self.column_bytes <= _MANY_COLUMN_BYTES
        )


class KeyPacing:
    """What the batches of keys cost, by their CPU, new names, events and what is over a quota."""

    def __init__(self, over: SenderTally) -> None:
        """Watch a tally of what was over a quota."""
        self._tally = over
        self._shares = CpuShares()
        self._holding = 0
        #: id of a key -> what of it was over a quota until its last batch
        self._over: dict[str, int] = {}

    async def wait(self, key_id: str) -> None:
        """Raise ApiError 503 for a key that is to come later, but not at once: loop only.

        Whoever does not listen could else ask again, and be refused again, all the time.
        """
        try:
            self._shares.check(key_id)
        except ApiError:
            if self._holding < _MOST_HELD:
                self._holding += 1
                try:
                    await asyncio.sleep(_HOLD_S)
                finally:
                    self._holding -= 1
            raise

    def is_heavy(self, key_id: str) -> bool:
        """Tell whether the batches of a key must not stop the loop, however small they are."""
        return self._shares.is_heavy(key_id)

    def go_on(self, key_id: str, check: Callable[[], Received], cost: BatchCost) -> Received:
        """Do what `measured` does, in a thread that goes on with what another has left."""
        cost.begin()
        return self.measured(key_id, check, cost)

    def measured(self, key_id: str, check: Callable[[], Received], cost: BatchCost) -> Received:
        """Return what check returns, and note what the batch cost since it was begun; any thread.

        check may add to the cost.
        """
        event_bytes = 0
        try:
            received = check()
            event_bytes = cost.row_bytes if received.events else 0
            return received
        finally:
            took_s = time.thread_time() - cost.began_s
            # What is stored may turn out to be over a quota later: it counts with the next batch.
            over = self._tally.of_keys.get(key_id, 0)
            is_over = over != self._over.get(key_id, 0)
            self._over[key_id] = over
            of_pace_s = paced_s(cost.names, event_bytes, cost.ranges, took_s if is_over else 0.0)
            self._shares.spend(key_id, took_s, of_pace_s)
