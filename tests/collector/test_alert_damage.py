"""What is broken costs itself: rules, signals, rows of the state; and lists that count the rest."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from support.stores.alertworld import AlertWorld, add, alert_world, config, told
from support.stores.badrows import plant
from trimtab_collector.alerts.book import alerts
from trimtab_collector.alerts.configs import rule_of
from trimtab_collector.alerts.judge import Judge, Judged
from trimtab_collector.alerts.machine import Alert
from trimtab_collector.alerts.preview import Previews
from trimtab_collector.alerts.reading import Signal
from trimtab_collector.alerts.values import Values
from trimtab_collector.api.judging import JUDGING
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.parameters import parse
from trimtab_collector.storage.store import GaugeRows, GaugeSelection


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    "recipient",
    ["a@x.org\r\nBcc: e@evil.example", "a" * 5000 + "@x.org", "a@" + "x" * 5000, "=?q?a?=@x.org",
     "a@x.org, b@x.org", "Two words", "", "x" * 64],
)  # fmt: skip
def test_a_recipient_that_nothing_can_be_sent_to_is_refused_with_its_rule(recipient: str) -> None:
    with pytest.raises(ApiError, match="recipients: expected names of channels and mail") as told:
        rule_of("r", config(metric="errorRate", threshold=1, recipients=[recipient]))
    assert len(told.value.message) < 200
    good = ["ops", "live", "ada.l+x@example.com"]
    assert rule_of("r", config(metric="errorRate", threshold=1, recipients=good)).recipients


@pytest.mark.parametrize("figure", ["p95", "rate", "sum", "count", "p50"])
def test_a_figure_of_measures_asked_of_a_gauge_has_no_value_and_stops_nothing(
    world: AlertWorld, figure: str
) -> None:
    add(world, "odd", metric="system.cpu.utilization", figure=figure, threshold=0.0)
    add(world, "slow", metric="responseTime", threshold=100)
    world.pass_windows(4, 500, gauges={"system.cpu.utilization": 0.9})
    assert told(world, "odd") == []
    assert told(world, "slow") == ["firing"]
    rule = rule_of("odd", config(metric="system.cpu.utilization", figure=figure, threshold=0.0))
    now_s = world.clock.now_s
    assert Previews(world.store).run(rule, now_s - 100, now_s, now_s).fired == 0


def test_a_rule_whose_reading_fails_costs_itself_and_so_does_a_signal(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(world, "bad", metric="shop.broken", threshold=1)
    add(world, "slow", metric="responseTime", threshold=100)
    read = world.store.read_gauges

    def broken(selection: GaugeSelection) -> GaugeRows:
        if "shop.broken" in (selection.names or ()):
            raise RuntimeError("planted")
        return read(selection)

    def no_signal(now_s: float) -> list[Signal]:
        raise RuntimeError("planted")

    monkeypatch.setattr(world.store, "read_gauges", broken)
    monkeypatch.setattr(world.evaluator, "_more_signals", (no_signal,))
    world.pass_windows(4, 500)
    assert told(world, "slow") == ["firing"]
    assert world.evaluator.failures >= 8


def test_rows_of_the_state_that_cannot_be_read_cost_themselves(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    world.pass_windows(4, 500)
    with world.state.change() as connection:
        plant(
            connection,
            "INSERT INTO alert SELECT 'x', rule_id, rule, '{\"id\":1}', state, highest,"
            " environment, service, since_s, fired_s, ended_s FROM alert LIMIT 1",
        )
        plant(connection, "INSERT INTO incident VALUES ('x', '{', '{')")
        plant(connection, "INSERT INTO agent_seen VALUES ('x', '{')")
    world.restart()
    assert world.state.unreadable == 3
    assert [alert.rule_id for alert in world.book.open() if alert.state == "firing"] == ["slow"]
    world.pass_windows(5, 10)
    assert told(world, "slow") == ["firing", "resolved"]


def test_what_a_list_of_alerts_leaves_out_is_counted_and_severity_is_chosen_before(
    world: AlertWorld,
) -> None:
    rule, alert = _ended(world)
    with world.state.change() as connection:
        for n in range(120):
            level = 2 if n < 60 else 1
            one = replace(alert, id=f"a{n}", fired_s=alert.fired_s + n, highest=level, level=level)
            plant(connection,
                "INSERT INTO alert VALUES (?, 'slow', ?, ?, 'resolved', ?, 'test', 'shop',"
                " ?, ?, ?)",
                (one.id, rule, msgspec.json.encode(one).decode(), level, one.since_s, one.fired_s,
                 world.clock.now_s),
            )  # fmt: skip
    declared = next(each for each in JUDGING if each.paths == ("/alerts",)).parameters
    query = {"state": "ended", "severity": "critical", "limit": "50"}
    found = alerts(world.book, parse(declared, query.items(), world.clock.now_s, 86_400))
    assert len(found.alerts) == 50
    assert {each.severity for each in found.alerts} == {"critical"}
    assert found.alerts_left_out == 10


def _ended(world: AlertWorld) -> tuple[str, Any]:
    """Return the rule and data of an alert that has ended; the table is empty then."""
    add(world, "slow", metric="responseTime", threshold=100)
    world.pass_windows(4, 500)
    world.pass_windows(5, 10)
    ((rule, data),) = world.state.rows(
        "SELECT rule, data FROM alert WHERE ended_s IS NOT NULL AND rule_id = 'slow'"
    )
    with world.state.change() as connection:
        connection.execute("DELETE FROM alert")
    return rule, msgspec.json.decode(data, type=Alert)


def test_what_could_not_be_written_did_not_happen_and_is_told_when_it_can_be(
    world: AlertWorld,
) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    world.pass_windows(2, 500)
    world.sink.fails = True
    with pytest.raises(sqlite3.OperationalError):
        world.pass_windows(1, 500)
    assert [alert.state for alert in world.book.open() if alert.rule_id == "slow"] == ["pending"]
    world.sink.fails = False
    world.evaluator.step(int(world.clock.now_s))
    assert told(world, "slow") == ["firing"]
    world.pass_windows(2, 10)
    world.sink.fails = True
    with pytest.raises(sqlite3.OperationalError):
        world.pass_windows(1, 10)
    world.sink.fails = False
    world.pass_windows(1, 10)
    assert told(world, "slow") == ["firing", "resolved"]


def test_no_environment_takes_the_places_of_another(world: AlertWorld) -> None:
    rule = rule_of("slow", config(metric="responseTime", threshold=100, for_=0))
    judge, t_s = Judge(), 1000
    places: list[tuple[str, ...]] = [("dev", f"s{n}") for n in range(1_500)]

    def step(groups: list[tuple[str, ...]]) -> None:
        nonlocal t_s
        t_s += 10
        number = np.full(len(groups), 500.0)
        values = Values(("environment", "service"), groups, number, np.full(len(groups), 50.0))
        judge.step(t_s, 10, [Judged(rule, values)])

    step(places)
    assert (len(judge.open_alerts()), judge.left_out) == (1_000, 500)
    step([*places, ("prod", "checkout"), ("prod", "cart")])
    fired = {alert.labels for alert in judge.open_alerts()}
    assert {("prod", "checkout"), ("prod", "cart")} <= fired
    assert len(fired) == 1_000


def test_a_clock_that_jumps_ahead_and_back_leaves_no_alert_dead(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    world.pass_windows(1, 500)
    world.clock.advance_s(30 * 86_400)
    world.pass_windows(1, 500)
    world.clock.advance_s(-30 * 86_400)
    assert world.evaluator.due() is not None
    world.pass_windows(4, 500)
    assert told(world, "slow") == ["firing"]
    assert all(seen <= world.clock.now_s for seen in world.evaluator.agents.heard())
