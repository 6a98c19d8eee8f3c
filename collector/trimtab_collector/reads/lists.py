"""Lists: every service, the routes that matter most, response times by part."""

from typing import Final

import msgspec
import numpy as np

from trimtab_collector.contract.bodies import (
    Accounting,
    Latency,
    LatencyRow,
    LatencyStep,
    ResponseTime,
    RouteList,
    RouteRow,
    ServiceRow,
    Services,
    ServiceStats,
    Stats,
    VersionStats,
)
from trimtab_collector.reads.figures import FIGURES, TIMES, Figures, no_requests, ranked
from trimtab_collector.reads.ranges import View
from trimtab_collector.reads.source import Source, frame_of, group_of
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import ServiceAccounting, TooMuchError

__all__ = ["ACTIVE", "RANKINGS", "ROUTE", "latency", "response_time", "routes", "services"]

#: what tells a route from others
ROUTE: Final = ("environment", "service", "route", "method")
#: ranking of routes -> figure
RANKINGS: Final = {
    "p99": "p99",
    "totalTime": "total_time",
    "errorRate": "error_rate",
    "rps": "requests_per_second",
}
ACTIVE: Final = "http.server.active_requests"
_LATENCIES: Final = ("requests", "requests_per_second", *TIMES)
#: steps of all routes of one answer together
_MOST_STEPS: Final = 20_000


def services(source: Source, view: View) -> Services:
    """Return every service, with its requests in the range and its account."""
    by = ("environment", "service")
    figures = source.figures(view, by)
    found = dict(zip(figures.names, figures.dicts(), strict=True))
    parts = source.rows(view, (*by, "version", "instance"))
    names = [parts.groups[place] for place in parts.group]
    in_flight = source.sums(view.params, ACTIVE)
    sockets = source.sums(view.params, "trimtab.app.websockets")
    streams = source.sums(view.params, "trimtab.app.event_streams")
    answer = []
    for account in source.accounts(view.params, found):
        name = (account.environment, account.service)
        mine = [part for part in names if part[:2] == name]
        answer.append(
            ServiceRow(
                environment=account.environment,
                service=account.service,
                versions=sorted({part[2] for part in mine if part[2]}),
                instances=sorted({part[3] for part in mine if part[3]}),
                in_flight=in_flight.get(name),
                open_web_sockets=sockets.get(name),
                open_event_streams=streams.get(name),
                accounting=_accounting(account),
                **found.get(name, no_requests()),
            )
        )
    return Services(**frame_of(view, figures.rows.resolution_s), services=answer)


def routes(source: Source, view: View, by: str, limit: int) -> RouteList:
    """Return the routes with requests in the range, at most limit, the largest first."""
    figures = source.figures(view, ROUTE)
    places = ranked(figures, RANKINGS[by], figures.filled())
    shown, names = places[:limit], figures.names
    fields = figures.dicts(shown, (*FIGURES, "total_time"))
    return RouteList(
        **frame_of(view, figures.rows.resolution_s),
        routes=[
            RouteRow(**group_of(ROUTE, names[place]), **row)
            for place, row in zip(shown.tolist(), fields, strict=True)
        ],
        routes_left_out=len(places) - len(shown),
    )


def latency(source: Source, view: View, by: str, limit: int) -> Latency:
    """Return the response times of routes, the slowest first, and their steps if view has some.

    Raises TooMuchError for too many steps of too many routes.
    """
    figures = source.figures(view.whole(), ROUTE)
    places = ranked(figures, by, np.flatnonzero(figures["requests"] > 0))
    shown, names = places[:limit], figures.names
    resolution_s = figures.rows.resolution_s
    series: dict[tuple[str, ...], list[LatencyStep]] = {}
    if view.step:
        _bound(len(view.selection.edges_s) - 1, len(figures))
        stepped = source.figures(view, ROUTE)
        resolution_s = stepped.rows.resolution_s
        series = _series(stepped, view)
    fields = figures.dicts(shown, _LATENCIES)
    return Latency(
        **frame_of(view, resolution_s),
        step=view.step or None,
        routes=[
            LatencyRow(
                **group_of(ROUTE, names[place]),
                **row,
                series=series.get(names[place], []) if view.step else msgspec.UNSET,
            )
            for place, row in zip(shown.tolist(), fields, strict=True)
        ],
        routes_left_out=len(places) - len(shown),
    )


def response_time(source: Source, view: View) -> ResponseTime:
    """Return figures over everything chosen, by class of status, by service and by version."""
    overall, resolution_s = source.overall(view)
    by_service, by_version = ("environment", "service"), ("environment", "service", "version")
    return ResponseTime(
        **frame_of(view, resolution_s),
        step=1 if view.selection.live else WINDOW_S,
        overall=Stats(**overall),
        by_status_class={
            name[0]: Stats(**row) for name, row in source.named(view, ("status_class",))
        },
        by_service=[
            ServiceStats(**group_of(by_service, name), **row)
            for name, row in source.named(view, by_service)
        ],
        by_version=[
            VersionStats(**group_of(by_version, name), **row)
            for name, row in source.named(view, by_version)
        ],
    )


def _series(figures: Figures, view: View) -> dict[tuple[str, ...], list[LatencyStep]]:
    """Return the steps of each route that have requests."""
    places = np.flatnonzero(figures["requests"] > 0)
    names, times = figures.names, figures.rows.t.tolist()
    series: dict[tuple[str, ...], list[LatencyStep]] = {}
    for place, fields in zip(places.tolist(), figures.dicts(places, _LATENCIES), strict=True):
        step = LatencyStep(t=view.params.shown(times[place]), **fields)
        series.setdefault(names[place], []).append(step)
    return series


def _bound(steps: int, groups: int) -> None:
    if steps * groups > _MOST_STEPS:
        raise TooMuchError(
            f"expected at most {_MOST_STEPS} steps of all routes together, got {steps} steps of "
            f"{groups} routes: choose a longer step, one service or one method"
        )


def _accounting(account: ServiceAccounting) -> Accounting:
    return Accounting(
        counted=account.counted,
        sent=account.sent,
        held=account.held,
        agent_lost=account.agent_lost,
        dropped=account.dropped,
        requests=account.requests,
        backgrounds=account.backgrounds,
        connections=account.connections,
    )
