"""Uptime, outages and key figures, of services whose every minute is known."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from support.alerts import an_alert
from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, World, world
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Sent, append
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError, instant
from trimtab_collector.contract.kpis import Kpi
from trimtab_collector.contract.parameters import RANGE, REQUESTS, parse
from trimtab_collector.objectives.kpis import DEFAULTS, KpiBook
from trimtab_collector.reports.keyfigures import KeyFigures
from trimtab_collector.reports.uptime import ServiceUptime, uptime
from trimtab_core.batches import GaugeRow

ADA = Caller("ada", Role.ADMIN)
START_S = NOW_S - 4 * 3600
END_S = NOW_S - 3600


def a_fired(since: str | None, until: str | None, **more: Any) -> AlertBody:
    """Return a critical alert that fired."""
    return an_alert(**{"severity": "critical", "fired_at": since, "resolved_at": until, **more})


def minutes(found: World, service: str, agent: str, runs: Sequence[bool | None]) -> None:
    """Send a window a minute from START_S; None: nothing arrives from the agent."""
    sent = []
    for number, alive in enumerate(runs):
        if alive is None:
            continue
        gauges = [GaugeRow("", "", f"host-{agent}", "system.memory.usage", 1e9),
                  GaugeRow("", "", f"host-{agent}", "system.cpu.utilization", 0.4)]  # fmt: skip
        points = {}
        if alive:
            gauges += [GaugeRow("test", service, f"host-{agent}#0", "process.uptime", 5.0),
                       GaugeRow("test", service, f"host-{agent}#0", "process.memory.usage",
                                (600 + number % 2) * 2**20)]  # fmt: skip
            points = {
                key_of("/healthz", service): point_of([150_000]),
                key_of("/orders", service, method="POST"): point_of([300_000, 700_000]),
            }
        batch = a_batch(number, points, agent=agent, window_s=START_S + 60 * number, gauges=gauges)
        sent.append(Sent(batch, points))
    append(found.engine, *sent)


@pytest.fixture(scope="module")
def town() -> Iterator[World]:
    """Three hours: shop stops twice, the agent of books is silent for a while, young is new."""
    with short_dir() as directory, world(directory, empty=True) as found:
        shop = [True] * 60 + [False] * 5 + [True] * 105 + [False] * 10
        minutes(found, "shop", "a", shop)
        minutes(found, "books", "b", [True] * 60 + [None] * 20 + [True] * 100)
        minutes(found, "young", "c", [False] * 90 + [True] * 90)
        found.engine.settle()
        yield found


def of(town: World, service: str, *alerts: AlertBody) -> ServiceUptime:
    found = uptime(town.engine.store, alerts, START_S, END_S, NOW_S, {"service": service})
    (one,) = found
    return one


def test_minutes_without_a_process_are_down_and_outages_have_their_length(town: World) -> None:
    found = of(town, "shop")
    assert (found.up_s, found.down_s, found.unknown_s) == (165 * 60, 15 * 60, 0)
    first, second = found.outages
    assert (first.from_s, first.to_s) == (START_S + 3600, START_S + 3900)
    assert (first.causes, first.open) == (("no process",), False)
    assert second.open
    assert found.recovery_s == 300
    assert found.share == pytest.approx(165 / 180)


def test_minutes_in_which_the_agent_is_silent_count_neither_way(town: World) -> None:
    found = of(town, "books")
    assert (found.up_s, found.down_s, found.unknown_s) == (160 * 60, 0, 20 * 60)
    assert (found.share, found.recovery_s) == (1.0, None)


def test_a_service_is_not_down_before_its_first_sight(town: World) -> None:
    found = of(town, "young")
    assert (found.up_s, found.down_s, found.unknown_s) == (90 * 60, 0, 0)


def test_a_critical_alert_of_the_service_is_an_outage_too(town: World) -> None:
    fired = a_fired(instant(START_S + 600), instant(START_S + 1200))
    others = (
        a_fired(instant(START_S + 600), None, severity="warning"),
        a_fired(instant(START_S + 600), None, service="books"),
        a_fired(instant(START_S + 600), None, environment="live"),
        a_fired(instant(START_S + 600), None, type="predictive"),
        a_fired(None, None),
    )
    found = of(town, "shop", fired, *others)
    assert found.down_s == (15 + 10) * 60
    assert found.outages[0].causes == ("shop fails",)
    assert found.recovery_s == pytest.approx((600 + 300) / 2)


def test_an_outage_says_whether_it_was_down_or_failed(town: World) -> None:
    fired = a_fired(instant(START_S + 600), instant(START_S + 1200))
    found = of(town, "shop", fired)
    assert [each.kind for each in found.outages] == ["failed", "down", "down"]


def test_too_slow_is_not_down_and_a_few_requests_are_never_too_slow(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three requests a minute: the service answers all along.
    slow = a_fired(instant(START_S + 600), instant(START_S + 1200), metric="responseTime")
    assert of(town, "shop", slow) == of(town, "shop")
    monkeypatch.setattr("trimtab_collector.reports.uptime._LEAST_REQUESTS", 3)
    found = of(town, "shop", slow)
    assert (found.down_s, found.slow_s, found.share) == (15 * 60, 10 * 60, 165 / 180)
    assert [each.kind for each in found.outages] == ["down", "down"]


def test_only_what_the_requests_of_a_service_suffer_is_an_outage(town: World) -> None:
    since = instant(START_S + 600)
    metrics = ("burnRate", "analysis", "cpuUsage", "agentSilence", "p99")
    others = [a_fired(since, None, metric=metric) for metric in metrics]
    assert of(town, "shop", *others) == of(town, "shop")


def test_an_outage_ends_when_it_is_good_again_not_when_its_alert_is_over(town: World) -> None:
    since, good = instant(START_S + 600), instant(START_S + 1200)
    over = a_fired(since, instant(START_S + 2100), recovered_at=good)
    kept = a_fired(since, None, recovered_at=good, state="keeping")
    for alert in (over, kept):
        found = of(town, "young", replace(alert, service="young"), replace(alert, service="shop"))
        assert found.down_s == 0
        found = of(town, "shop", alert)
        assert (found.outages[0].to_s, found.outages[0].open) == (START_S + 1200, False)
        assert found.recovery_s == pytest.approx((600 + 300) / 2)
    goes_on = of(town, "books", a_fired(instant(END_S - 600), None, service="books"))
    assert (goes_on.outages[0].to_s, goes_on.outages[0].open) == (END_S, True)
    assert goes_on.recovery_s is None


def test_a_service_is_missed_for_a_day_and_then_gone(town: World) -> None:
    day_s = 86_400
    end_s = END_S + 2 * day_s
    (late,) = uptime(town.engine.store, (), END_S, end_s, end_s + 60, {"service": "shop"})
    # Nothing is heard of its agent either.
    assert (late.up_s, late.down_s, late.unknown_s, late.share) == (0, 0, day_s, None)


def test_all_services_come_by_name(town: World) -> None:
    found = uptime(town.engine.store, (), START_S, END_S, NOW_S, {"environment": "test"})
    assert [each.service for each in found] == ["books", "shop", "young"]
    assert uptime(town.engine.store, (), NOW_S, NOW_S + 60, NOW_S, {}) == []


# ---------------------------------------------------------------- key figures


def figures_of(town: World, **query: object) -> dict[str, Any]:
    texts = {"from": START_S, "to": END_S, **query}
    parameters = parse(
        (*REQUESTS, *RANGE), [(name, str(value)) for name, value in texts.items()], NOW_S
    )
    time_range = town.reader.ranges.stored(parameters)
    overall, _ = town.reader.overall(time_range)
    found = uptime(town.engine.store, (), START_S, END_S, NOW_S, parameters.where)
    figures = KeyFigures(town.reader, time_range, [(0, 600, 10.0)], overall, found)
    return {row.id: (row.status, row.value) for row in figures.results(DEFAULTS)}


def test_the_shipped_targets_are_held_against_what_was_measured(town: World) -> None:
    found = figures_of(town, service="shop")
    assert found["health"] == ("allowed", pytest.approx(150, rel=0.011))
    assert found["create"] == ("fail", pytest.approx(700, rel=0.011))
    assert found["status"] == found["result"] == found["job"] == ("notMeasured", None)
    assert found["requests"] == ("pass", 60.0)
    assert found["queries"] == ("notMeasured", None)
    assert found["memory"] == ("fail", pytest.approx(600.5 * 2**20, rel=0.001))
    assert found["memoryPeak"] == ("pass", 601 * 2**20)
    assert found["cpu"] == ("pass", pytest.approx(0.4))
    assert found["cpuPeak"] == ("pass", pytest.approx(0.4))
    assert found["disk"] == found["network"] == ("notMeasured", None)
    assert found["uptime"] == ("fail", pytest.approx(165 / 180))
    assert found["errors"] == ("pass", 0.0)
    assert found["recovery"] == ("pass", 300_000)


def test_figures_of_a_service_that_is_not_there_are_not_measured(town: World) -> None:
    found = figures_of(town, service="nobody")
    del found["requests"]
    assert {status for status, _ in found.values()} == {"notMeasured"}


def test_low_demand_is_no_failure_to_serve(town: World) -> None:
    parameters = parse((*REQUESTS, *RANGE), [("from", "-1h")], NOW_S)
    figures = KeyFigures(
        town.reader, town.reader.ranges.stored(parameters), [(0, 30, 10.0)], {"requests": 0}, ()
    )
    (demand,) = [row for row in figures.results(DEFAULTS) if row.id == "requests"]
    assert (demand.status, demand.value) == ("notTested", 3.0)
    assert demand.note == "no more were asked for"
    (korean,) = [row for row in figures.results(DEFAULTS, "ko") if row.id == "requests"]
    assert korean.note != demand.note
    assert korean.how != demand.how


def test_targets_are_kept_and_know_who_changed_them(town: World) -> None:
    book = KpiBook(town.state, town.clock)
    assert town.ask("/kpis")["changedBy"] is None
    assert [row["id"] for row in town.ask("/kpis")["kpis"]] == [kpi.id for kpi in DEFAULTS]
    mine = Kpi(id="pages", name="Pages", figure="responseTime", target=300, match=["GET /pages*"])
    book.put([mine], ADA)
    answer = town.ask("/kpis")
    assert (answer["changedBy"], answer["units"]["cpuMean"]) == ("ada", "ratio")
    assert answer["kpis"] == [msgspec.to_builtins(mine)]
    assert len(answer["defaults"]) == len(DEFAULTS)
    book.put(list(DEFAULTS), ADA)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"allowed": 100.0}, "at least 300"),
        ({"figure": "uptime", "target": 0.9, "allowed": 0.95, "match": []}, "at most 0.9"),
        ({"match": []}, "expected some patterns"),
        ({"figure": "cpuMean"}, "expected no patterns"),
    ],
)
def test_contradictions_are_refused(town: World, change: dict[str, Any], says: str) -> None:
    table = {"id": "x", "name": "X", "figure": "responseTime", "target": 300.0, "match": ["GET *"]}
    with pytest.raises(ApiError, match=says):
        KpiBook(town.state).put([msgspec.convert({**table, **change}, Kpi)], ADA)
    with pytest.raises(ApiError, match="each id once"):
        KpiBook(town.state).put([msgspec.convert(table, Kpi)] * 2, ADA)
