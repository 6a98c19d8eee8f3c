"""Instances of services: those that served requests, and those that nobody asked anything."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, World, world
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Sent, append
from trimtab_core.batches import GaugeRow

#: windows: an hour ago, and the last one
THEN_S, LAST_S = NOW_S - 3600, NOW_S - 10


def up(service: str, instance: str) -> GaugeRow:
    return GaugeRow("test", service, instance, "process.uptime", 7.0)


@pytest.fixture(scope="module")
def some() -> Iterator[World]:
    """Yield a shop of which one worker of three is asked, and a service that nobody asks."""
    with short_dir() as directory, world(directory, empty=True) as found:
        for seq, (window_s, gauges) in enumerate(
            (
                (THEN_S, [up("shop", "gone#0"), up("shop", "host#0")]),
                (LAST_S, [up("shop", f"host#{n}") for n in range(3)] + [up("quiet", "host#9")]),
            )
        ):
            points = {key_of(instance="host#0"): point_of([2_000])}
            host = GaugeRow("", "", "host", "system.cpu.load_1m", 0.5)
            batch = a_batch(seq, points, window_s=window_s, gauges=[*gauges, host])
            append(found.engine, Sent(batch, points))
        yield found


def instances(some: World, **query: Any) -> dict[str, list[str]]:
    services = some.ask("/services", **query)["services"]
    return {each["service"]: each["instances"] for each in services}


def test_workers_without_requests_are_instances(some: World) -> None:
    assert instances(some) == {
        "quiet": ["host#9"],
        "shop": ["host#0", "host#1", "host#2"],
    }


def test_a_service_that_nobody_asks_has_no_requests_and_no_times(some: World) -> None:
    (quiet,) = some.ask("/services", service="quiet")["services"]
    assert (quiet["requests"], quiet["p99"], quiet["versions"]) == (0, None, [])
    assert quiet["statusCodes"] == {}


def test_an_instance_is_listed_for_the_ranges_in_which_it_was_there(some: World) -> None:
    assert instances(some, from_="-2h", to="-30m")["shop"] == ["gone#0", "host#0"]
    assert "quiet" not in instances(some, from_="-2h", to="-30m")
    assert instances(some, from_="-2h")["shop"] == ["gone#0", "host#0", "host#1", "host#2"]


def test_filters_that_gauges_have_choose_among_idle_ones(some: World) -> None:
    assert instances(some, instance="host#2")["shop"] == ["host#2"]
    assert instances(some, environment="live") == {}


@pytest.mark.parametrize("name", ["version", "route", "method", "statusClass"])
def test_what_gauges_do_not_have_chooses_those_with_such_requests_alone(
    some: World, name: str
) -> None:
    text = {"version": "1", "route": "/", "method": "GET", "statusClass": "2xx"}[name]
    assert instances(some, **{name: text})["shop"] == ["host#0"]


def test_a_range_of_seconds_that_ends_now_has_the_workers_of_now(some: World) -> None:
    assert instances(some, from_="-5s")["shop"] == ["host#0", "host#1", "host#2"]
