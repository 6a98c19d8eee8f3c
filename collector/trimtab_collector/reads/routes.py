"""Routes: those that matter most, and their response times."""

from typing import Final, NamedTuple

import msgspec
import numpy as np

from trimtab_collector.contract.figures import TIMES
from trimtab_collector.contract.parameters import LIMIT, ROUTE, STEP, Parameters
from trimtab_collector.contract.routes import (
    KIND,
    LATENCY_BY,
    RANKINGS,
    ROUTES_BY,
    EventStreamRow,
    Latency,
    LatencyRow,
    LatencyStep,
    RouteList,
    RouteRow,
    WebSocketRow,
)
from trimtab_collector.reads.figures import REQUEST_FIGURES, Figures, group_of, ranked
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.steps import MOST
from trimtab_collector.storage.store import TooMuchError

__all__ = ["ROUTE_FIELDS", "latency", "routes"]

#: what tells a route from others
ROUTE_FIELDS: Final = ("environment", "service", "route", "method")
_LATENCIES: Final = ("requests", "requests_per_second", *TIMES)
#: steps of all routes of one answer together
_MOST_STEPS: Final = 20_000


def routes(reader: StoreReader, parameters: Parameters) -> RouteList:
    """Return the routes with requests or connections in the range, the largest first."""
    time_range = reader.ranges.latest(parameters)
    figures = reader.figures(time_range, ROUTE_FIELDS)
    kind, limit = parameters[KIND], parameters[LIMIT]
    places = np.zeros(0, np.int64)
    if kind in ("", "request"):
        some = np.flatnonzero(figures["requests"] > 0)
        places = ranked(figures, RANKINGS[parameters[ROUTES_BY]], some)
    shown, names = places[:limit], figures.names
    rows: list[RouteRow | WebSocketRow | EventStreamRow] = [
        RouteRow(**group_of(ROUTE_FIELDS, names[place]), **row)
        for place, row in zip(
            shown.tolist(), figures.dicts(shown, (*REQUEST_FIGURES, "total_time")), strict=True
        )
    ]
    streams = [each for each in _STREAMS if kind in ("", each.kind)]
    connections = [row for each in streams for row in _connections(figures, each)]
    count = len(places) + len(connections)
    return RouteList(
        **time_range.resolved(figures.rows.resolution_s),
        routes=(rows + connections)[:limit],
        routes_left_out=max(0, count - limit),
    )


class _Stream(NamedTuple):
    """A kind of connection: its figures, and its row."""

    kind: str
    counted: str
    mean: str
    row: type[WebSocketRow | EventStreamRow]


_STREAMS: Final = (
    _Stream("webSocket", "web_sockets", "web_socket_mean", WebSocketRow),
    _Stream("eventStream", "event_streams", "event_stream_mean", EventStreamRow),
)


def _connections(figures: Figures, stream: _Stream) -> list[WebSocketRow | EventStreamRow]:
    """Return the rows of one kind of connection, those with the most first."""
    counts, means, names = figures[stream.counted], figures[stream.mean], figures.names
    places = ranked(figures, stream.counted, np.flatnonzero(counts > 0))
    return [
        stream.row(
            **group_of(ROUTE_FIELDS, names[place]),
            connections=int(counts[place]),
            connections_per_second=float(counts[place] / figures.seconds[place]),
            open_mean=float(means[place]),
        )
        for place in places.tolist()
    ]


def latency(reader: StoreReader, parameters: Parameters) -> Latency:
    """Return the response times of routes, the slowest first; with a route or step in steps.

    Raises TooMuchError for too many steps of too many routes.
    """
    stepped = ROUTE.name in parameters.given or STEP.name in parameters.given
    ranges = reader.ranges
    time_range = ranges.stepped(parameters, MOST) if stepped else ranges.latest(parameters)
    figures = reader.figures(time_range.whole(), ROUTE_FIELDS)
    some = np.flatnonzero(figures["requests"] > 0)
    places = ranked(figures, RANKINGS[parameters[LATENCY_BY]], some)
    shown, names = places[: parameters[LIMIT]], figures.names
    resolution_s = figures.rows.resolution_s
    series: dict[tuple[str, ...], list[LatencyStep]] = {}
    if stepped:
        _bound(len(time_range.selection.edges_s) - 1, len(figures))
        by_step = reader.figures(time_range, ROUTE_FIELDS)
        resolution_s = by_step.rows.resolution_s
        series = _series(by_step, time_range)
    fields = figures.dicts(shown, _LATENCIES)
    return Latency(
        **time_range.resolved(resolution_s),
        step=time_range.step or None,
        routes=[
            LatencyRow(
                **group_of(ROUTE_FIELDS, names[place]),
                **row,
                series=series.get(names[place], []) if stepped else msgspec.UNSET,
            )
            for place, row in zip(shown.tolist(), fields, strict=True)
        ],
        routes_left_out=len(places) - len(shown),
    )


def _series(figures: Figures, time_range: TimeRange) -> dict[tuple[str, ...], list[LatencyStep]]:
    """Return the steps of each route that have requests."""
    places = np.flatnonzero(figures["requests"] > 0)
    names, times = figures.names, figures.rows.t.tolist()
    series: dict[tuple[str, ...], list[LatencyStep]] = {}
    for place, fields in zip(places.tolist(), figures.dicts(places, _LATENCIES), strict=True):
        step = LatencyStep(t=time_range.parameters.shown(times[place]), **fields)
        series.setdefault(names[place], []).append(step)
    return series


def _bound(steps: int, groups: int) -> None:
    if steps * groups > _MOST_STEPS:
        raise TooMuchError(
            f"expected at most {_MOST_STEPS} steps of all routes together, got {steps} steps of "
            f"{groups} routes: choose a longer step, one service or one method"
        )
