"""Wall clocks that jump: of an app, of the agent, of both; durations and windows stay true."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support.processes.faketime import WallClock
from support.processes.load import Load
from support.processes.servers import Agent, App, Collector, wait_for
from support.processes.stack import Stack, stack, uvicorn

HOUR = 3600
#: every request of such an app is a slow one
SLOW = {"TRIMTAB_SLOW_REQUEST_MS": "1"}
JUMPS = (-2 * HOUR, 3 * HOUR, 0)


def more(load: Load, answers: int) -> None:
    before = load.answered
    wait_for(lambda: load.answered > before + answers, f"{answers} more answers", 20)


def exact(system: Stack, sent: int) -> list[dict[str, Any]]:
    """Wait until all is counted; check durations and times, return the history by window."""
    api = system.collector.api
    system.wait_booked("shop", sent, timeout_s=30)
    account = api.accounting("shop")
    assert (account["requests"], account["agentLost"], account["dropped"]) == (sent, 0, {})
    figures = api.get("/response-time", service="shop", from_="-6h")["overall"]
    assert figures["requests"] == sent
    assert 0 < figures["p50"] <= figures["max"] < 30_000
    series: list[dict[str, Any]] = api.get(
        "/metrics/history", service="shop", from_="-6h", step=10
    )["series"]
    for row in series:
        t = datetime.fromisoformat(row["t"]).timestamp()
        assert time.time() - 600 < t <= time.time() + 1, (row["t"], series)
    assert sum(row["requests"] for row in series) == sent
    ahead = str(int(time.time()) + 6 * HOUR)
    # Each request is a slow one here: those that were kept are of the same time.
    kept = api.get("/slow-requests", service="shop", from_="-6h", to=ahead, limit=1000)["requests"]
    assert kept
    for request in kept:
        at_s = datetime.fromisoformat(request["at"]).timestamp()
        assert time.time() - 600 < at_s <= time.time() + 1, request["at"]
    # No time in the future either.
    future = api.get(
        "/response-time", service="shop", from_="now", to=str(int(time.time()) + 86400)
    )
    assert future["overall"]["requests"] <= sum(row["requests"] for row in series[-3:])
    return series


def test_an_app_whose_clock_jumps_is_booked_at_the_true_time(tmp: Path) -> None:
    clock = WallClock(tmp)
    with stack(tmp) as system:
        app = system.app("shop", uvicorn(), **SLOW, **clock.env)
        load = Load([f"{app.url}/slowly"], connections=2).start()
        for offset_s in JUMPS:
            more(load, 200)
            clock.jump(offset_s)
            more(load, 200)
        load.stop()
        assert load.failed == 0
        exact(system, load.sent)


def reported(system: Stack, offset_s: int) -> bool:
    skews = system.collector.api.get("/health")["clockSkewSeconds"]
    return any(abs(found - offset_s) < 60 for found in skews.values())


@pytest.mark.parametrize("who", ["agent", "host"])
def test_an_agent_whose_clock_jumps_books_at_the_true_time_and_reports_the_difference(
    tmp: Path, who: str
) -> None:
    clock = WallClock(tmp)
    with stack(tmp, **clock.env) as system:
        app = system.app("shop", uvicorn(), **SLOW, **(clock.env if who == "host" else {}))
        load = Load([f"{app.url}/slowly"], connections=2).start()
        for offset_s in JUMPS:
            more(load, 200)
            clock.jump(offset_s)
            if offset_s:
                wait_for(lambda: reported(system, offset_s), f"{offset_s} s to be reported", 20)  # noqa: B023
            more(load, 200)
        load.stop()
        assert load.failed == 0
        exact(system, load.sent)
        # Whatever the clock did, gauges and accounts went on: nothing waits for the later one.
        assert "was put back" in system.agent.output()


def test_what_was_held_while_the_clock_jumped_is_booked_at_the_true_time(tmp: Path) -> None:
    clock = WallClock(tmp)
    with stack(tmp, **clock.env) as system:
        app = system.app("shop", uvicorn(), **SLOW, **clock.env)
        system.collector.kill9()
        load = Load([f"{app.url}/slowly"], connections=2).start()
        for offset_s in JUMPS:
            more(load, 300)
            held = system.agent.held()
            wait_for(lambda: system.agent.held() >= held + 2, "windows on disk", 20)  # noqa: B023
            clock.jump(offset_s)
        load.stop()
        system.collector.start()
        exact(system, load.sent)


def test_a_repeat_is_known_whatever_the_clock_says(tmp: Path) -> None:
    clock = WallClock(tmp)
    with Collector(tmp).start() as collector:
        agent = Agent(tmp, collector.url, collector.new_key(), **clock.env)
        with agent.start(), App(tmp, "shop", agent.socket, uvicorn()).start() as app:
            load = Load([f"{app.url}/slowly"]).start()
            for offset_s in JUMPS:
                more(load, 200)
                # Its last answers may not arrive: what is sent again must not count twice.
                collector.kill9()
                clock.jump(offset_s)
                collector.start()
            load.stop()
            wait_for(
                lambda: agent.held() == 0 and collector.api.booked("shop") >= load.sent,
                "all records",
                30,
            )
            assert collector.api.counted("shop") == load.sent


def test_restarts_in_any_order_beside_a_clock_put_back_keep_the_true_time(tmp: Path) -> None:
    clock = WallClock(tmp)
    with stack(tmp, TZ="Asia/Seoul", **clock.env) as system:
        app = system.app("shop", uvicorn(), TZ="America/New_York", **SLOW, **clock.env)
        sent = 0
        for number, part in enumerate((system.agent, app, system.collector, None)):
            load = Load([f"{app.url}/slowly"], connections=2).start()
            more(load, 150)
            load.stop()
            sent += load.sent
            clock.jump((-HOUR, 0)[number % 2])
            if part is not None:
                part.stop()
                part.start()
        exact(system, sent)
