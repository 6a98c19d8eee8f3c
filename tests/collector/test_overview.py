"""The overview: what it says first in each situation, and how it names what it read."""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from support.processes.servers import short_dir
from support.stores.apiworld import World, world
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Sent, append
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.errors import instant
from trimtab_collector.overview.overviews import Overviews
from trimtab_collector.overview.situation import Sources
from trimtab_core.batches import GaugeRow, Point, SeriesKey
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

#: on a full ten minutes
NOW_S: Final = 1_793_098_800
HOUR_S: Final = 3600
DAY_S: Final = 86_400
LINES: Final = {
    "responseTime": (1000.0, 5000.0),
    "errorRate": (0.05, 0.1),
    "memoryUsage": (0.8, 0.9),
}


class Fired:
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

    def fill(
        self,
        from_s: int,
        to_s: int,
        points: Callable[[int], Mapping[SeriesKey, Point]],
        *,
        step_s: int = 60,
        services: Sequence[str] = ("shop",),
        rows: Callable[[int], Sequence[MeasureRow]] = lambda t: (),
        events: Callable[[int], Sequence[EventRow]] = lambda t: (),
    ) -> None:
        """Send a window of ten seconds each step, with gauges of the processes of services."""
        sent = []
        for t in (*range(from_s, to_s - 10, step_s), to_s - 10):
            gauges = [GaugeRow("", "", "host", "system.memory.usage", 1e9),
                      GaugeRow("", "", "host", "system.memory.utilization", 0.4),
                      GaugeRow("", "", "host", "system.cpu.utilization", 0.25),
                      GaugeRow("", "", "host", "system.cpu.logical.count", 8.0)]  # fmt: skip
            gauges += [GaugeRow("live", name, f"host#{place}", "process.uptime", 900.0)
                       for place, name in enumerate(services)]  # fmt: skip
            found = points(t)
            packed = pack_rows(rows(t), events(t))
            batch = a_batch(self._seq, found, window_s=t, gauges=gauges,
                            rows=packed[0] if packed else b"")  # fmt: skip
            sent.append(Sent(batch, found))
            self._seq += 1
        append(self.world.engine, *sent)

    def times(self, ms: float, count: int = 60, errors: int = 0, **sums: float) -> Point:
        """Return requests that take around a time; sums are ms of each request."""
        some = [max(1, int(1000 * ms * self._dice.lognormvariate(0, 0.2))) for _ in range(count)]
        whole = {f"{name}_us": int(1000 * value * count) for name, value in sums.items()}
        return point_of(some, errors, **whole)

    def ask(self, *alerts: AlertBody, **query: object) -> Any:
        """Return the overview, with these alerts."""
        sources = Sources(self.world.reader, self.world.marks, Fired(*alerts), lambda: LINES)
        self.world.parts[Overviews] = Overviews(sources)
        return self.world.ask("/overview", **query)


def key(route: str = "/", service: str = "shop", **more: str) -> SeriesKey:
    return key_of(route, service, environment="live", **more)


@contextmanager
def town() -> Iterator[Town]:
    with short_dir() as directory, world(directory, empty=True) as found:
        yield Town(found)


def steady(place: Town, *services: str, ms: float = 100) -> Callable[[int], Any]:
    return lambda t: {key(service=name): place.times(ms) for name in services or ("shop",)}


@pytest.fixture(scope="module")
def calm() -> Iterator[Town]:
    """Three hours in which nothing changes."""
    with town() as place:
        names = ("shop", "books")
        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place, *names), services=names)
        yield place


@pytest.fixture(scope="module")
def slow() -> Iterator[Town]:
    """Three hours; for 24 minutes orders of shop have waited for the database, after a deploy."""
    with town() as place:
        began_s = NOW_S - 24 * 60

        def points(t: int) -> Mapping[SeriesKey, Point]:
            late = t >= began_s
            version = "2.8.1" if late else "2.8.0"
            orders = place.times(400, db=350) if late else place.times(100, db=50)
            return {
                key("/orders/{id}", version=version): orders,
                key("/cart", version=version): place.times(80),
                key(service="books"): place.times(50),
            }

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points, services=("shop", "books"))
        place.world.marks.add("deploy", "2.8.1", "live", "shop", began_s - 60)
        yield place


def test_when_all_is_well_it_says_so_and_names_what_is_closest_to_trouble(calm: Town) -> None:
    found = calm.ask()
    sentence = found["sentence"]
    assert sentence["text"] == "All is well: everything is as usual."
    assert (sentence["severity"], sentence["since"]) == ("ok", None)
    assert sentence["detail"] == "Closest to trouble: memory of host is 40 %; 80 % is a warning."
    assert sentence["links"] == [{"page": "hosts", "params": {"host": "host"}, "text": "host"}]
    assert {each["judgement"] for each in found["tiles"]} == {"ordinary"}
    assert [each["state"] for each in found["services"]] == ["ok", "ok"]


def test_a_slow_service_is_named_with_its_beginning_its_cause_and_the_deploy(slow: Town) -> None:
    found = slow.ask(tz="Asia/Seoul")
    sentence = found["sentence"]
    assert sentence["text"].startswith("shop has been slower than usual since 19:36: p95 is 5")
    assert sentence["text"].endswith(" ms, usually 129 ms.")
    assert (sentence["severity"], sentence["since"]) == (
        "warning", instant(NOW_S - 24 * 60, ZoneInfo("Asia/Seoul"))
    )  # fmt: skip
    assert re.fullmatch(
        r"9\d % of the rise is database time, most of it in GET /orders/{id}\. Version 2\.8\.1 was "
        r"deployed at 19:35\. Other services are as usual\. See why",
        sentence["detail"],
    )
    leads = {each["text"]: (each["page"], each["params"]) for each in sentence["links"]}
    place = {"environment": "live", "service": "shop"}
    assert leads["shop"] == ("service", place)
    assert leads["GET /orders/{id}"] == ("route", {**place, "route": "/orders/{id}"})
    assert all(text in f"{sentence['text']} {sentence['detail']}" for text in leads)
    tiles = {each["name"]: each for each in found["tiles"]}
    assert tiles["p95"]["judgement"] == "worse"
    assert tiles["p95"]["change"] > 2
    assert [each["service"] for each in found["services"]] == ["shop", "books"]
    assert [each["state"] for each in found["services"]] == ["warning", "ok"]
    assert found["services"][0]["shares"]["database"] > 0.5
    assert [(each["kind"], each["text"]) for each in found["happened"]] == [
        ("deploy", "shop 2.8.1 deployed")
    ]


def test_it_says_the_same_in_korean(slow: Town) -> None:
    sentence = slow.ask(lang="ko", tz="Asia/Seoul")["sentence"]
    assert sentence["text"].startswith("19:36부터 shop의 응답이 평소보다 느립니다. p95 5")
    assert "데이터베이스 시간" in sentence["detail"]
