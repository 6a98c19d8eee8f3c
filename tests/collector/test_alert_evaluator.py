"""Alerts judged from what is stored: every kind of metric, restarts, what is missing."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stores.alertworld import AlertWorld, add, alert_world, asked, config, told
from support.stores.batches import a_batch, key_of, point_of
from support.stores.rowbatches import delta_of
from trimtab_collector.alerts import preview
from trimtab_collector.alerts.configs import rule_of
from trimtab_collector.alerts.preview import Previews
from trimtab_collector.alerts.ruleset import thresholds
from trimtab_collector.contract.alertconfigs import ThresholdPair
from trimtab_collector.contract.alerts import NewSilence
from trimtab_collector.contract.errors import ApiError
from trimtab_core.batches import GaugeRow
from trimtab_core.errors import StartupError
from trimtab_core.measures import COUNTER, HISTOGRAM, Delta, MeasureKey
from trimtab_core.rows import MeasureRow


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        yield found


def added(value: float) -> Delta:
    """Return the delta of a counter."""
    delta = Delta()
    delta.add([value])
    return delta


def test_the_shipped_lines_fire_after_five_minutes_of_slow_requests_and_end_after_a_quarter(
    world: AlertWorld,
) -> None:
    world.pass_windows(10, 20)
    world.pass_windows(29, 2000)
    assert world.sink.kinds == []
    world.pass_windows(3, 2000)
    (notice,) = world.sink.taken
    assert (notice.kind, notice.severity, notice.metric) == ("firing", "warning", "responseTime")
    assert (notice.where.environment, notice.where.service) == ("test", "shop")
    assert notice.value == pytest.approx(2000, rel=0.011)
    assert notice.threshold == 1000
    assert world.changed[0].message.startswith("responseTime is 1.98 s since ")
    world.pass_windows(5 + 91, 20)
    assert world.sink.kinds == ["firing", "resolved"]
    assert {each.state for each in world.changed} == {"pending", "firing", "keeping", "resolved"}


def test_few_requests_are_not_judged_however_slow(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100, min_requests=20)
    world.pass_windows(10, 5000, requests=19)
    assert told(world, "slow") == []
    world.pass_windows(3, 5000, requests=20)
    assert told(world, "slow") == ["firing"]


def test_errors_are_judged_by_their_share(world: AlertWorld) -> None:
    # Critical: the shipped line is, and hides what is not.
    add(world, "errors", metric="errorRate", threshold=0.2, severity="critical")
    world.pass_windows(5, 10, requests=50, errors=10)
    assert told(world, "errors") == []
    world.pass_windows(3, 10, requests=50, errors=11)
    assert told(world, "errors") == ["firing"]


def test_a_gauge_of_a_host_is_judged_and_that_of_its_container_counts_first(
    world: AlertWorld,
) -> None:
    add(world, "memory", metric="memoryUsage", threshold=0.5, operator="gte")
    both = {"system.memory.utilization": 0.9, "container.memory.utilization": 0.4}
    world.pass_windows(5, gauges=both)
    assert told(world, "memory") == []
    world.pass_windows(3, gauges={"system.memory.utilization": 0.9})
    (notice,) = [each for each in world.sink.taken if each.rule_id == "memory"]
    assert notice.where.instance == "agent-1"


def test_own_measures_and_gauges_are_judged_by_name(world: AlertWorld) -> None:
    add(world, "orders", metric="shop.orders", operator="lt", threshold=1, group_by=["service"])
    add(world, "took", metric="measure:shop.took", figure="p90", threshold=2, min_requests=0)
    add(world, "depth", metric="gauge:trimtab.queue.depth", figure="max", threshold=10)
    counter = MeasureRow("test", "shop", "a#0", MeasureKey("shop.orders", COUNTER), added(5))
    times = MeasureKey("shop.took", HISTOGRAM, "s")
    took = MeasureRow("test", "shop", "a#0", times, delta_of([1.0, 3.0, 3.0]))
    world.pass_windows(4, measures=[counter, took], gauges={"trimtab.queue.depth": 12})
    assert told(world, "orders") == ["firing"]
    assert told(world, "took") == ["firing"]
    assert told(world, "depth") == ["firing"]


def test_the_hit_rate_of_caches_is_judged_and_without_reads_it_is_not(world: AlertWorld) -> None:
    add(world, "hits", metric="cacheHitRate", operator="lt", threshold=0.8)

    def reads(hits: float, misses: float) -> list[MeasureRow]:
        return [
            MeasureRow("test", "shop", "a#0", MeasureKey(f"trimtab.cache.{name}", COUNTER),
                       added(value))
            for name, value in (("hits", hits), ("misses", misses))
        ]  # fmt: skip

    world.pass_windows(5, measures=reads(0, 0))
    assert told(world, "hits") == []
    world.pass_windows(4, measures=reads(70, 30))
    assert told(world, "hits") == ["firing"]


def test_the_time_of_queries_is_in_milliseconds(world: AlertWorld) -> None:
    add(world, "queries", metric="queryTime", threshold=500, min_requests=1)
    key = MeasureKey("db.client.operation.duration", HISTOGRAM, "s")
    rows = [MeasureRow("test", "shop", "a#0", key, delta_of([0.6] * 30))]
    world.pass_windows(4, measures=rows)
    (notice,) = [each for each in world.sink.taken if each.rule_id == "queries"]
    assert notice.value == pytest.approx(600, rel=0.011)


def test_after_a_restart_nothing_is_told_twice_and_nothing_is_forgotten(
    world: AlertWorld,
) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    world.pass_windows(4, 500)
    world.restart()
    world.pass_windows(4, 500)
    assert told(world, "slow") == ["firing"]
    world.restart()
    world.pass_windows(1, 10)
    world.restart()
    world.pass_windows(5, 10)
    assert told(world, "slow") == ["firing", "resolved"]


def test_a_transition_whose_messages_cannot_be_kept_did_not_happen(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    world.pass_windows(2, 500)
    world.sink.fails = True
    with pytest.raises(sqlite3.OperationalError):
        world.pass_windows(1, 500)
    world.sink.fails = False
    world.restart()
    assert told(world, "slow") == []
    world.pass_windows(2, 500)
    assert told(world, "slow") == ["firing"]


def test_while_an_agent_of_the_service_is_silent_good_values_resolve_nothing(
    world: AlertWorld,
) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    both = ("agent-1", "agent-2")
    world.pass_windows(5, 500, agents=both)
    world.pass_windows(30, 10, agents=("agent-1",))
    assert told(world, "slow") == ["firing"]
    world.pass_windows(6, 10, agents=both)
    assert told(world, "slow") == ["firing", "resolved"]


def test_windows_that_come_late_move_nothing_back(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    world.pass_windows(5, 500)
    late_s = int(world.clock.now_s) - 3600
    for n in range(20):
        points = {key_of(): point_of([1000] * 500)}
        world.send(a_batch(900 + n, points, agent="agent-1", window_s=late_s + 10 * n))
    world.pass_windows(5, 500)
    assert told(world, "slow") == ["firing"]


def test_an_agent_that_falls_silent_is_told_and_one_that_stopped_in_order_is_not(
    world: AlertWorld,
) -> None:
    world.pass_windows(3, 10, agents=("lost", "leaving", "agent-1"))
    stopping = [GaugeRow("", "", "leaving", "trimtab.agent.stopping", 1.0)]
    start_s = int(world.clock.now_s) - 10
    world.send(
        a_batch(90, agent="leaving", window_s=start_s, gauges=stopping,
                closed_us=int(world.clock.now_s * 1e6))
    )  # fmt: skip
    world.pass_windows(2, 10)
    assert world.sink.kinds == []
    world.pass_windows(3, 10)
    (notice,) = world.sink.taken
    assert (notice.metric, notice.where.subject_kind) == ("agentSilence", "agent")
    assert (notice.where.subject, notice.where.instance) == ("lost", "")
    world.pass_windows(9, 10, agents=("lost", "agent-1"))
    assert world.sink.kinds == ["firing", "resolved"]


def test_after_a_pause_of_the_collector_itself_no_agent_is_called_silent(
    world: AlertWorld,
) -> None:
    world.pass_windows(3, 10)
    world.clock.advance_s(600)
    world.restart()
    world.evaluator.agents.excuse(world.clock.now_s)
    world.pass_windows(6, 10, agents=())
    assert world.sink.kinds == []
    world.pass_windows(1, 10, agents=())
    assert [notice.metric for notice in world.sink.taken] == ["agentSilence"]


def test_a_changed_threshold_holds_from_the_next_step_on_and_is_audited(
    world: AlertWorld,
) -> None:
    pair = {"responseTime": ThresholdPair(warning=100, critical=200)}
    world.rules.set_thresholds(pair, asked(world))
    world.pass_windows(8, 150)
    assert {each.threshold for each in world.changed} == {100}
    rows = world.state.rows("SELECT by, action, subject, after FROM audit")
    assert rows == [("ada", "threshold.set", "responseTime", '{"warning":100,"critical":200}')]
    world.rules.set_thresholds({"responseTime": None}, asked(world))
    assert world.rules.pairs()["responseTime"][0].warning == 1000


@pytest.mark.parametrize("pair", [ThresholdPair(), ThresholdPair(warning=1)], ids=["none", "one"])
def test_a_threshold_of_no_metric_is_refused_and_not_kept(
    world: AlertWorld, pair: ThresholdPair
) -> None:
    with pytest.raises(ApiError, match="expected one of responseTime"):
        world.rules.set_thresholds({"nonsense": pair}, asked(world))
    assert "nonsense" not in thresholds(world.rules, asked(world)).thresholds


def test_rules_of_a_file_hold_within_a_step_and_cannot_be_changed_by_the_api(
    world: AlertWorld,
) -> None:
    path = world.directory / "alerts.toml"
    path.write_text(
        '[thresholds.errorRate]\nwarning = 0.5\n[[rule]]\nname = "Slow shop"\n'
        'metric = "responseTime"\nthreshold = 100\nfor = "20s"\nkeep_firing_for = 20\nover = 10\n'
        'where = { service = "shop" }\n'
    )
    world.pass_windows(4, 500)
    assert told(world, "file.slow-shop") == ["firing"]
    assert world.rules.pairs()["errorRate"][1] == "file"
    with pytest.raises(ApiError, match="change it there"):
        world.rules.change("file.slow-shop", None, asked(world))
    with pytest.raises(ApiError, match="change it there"):
        world.rules.set_thresholds({"errorRate": None}, asked(world))
    path.write_text('[[rule]]\nname = "x"\nmetric = "responsTime"\n')
    world.pass_windows(4, 500)
    assert "rule 1 (x): metric: expected one of responseTime" in world.file.error
    assert told(world, "file.slow-shop") == ["firing"]
    path.unlink()
    world.pass_windows(1, 500)
    assert told(world, "file.slow-shop") == ["firing", "expired"]


def test_a_wrong_file_keeps_the_collector_from_starting(world: AlertWorld) -> None:
    (world.directory / "alerts.toml").write_text("[nonsense]\n")
    with pytest.raises(
        StartupError, match="expected sections rule, thresholds, channels, got 'nonsense'"
    ):
        world.restart()


def test_a_file_that_cannot_be_used_is_told_and_what_held_goes_on(world: AlertWorld) -> None:
    path = world.directory / "alerts.toml"
    path.write_text("[thresholds.errorRate]\nwarning = 0.5\n")
    assert world.file.refresh()
    path.write_text("x = " + "[" * 5_000)
    assert not world.file.refresh()
    assert "goes on holding" in world.file.error
    rule = '[[rule]]\nname = "r{}"\nmetric = "responseTime"\nthreshold = 1\n'
    path.write_text("".join(rule.format(each) for each in range(2_001)))
    assert not world.file.refresh()
    assert "expected at most 2000 rules, got 2001" in world.file.error
    path.unlink()
    os.mkfifo(path)
    assert not world.file.refresh()
    assert "to be a file" in world.file.error
    assert set(world.file.thresholds()) == {"errorRate"}


def test_a_silence_by_its_matchers_holds_messages_back(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    silence = NewSilence(matchers={"service": "sh*"}, comment="known", duration="10m")
    world.silences.add(silence, asked(world))
    world.state.rows("SELECT 1")
    # Silences are read by the wall clock of whoever adds them: this one is of the world's.
    (matcher,) = world.silences.matchers(world.clock.now_s)
    assert matcher.matches({"service": "shop"}, world.clock.now_s)
    world.pass_windows(10, 500)
    assert told(world, "slow") == []
    assert world.book.open()[0].held == "silenced"
    world.pass_windows(60, 500)
    assert told(world, "slow") == ["firing"]


def test_a_preview_says_what_the_same_rule_did_live(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    for _ in range(3):
        world.pass_windows(10, 500)
        world.pass_windows(10, 10)
    rule = rule_of("slow", config(metric="responseTime", threshold=100))
    found = Previews(world.store).run(
        rule, world.clock.now_s - 700, world.clock.now_s, world.clock.now_s
    )
    assert found.messages == {"firing": 3, "resolved": 3}
    assert told(world, "slow") == ["firing", "resolved"] * 3
    past = world.book.between(0, world.clock.now_s)
    lived = [(each.since, each.fired_at, each.resolved_at) for each in reversed(past)]
    assert [(each.since, each.fired, each.ended) for each in found.alerts] == lived
    assert found.firing_seconds == sum(each.duration for each in found.alerts)
    assert found.messages_per_week is None
    assert "less than a day of data says nothing of the messages of a week" in found.notes


def test_a_preview_counts_the_seconds_of_an_alert_that_goes_on(world: AlertWorld) -> None:
    world.pass_windows(10, 10)
    world.pass_windows(10, 500)
    rule = rule_of("slow", config(metric="responseTime", threshold=100))
    now_s = world.clock.now_s
    found = Previews(world.store).run(rule, now_s - 86_400, now_s, now_s)
    (alert,) = found.alerts
    assert alert.ended is None
    assert found.firing_seconds == alert.duration == 70
    assert "over 99% of the range holds no data" in found.notes


def test_messages_of_a_week_are_those_of_the_time_with_data(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "_LEAST_DATA_S", 600)
    for _ in range(3):
        world.pass_windows(10, 500)
        world.pass_windows(10, 10)
    rule = rule_of("slow", config(metric="responseTime", threshold=100))
    now_s = world.clock.now_s
    found = Previews(world.store).run(rule, now_s - 86_400, now_s, now_s)
    assert (found.messages_total, found.seconds_with_data) == (6, 600)
    assert found.messages_per_week == pytest.approx(6 * 7 * 86_400 / 600)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metric": "nope", "threshold": 1}, "metric: expected one of responseTime"),
        ({"metric": "p99"}, "threshold: expected a threshold, or warning and critical, got 'none'"),
        ({"metric": "p99", "warning": 5, "critical": 1}, "critical: expected at least the warning"),
        ({"metric": "p99", "threshold": 5, "operator": "above"}, "operator: expected one of gt"),
        ({"metric": "p99", "threshold": 5, "for_": "5 minutes"}, "for: expected seconds or"),
        ({"metric": "p99", "threshold": 5, "over": 15}, "over: expected a multiple of 10 s"),
        (
            {"metric": "p99", "threshold": 5, "where": {"host": "a"}},
            "where: expected fields of p99",
        ),
        ({"metric": "p99", "threshold": 5, "recovery": 6}, "recovery: expected at most the lowest"),
        ({"metric": "p99", "threshold": float("nan")}, "warning: expected a finite number"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_the_field(
    world: AlertWorld, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ApiError, match=words):
        add(world, "x", **fields)


def test_a_message_leads_to_the_alert_its_rule_and_the_place_around_that_time(
    world: AlertWorld,
) -> None:
    add(world, "slow", metric="responseTime", threshold=100, for_=0)
    world.pass_windows(2, 20)
    world.pass_windows(2, 500)
    (notice,) = [each for each in world.sink.taken if each.rule_id == "slow"]
    pages = dict(notice.links)
    (alert,) = [each for each in world.book.open() if each.rule_id == "slow"]
    assert pages["alert"] == f"/performance/dashboard/alert?id={alert.id}"
    assert pages["rule"] == "/performance/dashboard/rule?id=slow"
    place = "/performance/dashboard/service?environment=test&service=shop&from=20"
    assert pages["service"].startswith(place)


def test_the_end_of_a_silence_is_announced_though_nothing_else_happened(
    world: AlertWorld,
) -> None:
    add(world, "slow", metric="responseTime", threshold=100, for_=0)
    world.pass_windows(2, 20)
    silence = NewSilence(matchers={"rule": "slow"}, comment="migration", duration=45)
    world.silences.add(silence, asked(world))
    world.pass_windows(3, 500)
    assert [each.held for each in world.changed if each.rule_id == "slow"][-1] == "silenced"
    count = len(world.changed)
    world.pass_windows(2, 500)
    (alert,) = [each for each in world.changed[count:] if each.rule_id == "slow"]
    assert (alert.state, alert.held) == ("firing", None)
    assert told(world, "slow") == ["firing"]
