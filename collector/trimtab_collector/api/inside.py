"""The paths about the inside of apps: queries, caches, calls, queues, metrics, slow requests."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request

from trimtab_collector.contract.params import OWNERS, choice, parse, whole
from trimtab_collector.query import Queries
from trimtab_collector.reads import captured, databases, surroundings

__all__ = ["InsideApi"]

Handler = Callable[[Request], Awaitable[Any]]
#: parameters of what knows the route, too
_WITH_ROUTE: Final = {**OWNERS, "route": "route"}


class InsideApi:
    """Handlers by path, without the base."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def table(self) -> Mapping[str, Handler]:
        """Return the table; groups of gauges have a second path below /metrics."""
        groups: dict[str, Handler] = {
            "/application": self._application,
            "/database": self._database,
            "/cache": self._cache,
            "/external": self._external,
            "/queues": self._queues,
            "/custom": self._custom,
            "/system": self._system,
            "/memory": self._memory,
        }
        return {
            **groups,
            **{f"/metrics{path}": handler for path, handler in groups.items()},
            "/slow-queries": self._slow_queries,
            "/slow-requests": self._slow_requests,
        }

    async def _application(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), ("apdex",), fields=_WITH_ROUTE)
        return await self._queries.ask(captured.application, params)

    async def _system(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), fields=OWNERS)
        return await self._queries.ask(captured.system, params)

    async def _memory(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), fields=OWNERS)
        return await self._queries.ask(captured.memory, params)

    async def _database(self, request: Request) -> Any:
        return await self._limited(request, databases.database)

    async def _external(self, request: Request) -> Any:
        return await self._limited(request, surroundings.external)

    async def _queues(self, request: Request) -> Any:
        return await self._limited(request, surroundings.queues)

    async def _limited(self, request: Request, work: Callable[..., Any]) -> Any:
        params = parse(request.query_params, time.time(), ("limit",), fields=OWNERS)
        return await self._queries.ask(work, params, whole(params, "limit", 1, 1000, 50))

    async def _cache(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), fields=OWNERS)
        return await self._queries.ask(surroundings.cache, params)

    async def _custom(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), ("name", "limit"), fields=OWNERS)
        limit = whole(params, "limit", 1, 10_000, 1000)
        return await self._queries.ask(
            surroundings.custom, params, params.own.get("name", ""), limit
        )

    async def _slow_queries(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), ("by", "limit"), fields=_WITH_ROUTE)
        by = choice(params, "by", databases.RANKINGS, "totalTime")
        limit = whole(params, "limit", 1, 1000, 50)
        return await self._queries.ask(databases.slow_queries, params, by, limit)

    async def _slow_requests(self, request: Request) -> Any:
        own = ("reason", "by", "limit")
        params = parse(request.query_params, time.time(), own, fields=_WITH_ROUTE)
        reason = choice(params, "reason", ("", *captured.REASONS), "")
        order = choice(params, "by", captured.ORDERS, "time")
        limit = whole(params, "limit", 1, 1000, 50)
        return await self._queries.ask(captured.slow_requests, params, reason, order, limit)
