"""The demo's story: a deploy goes wrong, and the API says which line is to blame; its parts."""

import asyncio
import json
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from examples.demo.day import DAY_S, WEEK_S, pace
from examples.demo.desk import Desk
from examples.demo.history import AGENT, Measured, send, windows
from examples.demo.options import options_of
from examples.demo.services import STORY_SERVICES
from examples.demo.traffic import STORY_MIX
from support.processes.servers import Collector, Proc, wait_for

SERVICES = [each.name for each in STORY_SERVICES]


def test_the_api_names_line_route_and_version_of_the_deploy_that_went_wrong(tmp: Path) -> None:
    words = ["--story", "--check", "--rate", "20", "--no-browser"]
    command = [sys.executable, "-m", "examples.demo", *words]
    with Proc("demo", command, tmp, {"TMPDIR": str(tmp)}) as run:
        code = run.start().wait_exit(timeout_s=200)
        said = run.output()
    assert code == 0, said + run.stderr.read_text()
    assert "examples/shop/database.py:" in said
    assert "in returning_report" in said
    assert "/reports/daily takes" in said
    assert "2.4.0 → 2.5.0" in said
    assert said.splitlines()[-1].startswith("demo: story check passed: ")


@pytest.mark.parametrize("service", SERVICES)
def test_a_day_has_a_night_and_a_peak_and_no_step(service: str) -> None:
    seconds = [pace(service, 1_796_000_000 + t) for t in range(int(WEEK_S))]
    assert 0 < min(seconds) < 0.2
    assert 0.9 < max(seconds) <= 1
    assert max(abs(a - b) for a, b in pairwise(seconds)) < 0.05
    days = [sum(seconds[int(n * DAY_S) : int((n + 1) * DAY_S)]) for n in range(5)]
    assert min(days) < 0.7 * max(days)


def test_an_hour_and_a_day_before_have_the_same_shape() -> None:
    for at_s in range(1_796_000_000, 1_796_002_000, 77):
        for service in SERVICES:
            now = pace(service, at_s)
            assert pace(service, at_s - 3_600) == pytest.approx(now, abs=1e-9)
            assert pace(service, at_s - 86_400) == pytest.approx(now, abs=1e-9)


def test_everything_that_has_a_shape_of_a_day_is_asked_for() -> None:
    assert set(STORY_MIX) == set(SERVICES)


def test_what_is_generated_is_counted_and_its_agent_is_not_missed(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = Measured(
        *("shop", "2.4.0", ("vm#0", "vm#1"), "/reports/daily", "GET", 2.0, 25.0),
        [20_000.0] * 16,
        {200: 0.9, 500: 0.1},
        {"db_us": 15_000.0, "db_calls": 1.0},
        900.0,
    )
    few = list(windows(time.time()))[:30]
    monkeypatch.setattr("examples.demo.history.windows", lambda _end_s: iter(few))
    count = send(
        collector.port, collector.new_key(["demo"]), [route], time.time(), threading.Event()
    )
    assert count > 500

    def counted() -> bool:
        (row,) = collector.api.get("/services", from_="-25h")["services"]
        account = row["accounting"]
        return bool(account["requests"] == account["counted"] == account["sent"] == count)

    wait_for(counted, "all generated requests to be counted")
    (row,) = collector.api.get("/routes", from_="-25h")["routes"]
    assert row["p50"] == pytest.approx(20, rel=0.3)
    assert 0.05 < row["errors"] / row["requests"] < 0.2
    open_ = collector.api.get("/alerts")["alerts"]
    assert not [each for each in open_ if each["labels"].get("agent") == AGENT]


@pytest.mark.asyncio
async def test_the_desk_says_what_it_is_told() -> None:
    said: list[str] = []
    desk = Desk(said.append)
    port = await desk.start(0)
    body = json.dumps({"title": "[warning] shop is slow"}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /alerts HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert (await reader.read()).startswith(b"HTTP/1.1 204")
    writer.close()
    desk.stop()
    assert said == ["the desk is told: [warning] shop is slow"]


@pytest.mark.parametrize(
    ("words", "story", "rate"),
    [
        ([], True, 60),
        (["--seconds", "5"], False, 150),
        (["--check"], False, 150),
        (["--fault", "latency"], False, 150),
        (["--seconds", "5", "--story"], True, 60),
        (["--story", "--rate", "9"], True, 9),
    ],
)
def test_a_story_is_told_where_nothing_else_is_asked_for(
    words: list[str], story: bool, rate: float
) -> None:
    options = options_of(words)
    assert (options.story, options.rate) == (story, rate)


@pytest.mark.parametrize("more", [["--fault", "latency"], ["--expect", "cache"]])
def test_a_story_goes_with_no_other_check(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options_of(["--story", "--check", *more])
    assert "--story tells of its own" in capsys.readouterr().err
