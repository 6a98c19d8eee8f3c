"""Measures by window, bounded, and shared fairly among those who send them.

Where a bound is reached, whoever has most gives way: of all users the one with most, of its
processes the one with most, and so on (`peers.py`). So what one app sends takes no place from those
who have less. The bounds hold for what is added to a measure as for new ones: a histogram grows
with each of its buckets.
"""

from collections.abc import Callable, Iterator
from typing import Final

from trimtab_agent.app import size_of
from trimtab_agent.names import NamesInUse
from trimtab_agent.peers import Holdings, Sharer
from trimtab_core.measures import Delta, MeasureKey

__all__ = ["At", "MeasureShares", "Own"]

#: A window by its start, or a span by the starts of its windows.
At = int | tuple[int, ...]
#: Instance and measure.
Own = tuple[str, MeasureKey]

#: Memory of a delta, approximately; and of one of its buckets.
_DELTA_BYTES: Final = 500
_BUCKET_BYTES: Final = 90
#: Memory of what one owner has in one window besides, and of each window of a span.
_SHARE_BYTES: Final = 800
_START_BYTES: Final = 40
#: Whoever has so much less than another need not give way for it, in bytes.
_EVEN_BYTES: Final = 16 * 1024


class _Share:
    """What one owner has in one window."""

    __slots__ = ("deltas", "places", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.deltas: dict[Own, Delta] = {}
        self.places = 0
        self.size_bytes = size_bytes


class _Window:
    __slots__ = ("holdings", "places", "shares")

    def __init__(self) -> None:
        self.shares: dict[Sharer, _Share] = {}
        self.places = 0
        #: places by owner, once the window was full
        self.holdings: Holdings | None = None


class MeasureShares:
    """Measures of all owners by window; loop only.

    A window has max_places, one for each measure, more for one with a long name: all names of a
    window have max_name_bytes at most. All windows together have max_bytes. give_way takes what has
    lost its place. names says who may bring new ones.
    """

    def __init__(
        self,
        max_places: int,
        max_name_bytes: int,
        max_bytes: int,
        give_way: Callable[[At, Sharer, Own, Delta], None],
        names: NamesInUse,
    ) -> None:
        self._max_places = max_places
        self._max_name_bytes = max_name_bytes
        self._max_bytes = max_bytes
        self._give_way = give_way
        self._names = names
        self._windows: dict[At, _Window] = {}
        #: the same shares by owner
        self._held: dict[Sharer, dict[At, _Share]] = {}
        #: bytes by owner, once the table was full
        self._holdings: Holdings | None = None
        #: memory of all, approximately
        self.size_bytes = 0

    def __contains__(self, at: At) -> bool:
        return at in self._windows

    def deltas(self, at: At, owner: Sharer) -> dict[Own, Delta]:
        """Return what a owner has in a window, to add to deltas in it what has no buckets."""
        share = self._held.get(owner, {}).get(at)
        return share.deltas if share is not None else {}

    def add(self, at: At, owner: Sharer, own: Own, delta: Delta) -> bool:
        """Add to a measure; False, and nothing is added, where there is no room for it."""
        share = self._held.get(owner, {}).get(at)
        before = share.deltas.get(own) if share is not None else None
        if share is not None and before is not None:
            return self._merge(owner, share, before, delta)
        # What the agent measures itself is of no service.
        if owner.service[1] and not self._names.take((owner.service, own), owner):
            return False
        places, size = self._cost(own[1], delta)
        if share is None:
            size += _base_bytes(at)
        if not self._free_places(at, owner, places) or not self._free_bytes(owner, size):
            return False
        window = self._windows.setdefault(at, _Window())
        if share is None:
            share = window.shares[owner] = _Share(0)
            self._held.setdefault(owner, {})[at] = share
        share.deltas[own] = delta
        share.places += places
        window.places += places
        if window.holdings is not None:
            window.holdings.add(owner, places)
        self._book(owner, share, size)
        return True

    def pop(self, at: At, owner: Sharer) -> tuple[Own, Delta] | None:
        """Take the measure that a owner added last to a window; None if it has none there."""
        share = self._held.get(owner, {}).get(at)
        if share is None:
            return None
        window = self._windows[at]
        own, delta = share.deltas.popitem()
        places, size = self._cost(own[1], delta)
        share.places -= places
        window.places -= places
        if window.holdings is not None:
            window.holdings.add(owner, -places)
        if not share.deltas:
            size = share.size_bytes
            del window.shares[owner]
            self._drop(at, owner)
            if not window.shares:
                del self._windows[at]
        self._book(owner, share, -size)
        return own, delta

    def take(self, at: At) -> Iterator[tuple[Sharer, dict[Own, Delta]]]:
        """Take a window: yield what each owner has in it."""
        window = self._windows.pop(at, None) or _Window()
        for owner, share in window.shares.items():
            self._drop(at, owner)
            self._book(owner, share, -share.size_bytes)
        if self.size_bytes < self._max_bytes // 2:
            self._holdings = None
        return ((owner, share.deltas) for owner, share in window.shares.items())

    def _merge(self, owner: Sharer, share: _Share, before: Delta, delta: Delta) -> bool:
        known = len(before.buckets)
        if delta.buckets and self.size_bytes >= self._max_bytes:
            new = sum(bucket not in before.buckets for bucket in delta.buckets)
            if new and not self._free_bytes(owner, _BUCKET_BYTES * new):
                return False
        before.merge(delta)
        if len(before.buckets) != known:
            self._book(owner, share, _BUCKET_BYTES * (len(before.buckets) - known))
        return True

    def _cost(self, key: MeasureKey, delta: Delta) -> tuple[int, int]:
        """Return the places and the bytes that a measure takes."""
        name_bytes = size_of(key)
        places = -(-name_bytes * self._max_places // self._max_name_bytes)
        return places, name_bytes + _DELTA_BYTES + _BUCKET_BYTES * len(delta.buckets)

    def _free_places(self, at: At, owner: Sharer, places: int) -> bool:
        window = self._windows.get(at)
        while window is not None and window.places + places > self._max_places:
            if window.holdings is None:
                held = ((each, share.places) for each, share in window.shares.items())
                window.holdings = Holdings(held)
            giver = window.holdings.giver(owner, 1 + places)
            if giver is None:
                return False
            self._evict(at, Sharer(*giver))
        return places <= self._max_places

    def _free_bytes(self, owner: Sharer, size: int) -> bool:
        while self.size_bytes + size > self._max_bytes:
            if self._holdings is None:
                self._holdings = Holdings(
                    (each, sum(share.size_bytes for share in shares.values()))
                    for each, shares in self._held.items()
                )
            giver = self._holdings.giver(owner, size + min(_EVEN_BYTES, self._max_bytes // 64))
            if giver is None:
                return False
            # Where it has most. An eighth at once, since looking for that takes time, too.
            at, share = max(self._held[Sharer(*giver)].items(), key=lambda item: item[1].size_bytes)
            wanted = share.size_bytes * 7 // 8
            while share.deltas and share.size_bytes > wanted:
                self._evict(at, Sharer(*giver))
        return True

    def _evict(self, at: At, owner: Sharer) -> None:
        popped = self.pop(at, owner)
        if popped is not None:
            self._give_way(at, owner, *popped)

    def _book(self, owner: Sharer, share: _Share, size: int) -> None:
        share.size_bytes += size
        self.size_bytes += size
        if self._holdings is not None:
            self._holdings.add(owner, size)

    def _drop(self, at: At, owner: Sharer) -> None:
        shares = self._held[owner]
        del shares[at]
        if not shares:
            del self._held[owner]


def _base_bytes(at: At) -> int:
    return _SHARE_BYTES + (_START_BYTES * len(at) if isinstance(at, tuple) else 0)
