"""The table of routes under /api/performance: path, who may, what answers.

Every answer has the envelope; every route but /health asks for the read token, at one place.
"""

import hmac
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from trimtab_collector.api.inside import InsideApi
from trimtab_collector.contract.errors import JSON_HEADERS, ApiError, failure, instant, success
from trimtab_collector.contract.params import OWNERS, choice, names, parse, whole
from trimtab_collector.ingest import Ingest
from trimtab_collector.query import Queries
from trimtab_collector.reads import gauges
from trimtab_collector.reads.comparison import COMPARED
from trimtab_collector.reads.figures import TIMES
from trimtab_collector.reads.heatmap import COARSEST, ROWS
from trimtab_collector.reads.history import PERIODS
from trimtab_collector.reads.lists import RANKINGS
from trimtab_collector.storage.store import Health, Store, TooMuchError
from trimtab_core.sketch import SCALE

__all__ = ["BASE", "Api"]

logger = logging.getLogger("trimtab.api")

BASE: Final = "/api/performance"
Handler = Callable[[Request], Awaitable[Any]]


class Api:
    """The read API as Starlette routes and exception handlers."""

    def __init__(self, queries: Queries, store: Store, ingest: Ingest, token: str) -> None:
        self._queries = queries
        self._store = store
        self._ingest = ingest
        self._token = token.encode()
        self._begun_s = time.monotonic()

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: dict[str, Handler] = {
            "/services": self._services,
            "/routes": self._routes,
            "/routes/latency": self._latency,
            "/response-time": self._response_time,
            "/heatmap": self._heatmap,
            "/compare": self._compare,
            "/metrics": self._snapshot,
            "/metrics/current": self._current,
            "/metrics/history": self._history,
            "/gauges": self._gauges,
            **InsideApi(self._queries).table(),
        }
        routes: list[BaseRoute] = [
            Route(BASE + path, self._guarded(handler), methods=["GET"])
            for path, handler in table.items()
        ]
        return [Route(f"{BASE}/health", self._open(self._health), methods=["GET"]), *routes]

    def exception_handlers(self) -> Mapping[Any, Any]:
        """Return what answers for requests that no route takes or that fail."""
        return {HTTPException: self._refused, Exception: self._failed}

    def _open(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return _answer(200, success(await handler(request)))
            except ApiError as error:
                return _answer(error.status, failure(error), error.headers)
            except TooMuchError as error:
                return _answer(422, failure(ApiError(422, "too_much", str(error))))

        return endpoint

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Any:
            self._check(request.headers.get("authorization", ""))
            return await handler(request)

        return self._open(guarded)

    def _check(self, header: str) -> None:
        kind, _, text = header.partition(" ")
        # Compared as bytes: compare_digest takes no text beyond ASCII.
        same = hmac.compare_digest(text.strip().encode("utf-8", "replace"), self._token)
        if kind.lower() != "bearer" or not same:
            got = "another" if header else "none"
            raise ApiError(
                401,
                "unauthorized",
                f"expected the read token as Authorization: Bearer, got {got}: it was shown at the "
                "first start and lies in the file token of the data directory",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _services(self, request: Request) -> Any:
        return await self._queries.services(parse(request.query_params, time.time(), ("apdex",)))

    async def _routes(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), ("by", "limit", "apdex"))
        by = choice(params, "by", RANKINGS, "totalTime")
        return await self._queries.routes(params, by, whole(params, "limit", 1, 1000, 50))

    async def _latency(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), ("by", "limit", "step"))
        by = choice(params, "by", TIMES, "p99")
        return await self._queries.latency(params, by, whole(params, "limit", 1, 1000, 50))

    async def _response_time(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), ("apdex",))
        return await self._queries.response_time(params)

    async def _current(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), back_s=10, fields=OWNERS)
        return await self._queries.current(params)

    async def _snapshot(self, request: Request) -> Any:
        params = parse(request.query_params, time.time(), ("apdex",), back_s=10, fields=OWNERS)
        return await self._queries.snapshot(params)

    async def _history(self, request: Request) -> Any:
        query, now_s = request.query_params, time.time()
        own = ("period", "step", "apdex", "groupBy", "limit")
        period = choice(parse(query, now_s, own), "period", PERIODS, "hourly")
        params = parse(query, now_s, own, PERIODS[period][0])
        by = names(params, "groupBy")
        limit = whole(params, "limit", 1, 100, 20)
        if not by:
            return await self._queries.history(params, period)
        return await self._queries.grouped(params, period, by, limit)

    async def _heatmap(self, request: Request) -> Any:
        own = ("step", "scale", "buckets")
        params = parse(request.query_params, time.time(), own, back_s=3600)
        scales = {str(scale): scale for scale in range(COARSEST, SCALE + 1)}
        scale = scales[choice(params, "scale", scales, str(SCALE))]
        return await self._queries.heatmap(params, scale, whole(params, "buckets", 10, 200, ROWS))

    async def _compare(self, request: Request) -> Any:
        own = ("by", "limit", "minRequests", "apdex", "field", "a", "b")
        against = ("against", "againstFrom", "againstTo")
        params = parse(request.query_params, time.time(), (*own, *against), back_s=3600)
        by = choice(params, "by", COMPARED, "p95")
        limit = whole(params, "limit", 1, 1000, 50)
        least = whole(params, "minRequests", 1, 1_000_000, 100)
        return await self._queries.comparison(params, by, limit, least)

    async def _gauges(self, request: Request) -> Any:
        own = ("name", "step", "groupBy", "limit")
        params = parse(request.query_params, time.time(), own, back_s=3600, fields=gauges.FIELDS)
        asked, by = gauges.names_of(params), gauges.groups_of(params)
        return await self._queries.gauges(params, asked, by, whole(params, "limit", 1, 200, 20))

    async def _health(self, _request: Request) -> Any:
        health: Health = await self._queries.health()
        skewed = self._ingest.skews.skewed()
        used, total = _memory_bytes()
        troubles = health.trouble or health.compaction or health.damage
        return {
            "status": "degraded" if troubles else "healthy",
            "timestamp": instant(),
            "uptime": round(time.monotonic() - self._begun_s, 3),
            "memory": {
                "used": used,
                "total": total,
                "usage": round(100 * used / total, 2) if total else None,
            },
            "store": {
                "trouble": health.trouble or None,
                "batches": health.batches,
                "duplicates": health.duplicates,
                "refused": dict(self._ingest.refused),
                "journalBatches": health.journal_batches,
                "journalBytes": health.journal_bytes,
                "waitingBytes": health.waiting_bytes,
                "tiers": {
                    name: {"files": files, "bytes": size}
                    for name, (files, size) in health.tiers.items()
                },
                "compaction": {"trouble": health.compaction or None, "worker": health.worker},
                "damage": dict(health.damage),
                "series": health.series,
                "recentBytes": health.recent_bytes,
            },
            "clockSkewSeconds": skewed,
        }

    async def _refused(self, request: Request, error: HTTPException) -> Response:
        path, method = request.url.path, request.method
        if error.status_code == 405:
            refusal = ApiError(
                405,
                "method_not_allowed",
                f"expected GET on {path:.120}, got {method:.20}",
                headers=error.headers,
            )
        elif error.status_code == 404:
            refusal = ApiError(
                404, "not_found", f"expected a path under {BASE}, got {path:.120}: see docs/api"
            )
        else:
            refusal = ApiError(error.status_code, "refused", str(error.detail))
        return _answer(refusal.status, failure(refusal), refusal.headers)

    async def _failed(self, request: Request, error: Exception) -> Response:
        # The server logs the error with its traceback; the answer keeps it to itself.
        refusal = ApiError(
            500,
            "internal",
            "the collector failed at this: its log says why",
            {"path": request.url.path},
        )
        return _answer(500, failure(refusal))


def _answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    own = {name.decode(): value.decode() for name, value in JSON_HEADERS}
    return Response(body, status, {**own, **(headers or {})})


def _memory_bytes() -> tuple[int, int]:
    """Return the memory of this process and of the machine; zeros where they cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        size = os.sysconf("SC_PAGE_SIZE")
        return pages * size, os.sysconf("SC_PHYS_PAGES") * size
    except (OSError, ValueError):
        return 0, 0
