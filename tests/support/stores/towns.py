"""A town of services whose requests are as a test says, for tests of the overview."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from support.processes.servers import short_dir
from support.stores.apiworld import World, world
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Sent, append
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.languages import LANG
from trimtab_collector.contract.overview import OVERVIEW_LIMIT
from trimtab_collector.contract.parameters import APDEX, OWNERS, RANGE, Parameters, parse
from trimtab_collector.overview.overviews import Overviews
from trimtab_collector.overview.situation import Sources
from trimtab_core.batches import GaugeRow, Point, SeriesKey
from trimtab_core.measures import Delta
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

__all__ = [
    "DAY_S",
    "HOUR_S",
    "LINES",
    "NOW_S",
    "FiredAlerts",
    "Town",
    "counted",
    "key",
    "steady",
    "town",
]

#: on a full ten minutes
NOW_S: Final = 1_793_098_800
HOUR_S: Final = 3600
DAY_S: Final = 86_400
LINES: Final = {
    "responseTime": (1000.0, 5000.0),
    "errorRate": (0.05, 0.1),
    "memoryUsage": (0.8, 0.9),
}


class FiredAlerts:
    """A book with these alerts."""

    def __init__(self, *alerts: AlertBody) -> None:
        self._alerts = alerts

    def between(self, *_: object) -> Sequence[AlertBody]:
        return self._alerts

    def open(self, *_: object) -> Sequence[AlertBody]:
        return [each for each in self._alerts if each.resolved_at is None]


class Town:
    """Services whose requests are as a test says; now is NOW_S."""

    def __init__(self, found: World) -> None:
        self.world = found
        found.clock.now_s = NOW_S
        self._dice = random.Random(7)
        self._seq = 0
        #: metric -> the lines of a warning and of a critical state
        self.lines: Mapping[str, tuple[float, float]] = LINES

    def fill(
        self,
        from_s: int,
        to_s: int,
        points: Callable[[int], Mapping[SeriesKey, Point]],
        *,
        step_s: int = 60,
        services: Sequence[str] = ("shop",),
        agent: str = "agent-1",
        host: str = "host",
        gauges: Sequence[GaugeRow] = (),
        rows: Callable[[int], Sequence[MeasureRow]] = lambda t: (),
        events: Callable[[int], Sequence[EventRow]] = lambda t: (),
    ) -> None:
        """Send a window of ten seconds each step, with gauges of the processes of services."""
        sent = []
        for t in (*range(from_s, to_s - 10, step_s), to_s - 10):
            of_host = {"memory.usage": 1e9, "memory.utilization": 0.4,
                       "cpu.utilization": 0.25, "cpu.logical.count": 8.0}  # fmt: skip
            told = [GaugeRow("", "", host, f"system.{name}", each)
                    for name, each in of_host.items()]  # fmt: skip
            told += [GaugeRow("live", name, f"{host}#{place}", "process.uptime", 900.0)
                     for place, name in enumerate(services)]  # fmt: skip
            found = points(t)
            packed = pack_rows(rows(t), events(t))
            batch = a_batch(self._seq, found, window_s=t, gauges=[*told, *gauges], agent=agent,
                            rows=packed[0] if packed else b"")  # fmt: skip
            sent.append(Sent(batch, found))
            self._seq += 1
        append(self.world.engine, *sent)

    def times(self, ms: float, count: int = 60, errors: int = 0, **sums: float) -> Point:
        """Return requests that take around a time; sums are ms of each request."""
        some = [max(1, int(1000 * ms * self._dice.lognormvariate(0, 0.2))) for _ in range(count)]
        whole = {f"{name}_us": int(1000 * value * count) for name, value in sums.items()}
        return point_of(some, errors, **whole)

    def parameters(self) -> Parameters:
        """Return those of an overview for which nothing is asked."""
        return parse((*OWNERS[:2], *RANGE, OVERVIEW_LIMIT, APDEX, LANG), (), NOW_S, HOUR_S)

    def ask(self, *alerts: AlertBody, **query: object) -> Any:
        """Return the overview, with these alerts."""
        sources = Sources(
            self.world.reader, self.world.marks, FiredAlerts(*alerts), lambda: self.lines
        )
        self.world.parts[Overviews] = Overviews(sources)
        return self.world.ask("/overview", **query)


def key(route: str = "/", service: str = "shop", **more: str) -> SeriesKey:
    return key_of(route, service, environment="live", **more)


@contextmanager
def town() -> Iterator[Town]:
    with short_dir() as directory, world(directory, empty=True) as found:
        yield Town(found)


def counted(value: float) -> Delta:
    delta = Delta()
    delta.add([value])
    return delta


def steady(place: Town, *services: str, ms: float = 100) -> Callable[[int], Any]:
    return lambda t: {key(service=name): place.times(ms) for name in services or ("shop",)}
