"""Answers to reads: each is computed in one of two threads, so that it never delays ingest."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from trimtab_collector.contract.bodies import (
    Comparison,
    Current,
    GaugeHistory,
    GroupedHistory,
    Heatmap,
    History,
    Latency,
    ResponseTime,
    RouteList,
    Services,
    Snapshot,
)
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.params import Params
from trimtab_collector.reads import current, gauges, heatmap, history, lists
from trimtab_collector.reads.comparison import comparison, sides_of
from trimtab_collector.reads.ranges import Ranges
from trimtab_collector.reads.source import Source
from trimtab_collector.reads.steps import MOST
from trimtab_collector.storage.store import Store
from trimtab_collector.watch import Watch

__all__ = ["Queries"]

_T = TypeVar("_T")
_MAX_WAITING: Final = 64


class Queries:
    """Answers reads over one store; coroutines, loop only.

    Each raises ApiError: 422 for parameters that are not understood, 503 when too many reads wait;
    and TooMuchError for what is over a limit.
    """

    def __init__(self, store: Store, watch: Watch, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._ranges = Ranges(store, watch)
        self._source = Source(store, clock)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="trimtab-read")
        self._waiting = 0

    def close(self) -> None:
        """Finish what was begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def services(self, params: Params) -> Services:
        """Return every service, with its requests in the range and its account."""
        return await self._run(lists.services, self._source, self._ranges.one(params))

    async def routes(self, params: Params, by: str, limit: int) -> RouteList:
        """Return the routes with requests in the range, at most limit, the largest first."""
        view = self._ranges.one(params)
        return await self._run(lists.routes, self._source, view, by, limit)

    async def latency(self, params: Params, by: str, limit: int) -> Latency:
        """Return the response times of routes, the slowest first; of one route with its steps."""
        stepped = "route" in params.where or "step" in params.own
        view = self._ranges.stepped(params, 0, MOST) if stepped else self._ranges.one(params)
        return await self._run(lists.latency, self._source, view, by, limit)

    async def response_time(self, params: Params) -> ResponseTime:
        """Return figures over all, by class of status, by service and by version."""
        return await self._run(lists.response_time, self._source, self._ranges.one(params))

    async def current(self, params: Params) -> Current:
        """Return the figures of the range and the latest gauges."""
        return await self._run(current.current, self._source, self._ranges.one(params))

    async def snapshot(self, params: Params) -> Snapshot:
        """Return the parts of this moment together."""
        # Measures come by windows of ten seconds, and are never live.
        minute = self._ranges.stored(params, params.to_s - 60, params.to_s)
        return await self._run(current.snapshot, self._source, self._ranges.one(params), minute)

    async def history(self, params: Params, period: str) -> History:
        """Return a row for each step that holds something."""
        view = self._ranges.stepped(params, history.PERIODS[period][1], MOST)
        return await self._run(history.history, self._source, view, period)

    async def grouped(
        self, params: Params, period: str, by: tuple[str, ...], limit: int
    ) -> GroupedHistory:
        """Return the steps of the groups with the most requests, at most limit groups."""
        view = self._ranges.stepped(params, history.PERIODS[period][1], MOST)
        return await self._run(history.grouped, self._source, view, period, by, limit)

    async def heatmap(self, params: Params, scale: int, most: int) -> Heatmap:
        """Return requests by time and duration, at most `most` buckets."""
        view = self._ranges.stepped(params, 0, heatmap.COLUMNS)
        return await self._run(heatmap.heatmap, self._source, view, scale, most)

    async def comparison(self, params: Params, by: str, limit: int, least: int) -> Comparison:
        """Return two sides beside each other, the routes with the largest change first."""
        sides = sides_of(self._ranges, params)
        return await self._run(comparison, self._source, sides, by, limit, least)

    async def gauges(
        self, params: Params, names: tuple[str, ...], by: tuple[str, ...], limit: int
    ) -> GaugeHistory:
        """Return gauges over time, at most limit series."""
        view = self._ranges.stepped(params, 0, gauges.STEPS)
        return await self._run(gauges.gauges, self._store, view, names, by, limit)

    async def ask(self, work: Callable[..., _T], params: Params, *arguments: Any) -> _T:
        """Return what work makes of the source and the range as one step of stored windows."""
        view = self._ranges.stored(params, params.from_s, params.to_s)
        return await self._run(work, self._source, view, *arguments)

    async def health(self) -> Any:
        """Return the store's health."""
        return await self._run(self._store.health)

    async def _run(self, work: Callable[..., _T], *arguments: Any) -> _T:
        if self._waiting >= _MAX_WAITING:
            raise ApiError(
                503,
                "busy",
                f"{self._waiting} reads wait already: ask again",
                headers={"Retry-After": "1"},
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1
