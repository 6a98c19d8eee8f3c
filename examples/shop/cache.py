"""A bounded cache of this process, with Redis behind it where there is one.

The least recently used goes first, the old go too.
"""

import json
import time
from collections import OrderedDict
from typing import Any

__all__ = ["Cache", "Shared", "connected"]


class Cache:
    """Values by key, at most `size` of them, each for `ttl_s` seconds; for one event loop."""

    def __init__(self, size: int, ttl_s: float) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._held: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    async def get(self, key: str) -> Any:
        """Return the value, None when there is none or it is too old."""
        found = self._held.get(key)
        if found is None or found[0] < time.monotonic():
            return None
        self._held.move_to_end(key)
        return found[1]

    async def put(self, key: str, value: Any) -> None:
        """Keep a value; the one that was not asked for longest makes room."""
        self._held[key] = (time.monotonic() + self._ttl_s, value)
        self._held.move_to_end(key)
        if len(self._held) > self._size:
            self._held.popitem(last=False)


class Shared:
    """The same on Redis, for all workers together; values are JSON."""

    def __init__(self, redis: Any, prefix: str, ttl_s: float) -> None:
        self._redis = redis
        self._prefix = prefix
        self._ttl_s = ttl_s

    async def get(self, key: str) -> Any:
        """Return the value, None when there is none or it is too old."""
        found = await self._redis.get(self._prefix + key)
        return None if found is None else json.loads(found)

    async def put(self, key: str, value: Any) -> None:
        """Keep a value."""
        await self._redis.set(self._prefix + key, json.dumps(value), px=int(self._ttl_s * 1000))


def connected(url: str) -> Any:
    """Return a client of the Redis at url, None for none."""
    if not url:
        return None
    from redis.asyncio import Redis

    return Redis.from_url(url)
