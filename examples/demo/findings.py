"""What the collector shows about the shop beyond its requests, one sentence each."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

__all__ = ["NAMES", "findings"]

Read = Callable[..., Awaitable[Any]]
_WIDTH: Final = 60


async def findings(read: Read, from_: str = "-60s") -> dict[str, str]:
    """Return a sentence for each of NAMES that can be seen; `read` asks the API."""
    return {name: said for name in NAMES if (said := await _FINDERS[name](read, from_))}


async def _slow_query(read: Read, from_: str) -> str:
    answer = await read("/slow-queries", from_=from_, service="shop")
    for each in answer["worst"]:
        if each["route"]:
            text = each["query"][:_WIDTH]
            where = each["caller"] or each["site"]
            return f"{each['duration']:.0f} ms in {each['route']} at {where}: {text}"
    return ""


async def _n_plus_one(read: Read, from_: str) -> str:
    answer = await read("/slow-queries", from_=from_, service="shop")
    for each in answer["nPlusOne"]:
        where = each["caller"] or each["site"]
        return f"{each['most']} x in {each['method']} {each['route']} at {where}"
    return ""


async def _cache(read: Read, from_: str) -> str:
    answer = await read("/cache", from_=from_, service="shop")
    reads = answer["hits"] + answer["misses"]
    return f"{answer['hitRate']:.0%} of {reads} reads hit" if answer["hits"] else ""


async def _redis(read: Read, from_: str) -> str:
    answer = await read("/cache", from_=from_)
    for server in answer["servers"]:
        gauges = server["gauges"]
        if gauges.get("trimtab.probe.up") and answer["calls"]["count"]:
            p95 = answer["calls"]["p95"]
            return (
                f"{server['target']} is up; {answer['calls']['count']} commands, p95 {p95:.2f} ms"
            )
    return ""


async def _queue(read: Read, from_: str) -> str:
    answer = await read("/queues", from_=from_)
    for queue in answer["queues"]:
        depth = queue["gauges"].get("trimtab.queue.depth")
        if depth is not None:
            return f"{queue['queue']}: {depth:.0f} waiting"
    return ""


_FINDERS: Final = {
    "slow-query": _slow_query,
    "n-plus-one": _n_plus_one,
    "cache": _cache,
    "redis": _redis,
    "queue": _queue,
}
#: what may be expected
NAMES: Final = tuple(_FINDERS)
