"""History with rows for empty steps: quiet, down and gap are three different things."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, World, world
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Sent, append
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.reports.uptime import uptime
from trimtab_core.batches import GaugeRow

START_S = NOW_S - 3600


def window(found: World, seq: int, t: int, agent: str, *, runs: bool, asked: bool) -> None:
    gauges = [GaugeRow("", "", f"host-of-{agent}", "system.memory.usage", 1e9)]
    if runs:
        gauges.append(GaugeRow("test", "shop", "host#0", "process.uptime", 5.0))
    points = {key_of(): point_of([2000])} if asked else {}
    batch = a_batch(seq, points, agent=agent, window_s=t, gauges=gauges)
    append(found.engine, Sent(batch, points))


@pytest.fixture(scope="module")
def hour() -> Iterator[World]:
    """An hour: 10 minutes each of requests, quiet, down, gap, down of its agent only, requests."""
    with short_dir() as directory, world(directory, empty=True) as found:
        for seq, t in enumerate(range(START_S, NOW_S, 60)):
            part = (t - START_S) // 600
            if part not in (3, 4):
                window(found, seq, t, "agent-1", runs=part in (0, 1, 5), asked=part in (0, 5))
            if part != 3:
                window(found, seq, t, "agent-2", runs=False, asked=False)
        yield found


def states(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(state, len([*some])) for state, some in groupby(row["state"] for row in rows)]


def test_a_step_says_why_it_has_no_requests(hour: World) -> None:
    rows = hour.ask("/metrics/history", from_=START_S, to=NOW_S, service="shop", empty="rows")
    assert states(rows["series"]) == [
        ("measured", 10), ("quiet", 10), ("down", 10), ("gap", 20), ("measured", 10)
    ]  # fmt: skip


def test_an_agent_without_processes_does_not_hide_the_silence_of_others(hour: World) -> None:
    rows = hour.ask("/metrics/history", from_=START_S, to=NOW_S, empty="rows", step=600)
    assert states(rows["series"])[3] == ("gap", 2)


def test_a_gap_has_no_figures_and_a_quiet_step_has_zeros(hour: World) -> None:
    rows = hour.ask(
        "/metrics/history", from_=START_S, to=NOW_S, service="shop", empty="rows", step=600
    )["series"]
    by_state = {row["state"]: row for row in rows}
    gap = by_state["gap"]
    assert {value for name, value in gap.items() if name not in ("t", "seconds", "state")} == {None}
    quiet = by_state["quiet"]
    assert (quiet["requests"], quiet["requestsPerSecond"], quiet["p95"]) == (0, 0.0, None)


def test_without_being_asked_only_steps_with_requests_have_rows(hour: World) -> None:
    rows = hour.ask("/metrics/history", from_=START_S, to=NOW_S, service="shop", step=600)
    assert states(rows["series"]) == [("measured", 2)]


def test_a_step_that_has_not_arrived_is_no_gap(hour: World) -> None:
    rows = hour.ask(
        "/metrics/history", from_=START_S, to=NOW_S + 600, service="shop", empty="rows"
    )["series"]
    assert rows[-1]["state"] == "measured"


def test_a_history_carries_the_marks_of_its_range(hour: World) -> None:
    for number, (service, at_s) in enumerate((("shop", START_S), ("books", START_S), ("", NOW_S))):
        hour.marks.add("deploy", str(number), "", service, at_s)
    asked = {"from_": START_S, "to": NOW_S, "step": 600}
    for more in ({}, {"groupBy": "route"}):
        marks = hour.ask("/metrics/history", service="shop", **asked, **more)["marks"]
        assert [(mark["name"], mark["kind"]) for mark in marks] == [("0", "deploy")]
    assert len(hour.ask("/metrics/history", **asked)["marks"]) == 2


def test_rows_of_empty_steps_and_groups_exclude_each_other(hour: World) -> None:
    with pytest.raises(ApiError, match="without groupBy"):
        hour.ask("/metrics/history", groupBy="route", empty="rows")


@pytest.mark.parametrize("agents", [1, 60])
def test_all_answers_say_that_nobody_watched_however_many_agents_fell_silent(agents: int) -> None:
    begin_s = NOW_S - 1800
    with short_dir() as directory, world(directory, empty=True) as found:
        sent = []
        for seq, t in enumerate(range(begin_s, NOW_S, 60)):
            other = [GaugeRow("", "", "other", "system.memory.usage", 1e9)]
            sent.append(Sent(a_batch(seq, {}, agent="other", window_s=t, gauges=other), {}))
            if t >= begin_s + 900:
                continue
            for number in range(agents):
                mine = [
                    GaugeRow("", "", f"host-{number}", "system.memory.usage", 1e9),
                    GaugeRow("test", "shop", f"host-{number}#0", "process.uptime", 5.0),
                ]
                points = {} if number else {key_of(): point_of([2000])}
                batch = a_batch(seq, points, agent=f"agent-{number}", window_s=t, gauges=mine)
                sent.append(Sent(batch, points))
        append(found.engine, *sent)
        (shop,) = uptime(found.engine.store, [], begin_s, NOW_S, NOW_S + 60, {"service": "shop"})
        assert (shop.up_s, shop.down_s, shop.unknown_s) == (900, 0, 900)
        for chosen in ({"service": "shop"}, {}):
            asked = {"from_": begin_s, "to": NOW_S, **chosen}
            rows = found.ask("/metrics/history", **asked, empty="rows")["series"]
            assert states(rows) == [("measured", 15), ("gap", 15)]
            rate = found.ask("/response-time", **asked)["overall"]["requestsPerSecond"]
            assert rate == pytest.approx(15 / 900, rel=0.02)
