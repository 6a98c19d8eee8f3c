"""Which batches are here already: the numbers that each life of an agent has sent.

An agent numbers its batches anew from each start, which is a life of it; with another key it is
another one, or that key could keep its batches out. Its owner does the locking.
"""

from bisect import bisect_right
from sys import getsizeof
from typing import Final, NamedTuple

from trimtab_collector.storage.accounting import RecordRanges, with_range
from trimtab_core.batches import Batch

__all__ = ["SeenBatches"]

#: ranges of one life; between two of them is a batch that never came, and the spool of an agent
#: drops few
_MAX_RANGES: Final = 2_000
#: a life besides its agent's name, and a range, as objects
_LIFE_BYTES: Final = 400
_RANGE_BYTES: Final = 120


#: key, agent, boot
_LifeName = tuple[str, str, bytes]


class _Life(NamedTuple):
    ranges: RecordRanges
    #: the latest window that it sent, epoch seconds
    latest_s: int


class SeenBatches:
    """Batches by key, agent, start and number, in up to max_bytes: about 600 bytes per life.

    Over it, the life that was silent the longest is forgotten: a batch that it repeats is new
    again. Of a life with more than 2,000 gaps the lowest one is closed: a batch from it counts as a
    repeat.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        #: the life that was silent the longest stands first
        self._lives: dict[_LifeName, _Life] = {}
        #: bytes held, approximately
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._lives)

    def has(self, key: str, batch: Batch) -> bool:
        """Return whether a batch was sent before with a key."""
        life = self._lives.get((key, batch.agent, batch.boot))
        if life is None:
            return False
        place = bisect_right(life.ranges, batch.seq, key=lambda pair: pair[0])
        return place > 0 and batch.seq < life.ranges[place - 1][1]

    def add(self, key: str, batch: Batch, window_s: int) -> None:
        """Note a batch that was sent with a key and stored under a window."""
        name = (key, batch.agent, batch.boot)
        life = self._pop(name) if name in self._lives else _Life((), window_s)
        ranges = with_range(life.ranges, batch.seq, 1)
        if len(ranges) > _MAX_RANGES:
            ranges = ((ranges[0][0], ranges[1][1]), *ranges[2:])
        self._lives[name] = _Life(ranges, max(life.latest_s, window_s))
        self.size_bytes += _size(name, self._lives[name])
        while self.size_bytes > self._max_bytes and len(self._lives) > 1:
            self._pop(next(iter(self._lives)))

    def forget(self, before_s: float) -> None:
        """Forget the lives whose windows all start before a second."""
        for name in [name for name, life in self._lives.items() if life.latest_s < before_s]:
            self._pop(name)

    def _pop(self, name: _LifeName) -> _Life:
        life = self._lives.pop(name)
        self.size_bytes -= _size(name, life)
        return life


def _size(name: _LifeName, life: _Life) -> int:
    return _LIFE_BYTES + getsizeof(name[0]) + getsizeof(name[1]) + _RANGE_BYTES * len(life.ranges)
