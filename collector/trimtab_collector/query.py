"""Answers to reads: services, routes, response times, history, the current moment.

A range of at most a minute that ends now is answered from 1-second summaries when agents send
them, and tells agents that somebody watches; any other from the stored 10-second windows it
touches. Reads run in two threads of their own, so that they never delay ingest.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from trimtab_collector.apdex import THRESHOLD_MS
from trimtab_collector.api.bodies import (
    Current,
    History,
    HistoryRow,
    ResponseTime,
    RouteRow,
    Routes,
    ServiceRow,
    Services,
    ServiceStats,
    Stats,
)
from trimtab_collector.api.errors import ApiError
from trimtab_collector.api.params import Params, whole
from trimtab_collector.figures import (
    TIMES,
    accounting_of,
    fields_of,
    instances_of,
    names_of,
    no_requests,
    stats_of,
)
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.gauges import Reading
from trimtab_collector.storage.sqlite import SQLiteStore
from trimtab_collector.storage.store import Rows, Selection, ServiceAccount
from trimtab_collector.watch import Watch

__all__ = ["PERIODS", "RANKINGS", "Queries"]

_T = TypeVar("_T")
#: period of history -> range and step in seconds
PERIODS: Final = {"hourly": (3600, 60), "daily": (86_400, 600), "weekly": (7 * 86_400, 3600)}
RANKINGS: Final = ("p99", "totalTime", "errorRate", "rps")
_LIVE_RANGE_S: Final = 60
#: live summaries that end longer ago say nothing about now
_LIVE_AGE_S: Final = 5
_MAX_WAITING: Final = 64
_MAX_STEPS: Final = 20_000
_ACTIVE: Final = "http.server.active_requests"


@dataclass(frozen=True, slots=True)
class View:
    """A range made concrete: what to select, and the seconds that rates are over."""

    selection: Selection
    seconds: float
    params: Params

    @property
    def threshold_us(self) -> float:
        return 1000 * whole(self.params, "apdex", 1, 3_600_000, THRESHOLD_MS)

    @property
    def from_text(self) -> str:
        return self.params.shown(self.selection.start_s)

    @property
    def to_text(self) -> str:
        return self.params.shown(self.selection.start_s + self.seconds)


class Queries:
    """Answers reads over one store; coroutines, loop only."""

    def __init__(
        self, store: SQLiteStore, watch: Watch, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="trimtab-read")
        self._waiting = 0

    def close(self) -> None:
        """Finish what was begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def services(self, params: Params) -> Services:
        """Return every service, with its requests in the range and its account."""
        return await self._run(self._services, self._view(params))

    async def routes(self, params: Params, by: str, limit: int) -> Routes:
        """Return the routes with requests in the range, at most limit, the largest first."""
        return await self._run(self._routes, self._view(params), by, limit)

    async def response_time(self, params: Params) -> ResponseTime:
        """Return figures over all, by class of status and by service."""
        return await self._run(self._response_time, self._view(params))

    async def current(self, params: Params) -> Current:
        """Return the figures of the range and the latest readings."""
        return await self._run(self._current, self._view(params))

    async def history(self, params: Params, period: str, step_s: int) -> History:
        """Return a row for each step that holds something; raises ApiError 422 for too many."""
        start_s = int(params.from_s) - int(params.from_s) % step_s
        end_s = -(-int(params.to_s + 0.999) // step_s) * step_s
        if (end_s - start_s) // step_s > _MAX_STEPS:
            raise ApiError(
                422,
                "bad_parameter",
                f"parameter 'step': expected at most {_MAX_STEPS} steps in the range, got "
                f"{(end_s - start_s) // step_s}: choose a longer step",
            )
        selection = replace(_selection(params), edges_s=(*range(start_s, end_s, step_s), end_s))
        view = View(selection, end_s - start_s, params)
        return await self._run(self._history, view, period)

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

    def _view(self, params: Params) -> View:
        selection = _selection(params)
        now_s = params.now_s
        if params.to_s >= now_s - 1 and params.to_s - params.from_s <= _LIVE_RANGE_S:
            self._watch.mark()
            live = self._live(params, int(now_s))
            if live is not None:
                start_s, end_s = live
                selection = replace(selection, edges_s=(start_s, end_s), live=True)
                return View(selection, end_s - start_s, params)
        start_s = int(params.from_s) - int(params.from_s) % WINDOW_S
        end_s = -(-int(params.to_s + 0.999) // WINDOW_S) * WINDOW_S
        seconds: float = end_s - start_s
        if end_s > now_s - 3 * WINDOW_S:
            # The last windows are still on their way: rates are over what has arrived.
            span = self._store.recent.span(start_s, end_s, end_s - start_s)
            arrived_s = span[1] + WINDOW_S if span else 0
            if arrived_s < now_s - 3 * WINDOW_S:
                arrived_s = int(min(end_s, now_s))
            seconds = max(1, min(arrived_s, now_s) - start_s)
        return View(replace(selection, edges_s=(start_s, end_s)), seconds, params)

    def _live(self, params: Params, now_s: int) -> tuple[int, int] | None:
        """Return the seconds that live summaries cover, None when they do not answer the range."""
        start_s = int(params.from_s)
        span = self._store.live.span(start_s, now_s + 1, 3)
        if span is None or span[1] < now_s - _LIVE_AGE_S:
            return None
        if span[0] > start_s + 2 and params.to_s - params.from_s > 15:
            return None
        return span[0], span[1] + 1

    def _services(self, view: View) -> Services:
        by = ("environment", "service")
        found = dict(self._named(view, by))
        parts = names_of(
            self._store.read(replace(view.selection, group_by=(*by, "version", "instance")))
        )
        in_flight = self._sums(view.params, _ACTIVE)
        sockets = self._sums(view.params, "trimtab.app.websockets")
        streams = self._sums(view.params, "trimtab.app.event_streams")
        services = []
        for account in self._accounts(view.params, found):
            name = (account.environment, account.service)
            mine = [part for part in parts if part[:2] == name]
            stats = found.get(name) or Stats(**no_requests())
            services.append(
                ServiceRow(
                    environment=account.environment,
                    service=account.service,
                    versions=sorted({part[2] for part in mine if part[2]}),
                    instances=sorted({part[3] for part in mine if part[3]}),
                    in_flight=in_flight.get(name),
                    open_web_sockets=sockets.get(name),
                    open_event_streams=streams.get(name),
                    accounting=accounting_of(account),
                    **fields_of(stats),
                )
            )
        return Services(from_=view.from_text, to=view.to_text, services=services)

    def _accounts(
        self, params: Params, found: Iterable[tuple[str, ...]]
    ) -> Sequence[ServiceAccount]:
        """Return the accounts of services chosen; one that is only live yet has an empty one."""
        accounts = {(row.environment, row.service): row for row in self._store.accounts()}
        for name in found:
            accounts.setdefault((name[0], name[1]), ServiceAccount(name[0], name[1]))
        return [
            row
            for _, row in sorted(accounts.items())
            if params.environment in (None, row.environment)
            and params.service in (None, row.service)
        ]

    def _routes(self, view: View, by: str, limit: int) -> Routes:
        by_route = ("environment", "service", "route", "method")
        rows, stats_of_rows = self._stats(view, by_route)
        times = rows.columns.value("sum_us") / 1000
        routes = [
            RouteRow(
                environment=name[0],
                service=name[1],
                route=name[2],
                method=name[3],
                total_time=float(ms),
                **fields_of(stats),
            )
            for name, ms, stats in zip(names_of(rows), times, stats_of_rows, strict=True)
            if stats.requests or stats.web_sockets or stats.event_streams
        ]
        order: dict[str, Callable[[RouteRow], float]] = {
            "p99": lambda row: row.p99 or 0.0,
            "totalTime": lambda row: row.total_time,
            "errorRate": lambda row: row.error_rate,
            "rps": lambda row: row.requests_per_second,
        }
        routes.sort(key=lambda row: (-order[by](row), row.service, row.route, row.method))
        return Routes(from_=view.from_text, to=view.to_text, routes=routes[:limit])

    def _response_time(self, view: View) -> ResponseTime:
        return ResponseTime(
            from_=view.from_text,
            to=view.to_text,
            step=1 if view.selection.live else WINDOW_S,
            overall=self._overall(view),
            byStatusClass={name[0]: row for name, row in self._named(view, ("status_class",))},
            byService=[
                ServiceStats(environment=name[0], service=name[1], **fields_of(row))
                for name, row in self._named(view, ("environment", "service"))
            ],
        )

    def _history(self, view: View, period: str) -> History:
        step_s = view.selection.edges_s[1] - view.selection.start_s
        rows, found = self._stats(replace(view, seconds=step_s))
        series = [
            HistoryRow(t=view.params.shown(float(t)), **fields_of(stats))
            for t, stats in zip(rows.t, found, strict=True)
        ]
        return History(
            from_=view.from_text, to=view.to_text, period=period, step=step_s, series=series
        )

    def _current(self, view: View) -> Current:
        stats = self._overall(view)
        readings = self._readings(view.params)
        processes = [row for row in readings if row.service]
        own = {name: [row.value for row in processes if row.name == name] for name in _CURRENT}
        delays, uptimes = own["trimtab.app.loop_delay"], own["process.uptime"]
        memory, active = own["process.memory.usage"], own[_ACTIVE]
        cpu = own["process.cpu.utilization"]
        quantiles = {name: getattr(stats, name) for name in TIMES}
        return Current(
            timestamp=view.params.shown(view.params.now_s),
            cpu_usage={
                "user": None,
                "system": None,
                "utilization": sum(cpu) if cpu else None,
            },
            memory_usage={
                "rss": sum(memory) if memory else None,
                "heapTotal": None,
                "heapUsed": None,
                "external": None,
                "arrayBuffers": None,
            },
            event_loop_delay=max(delays) * 1000 if delays else None,
            active_handles=None,
            active_requests=int(sum(active)) if active else None,
            uptime=max(uptimes) if uptimes else None,
            requests_per_second=stats.requests_per_second,
            error_rate=stats.error_rate,
            response_time=quantiles,
            system={row.name: row.value for row in readings if not row.service},
            instances=instances_of(processes),
        )

    def _overall(self, view: View) -> Stats:
        _, found = self._stats(view)
        return found[0] if found else Stats(**no_requests())

    def _stats(self, view: View, by: tuple[str, ...] = ()) -> tuple[Rows, list[Stats]]:
        """Return a row for each group and step that holds something, and its figures."""
        rows = self._store.read(replace(view.selection, group_by=(*by, "status_class")))
        return stats_of(rows, view.seconds, view.threshold_us)

    def _named(self, view: View, by: tuple[str, ...]) -> list[tuple[tuple[str, ...], Stats]]:
        """Return the figures of each group, by name."""
        rows, found = self._stats(view, by)
        return sorted(zip(names_of(rows), found, strict=True), key=lambda row: row[0])

    def _readings(self, params: Params) -> list[Reading]:
        """Return fresh readings of what was chosen; a host's own are in every choice."""
        return [
            row
            for row in self._store.gauges.fresh(self._clock())
            if params.environment in (None, row.environment)
            or (not row.environment and not row.service)
            if params.service in (None, row.service) or not row.service
            if params.instance in (None, row.instance) or not row.instance
        ]

    def _sums(self, params: Params, reading: str) -> dict[tuple[str, str], int]:
        """Return the sum of a reading over the processes of each service."""
        sums: dict[tuple[str, str], int] = {}
        for row in self._readings(params):
            if row.name == reading and row.service:
                name = (row.environment, row.service)
                sums[name] = sums.get(name, 0) + int(row.value)
        return sums


_CURRENT: Final = (
    "process.cpu.utilization",
    "process.memory.usage",
    "process.uptime",
    "trimtab.app.loop_delay",
    _ACTIVE,
)


def _selection(params: Params) -> Selection:
    chosen = {
        "environment": params.environment,
        "service": params.service,
        "instance": params.instance,
        "route": params.own.get("route"),
    }
    return Selection((0, 1), where={k: text for k, text in chosen.items() if text is not None})
