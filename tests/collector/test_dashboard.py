"""The first page: trends against known lines, and the parts that come together."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.alerts import an_alert
from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, World, world
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Sent, append
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.errors import instant
from trimtab_collector.reports.reporter import Reporter
from trimtab_collector.reports.trends import FALLING, RISING, STABLE, Trend, trend_of
from trimtab_core.batches import GaugeRow

T = np.arange(0, 6 * 3600, 300, dtype=np.int64)


def noisy(slope: float, noise: float, seed: int) -> Any:
    """Values around 100 that change by a share of it over the six hours."""
    dice = np.random.default_rng(seed)
    return 100 * (1 + slope * T / T[-1]) + dice.normal(0, noise, len(T))


@pytest.mark.parametrize("seed", range(5))
def test_a_line_in_noise_is_found_with_its_change(seed: int) -> None:
    up, down = trend_of(T, noisy(0.5, 3, seed)), trend_of(T, noisy(-0.4, 3, seed))
    assert (up.direction, down.direction) == (RISING, FALLING)
    assert up.change == pytest.approx(0.5, abs=0.1)
    assert down.change == pytest.approx(-0.4, abs=0.1)


def test_noise_alone_is_rarely_a_trend() -> None:
    found = [trend_of(T, noisy(0, 20, seed)).direction for seed in range(200)]
    assert found.count(STABLE) >= 170


def test_a_small_change_is_no_trend_however_sure() -> None:
    assert trend_of(T, noisy(0.04, 0, 0)).direction == STABLE


def test_a_burst_turns_no_trend() -> None:
    values = noisy(0, 1, 1)
    values[-7:] += 900
    assert trend_of(T, values).direction == STABLE


def test_too_little_is_no_trend() -> None:
    assert trend_of(T[:18], noisy(1, 0, 0)[:18]) == Trend(None, None)
    assert trend_of(T[:0], np.zeros(0)) == Trend(None, None)
    assert trend_of(T, np.full(len(T), np.nan)) == Trend(None, None)


def test_zeros_are_stable_and_a_rise_from_zero_has_no_share() -> None:
    assert trend_of(T, np.zeros(len(T))) == Trend(STABLE, None)
    assert trend_of(T, np.maximum(0.0, T - 9000.0)) == Trend(RISING, None)


# ---------------------------------------------------------------- together


class Fired:
    """A book of alerts in which one is open."""

    def __init__(self, severity: str, state: str = "firing", held: str | None = None) -> None:
        self._alert = an_alert(
            severity=severity, state=state, type="performance", metric="responseTime", unit="ms",
            threshold=1.0, value=2.0, worst=2.0, route="", held=held, since=instant(NOW_S - 60),
            fired_at=instant(NOW_S - 60), title="shop: slow",
        )  # fmt: skip

    def between(self, *_: object) -> list[AlertBody]:
        return [self._alert]

    def open(self, *_: object) -> list[AlertBody]:
        return [self._alert]


@pytest.fixture(scope="module")
def town() -> Iterator[World]:
    """Seven hours: memory grows by half, nothing arrives in one hour of the first two."""
    with short_dir() as directory, world(directory, empty=True) as found:
        dice, sent = random.Random(1), []
        start_s = NOW_S - 7 * 3600
        for seq, t in enumerate((*range(start_s, NOW_S, 60), NOW_S - 10)):
            if 1800 <= t - start_s < 3600:
                continue
            gauges = [
                GaugeRow("", "", "host", "system.memory.usage", 1e9),
                GaugeRow("test", "shop", "host#0", "process.uptime", 5.0),
                GaugeRow("test", "shop", "host#0", "process.cpu.utilization", 0.3),
                GaugeRow("test", "shop", "host#0", "process.memory.usage",
                         1e8 * (1 + (t - start_s) / (6 * 3600))),
            ]  # fmt: skip
            points = {key_of(): point_of([dice.randrange(90_000, 110_000) for _ in range(5)])}
            sent.append(Sent(a_batch(seq, points, window_s=t, gauges=gauges), points))
        append(found.engine, *sent)
        found.engine.settle()
        yield found


def test_a_dashboard_has_now_and_then_and_what_to_do(town: World) -> None:
    found = town.ask("/dashboard", service="shop")
    assert [found["history"][period]["step"] for period in ("hourly", "daily", "weekly")] == [
        60, 600, 3600
    ]  # fmt: skip
    assert found["current"]["requestsPerSecond"] == 0.5  # five in ten seconds
    trends = found["trends"]
    assert trends["memoryTrend"] == RISING
    assert trends["memoryChange"] > 0.3
    assert (trends["cpuTrend"], trends["cpuChange"]) == (STABLE, 0.0)
    assert trends["responseTimeTrend"] == trends["throughputTrend"] == STABLE
    assert trends["errorRateTrend"] == STABLE
    assert (found["status"], found["alerts"]) == ("healthy", [])
    assert all(text.endswith(".") for text in found["recommendations"])
    assert found["recommendations"]


def test_a_gap_is_one_in_every_history_that_can_show_it(town: World) -> None:
    rows = town.ask("/dashboard")["history"]["daily"]["series"]
    gaps = [row for row in rows if row["state"] == "gap"]
    within = [row for row in gaps if row["t"] >= instant(NOW_S - 7 * 3600)]
    assert len(within) == 3
    assert {row["requests"] for row in gaps} == {None}


@pytest.mark.parametrize(
    ("severity", "state", "held", "status"),
    [
        ("critical", "firing", None, "critical"),
        ("critical", "firing", "agentMissing", "critical"),
        ("warning", "firing", "inhibited", "warning"),
        ("critical", "firing", "silenced", "healthy"),
        ("critical", "keeping", None, "healthy"),
        ("critical", "pending", None, "healthy"),
    ],
)
def test_an_alert_that_people_are_told_of_worsens_the_status(
    town: World, severity: str, state: str, held: str | None, status: str
) -> None:
    reporter = town.reporter_with(Fired(severity, state, held))
    town.parts[Reporter], before = reporter, town.parts[Reporter]
    try:
        found = town.ask("/dashboard")
    finally:
        town.parts[Reporter] = before
    assert (found["status"], len(found["alerts"])) == (status, 1)
    # The sentence says the same, and warns of what is past its line and not yet told.
    assert (found["sentence"]["severity"] == "ok") == (status == "healthy" and state != "pending")


def test_its_sentences_are_in_the_language_asked_for(town: World) -> None:
    english, korean = (town.ask("/dashboard", lang=lang) for lang in ("en", "ko"))
    assert english["recommendations"] != korean["recommendations"]
    assert any("가" <= letter <= "힣" for text in korean["recommendations"] for letter in text)
