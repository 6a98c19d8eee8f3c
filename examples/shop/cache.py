"""A bounded cache of this process: the least recently used goes first, the old go too."""

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Cache"]

_V = TypeVar("_V")


class Cache(Generic[_V]):
    """Values by key, at most `size` of them, each for `ttl_s` seconds; for one event loop."""

    def __init__(self, size: int, ttl_s: float) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._held: OrderedDict[Hashable, tuple[float, _V]] = OrderedDict()

    def get(self, key: Hashable) -> _V | None:
        """Return the value, None when there is none or it is too old."""
        found = self._held.get(key)
        if found is None or found[0] < time.monotonic():
            return None
        self._held.move_to_end(key)
        return found[1]

    def put(self, key: Hashable, value: _V) -> None:
        """Keep a value; the one that was not asked for longest makes room."""
        self._held[key] = (time.monotonic() + self._ttl_s, value)
        self._held.move_to_end(key)
        if len(self._held) > self._size:
            self._held.popitem(last=False)
