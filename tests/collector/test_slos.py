"""Objectives: budgets and burn rates, against requests counted one by one."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, Request, World, world
from trimtab_collector.auth.audit import AuditTrail
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.slos import SloSettings
from trimtab_collector.objectives.burning import PAIRS, budget, burn, count
from trimtab_collector.objectives.slos import SloBook, parse_slo
from trimtab_core.batches import SeriesKey
from trimtab_core.errors import SettingsError
from trimtab_core.sketch import bucket_of, middle_us

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
ADA, BOB = Caller("ada", Role.ADMIN), Caller("bob", Role.ADMIN)
ERRORS = SloSettings(name="few errors", target=0.999)
FAST = SloSettings(name="fast", target=0.99, objective="latency", below=300)


def key(status_class: str = "2xx", service: str = "shop", route: str = "/") -> SeriesKey:
    return SeriesKey("live", service, "1", "host#0", route, "GET", status_class)


def requests(start_s: int, end_s: int, bad_share: float, seed: int = 1) -> list[Request]:
    """Ten requests a minute, some of which fail."""
    dice = random.Random(seed)
    return [
        Request(t, key("5xx" if dice.random() < bad_share else "2xx"), dice.randrange(1, 900_000))
        for t in range(start_s // 120 * 120, end_s // 120 * 120, 120)
        for _ in range(20)
    ]


@pytest.fixture(scope="module")
def days() -> Iterator[World]:
    """Two days of requests: good ones, and for the last two hours a tenth of failures."""
    with short_dir() as directory, world(directory, empty=True) as found:
        found.send(requests(NOW_S - 2 * DAY_S, NOW_S - 2 * HOUR_S, 0.0005))
        found.send(requests(NOW_S - 2 * HOUR_S, NOW_S, 0.1, seed=2))
        found.engine.settle()
        yield found


def bad(one: Request, below_ms: float | None = None) -> bool:
    slow = below_ms is not None and middle_us(bucket_of(one.us)) > 1000 * below_ms
    return slow or one.key.status_class == "5xx"


@pytest.mark.parametrize("slo", [ERRORS, FAST], ids=lambda slo: slo.name)
def test_burn_rates_are_those_of_requests_counted_one_by_one(days: World, slo: SloSettings) -> None:
    found = burn(days.engine.store, slo, NOW_S)
    assert [each.pair for each in found] == list(PAIRS)
    for each in found:
        for span, counted, rate in (
            (each.pair.long_s, each.long, each.long_rate),
            (each.pair.short_s, each.short, each.short_rate),
        ):
            start_s = NOW_S + 10 - span
            start_s -= start_s % {6 * HOUR_S: 600, 3 * DAY_S: HOUR_S}.get(span, 10)
            mine = days.within(start_s, NOW_S + 10)
            wrong = sum(bad(one, slo.below) for one in mine)
            assert counted == (len(mine), wrong)
            assert rate == pytest.approx(wrong / len(mine) / (1 - slo.target))


def test_a_tenth_of_failures_burns_a_budget_of_a_thousandth(days: World) -> None:
    assert [each.burns for each in burn(days.engine.store, ERRORS, NOW_S)] == [True, True, True]
    calm = burn(days.engine.store, ERRORS, NOW_S - 3 * HOUR_S)
    assert [each.burns for each in calm] == [False, False, False]


def test_a_burn_that_is_over_stops_at_the_short_window(tmp: Any) -> None:
    with world(tmp, empty=True) as found:
        found.send(requests(NOW_S - HOUR_S, NOW_S - 10 * MINUTE_S, 0.1))
        found.send(requests(NOW_S - 10 * MINUTE_S, NOW_S, 0))
        fast = burn(found.engine.store, ERRORS, NOW_S)[0]
        assert fast.long_rate is not None
        assert fast.long_rate > 14.4
        assert (fast.short_rate, fast.burns, fast.value) == (0.0, False, 0.0)


def test_few_requests_are_not_judged(tmp: Any) -> None:
    with world(tmp, empty=True) as found:
        found.send(requests(NOW_S - 20 * MINUTE_S, NOW_S, 1))
        assert not any(each.burns for each in burn(found.engine.store, ERRORS, NOW_S))
        few = SloSettings(name="few", target=0.999, min_requests=100)
        assert all(each.burns for each in burn(found.engine.store, few, NOW_S))


def test_without_requests_nothing_burns_and_nothing_is_known(tmp: Any) -> None:
    with world(tmp, empty=True) as found:
        for each in burn(found.engine.store, ERRORS, NOW_S):
            assert (each.long_rate, each.short_rate, each.burns, each.value) == (
                None, None, False, None
            )  # fmt: skip
        assert budget(found.engine.store, ERRORS, NOW_S).left is None


def test_pairs_longer_than_the_objective_are_left_out_and_loose_targets_said(days: World) -> None:
    short = SloSettings(name="a day", target=0.9, window_days=1)
    found = burn(days.engine.store, short, NOW_S)
    assert [each.pair.long_s for each in found] == [HOUR_S, 6 * HOUR_S]
    assert [each.reachable for each in found] == [False, True]


def test_what_is_left_of_a_budget_is_what_was_allowed_less_what_failed(days: World) -> None:
    found = budget(days.engine.store, ERRORS, NOW_S)
    mine = days.within(found.from_s, found.to_s)
    wrong = sum(map(bad, mine))
    assert found.counted == (len(mine), wrong)
    assert found.left == pytest.approx(1 - wrong / (0.001 * len(mine)))


def test_an_objective_is_of_its_service_and_route_alone(tmp: Any) -> None:
    with world(tmp, empty=True) as found:
        one = [Request(NOW_S - 60, key("5xx", "shop", "/a"), 5)]
        found.send([*one, Request(NOW_S - 60, key("2xx", "shop", "/b"), 5)])
        found.send([Request(NOW_S - 60, key("2xx", "books", "/a"), 5)])
        edges_s = (NOW_S - 120, NOW_S)
        for fields, counted in (
            ({"service": "shop", "route": "/a"}, (1, 1)),
            ({"service": "shop"}, (2, 1)),
            ({"environment": "live"}, (3, 1)),
            ({"environment": "test"}, (0, 0)),
        ):
            slo = msgspec.convert({"name": "x", "target": 0.9, **fields}, SloSettings)
            assert count(found.engine.store, slo, edges_s) == [counted]


def test_objectives_survive_a_restart_and_know_who_changed_them(days: World) -> None:
    book = SloBook(days.state, days.clock)
    made = book.add(ERRORS, ADA)
    again = SloBook(days.state, days.clock)
    assert again.find(made.id) == made
    assert (made.changed_by, made.changed_s) == ("ada", days.clock.now_s)
    changed = again.replace(made.id, FAST, BOB)
    assert book.find(made.id) == changed
    answer = days.ask("/slos")["slos"]
    assert [(row["settings"]["name"], row["changedBy"]) for row in answer] == [("fast", "bob")]
    assert "1.1 %" in answer[0]["note"]
    book.delete(made.id, BOB)
    assert days.ask("/slos")["slos"] == []
    (trail, _) = AuditTrail(days.state).entries(0, 2**32, 10)
    assert [(entry.by, entry.action) for entry in trail] == [
        ("bob", "slo.delete"), ("bob", "slo.change"), ("ada", "slo.add")
    ]  # fmt: skip


def test_objectives_from_a_file_are_read_only(days: World) -> None:
    book = SloBook(days.state, days.clock)
    book.use_file([parse_slo({"name": "Checkout is fast", "target": 0.99, "objective": "latency",
                              "below": 400, "service": "shop", "window_days": 7})])  # fmt: skip
    (slo,) = book.every()
    assert (slo.id, slo.source, slo.settings.window_days) == ("file-checkout-is-fast", "file", 7)
    with pytest.raises(ApiError, match="from a file") as refused:
        book.delete(slo.id, ADA)
    assert refused.value.status == 409
    with pytest.raises(ApiError) as refused:
        book.replace("slo-unknown", ERRORS, ADA)
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"name": "x", "target": 0.99, "objective": "latency"}, "expected below"),
        ({"name": "x", "target": 0.99, "below": 5}, "expected no below"),
        ({"name": "x", "target": 1.5}, "target"),
        ({"name": "x", "target": 0.99, "windowDays": 7}, "'windowDays'"),
        ({"target": 0.99}, "name"),
    ],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(table: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        parse_slo(table)


def test_there_are_at_most_two_hundred(tmp: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("trimtab_collector.objectives.slos._MOST", 2)
    with world(tmp, empty=True) as found:
        book = SloBook(found.state)
        book.add(ERRORS, ADA)
        book.add(FAST, ADA)
        with pytest.raises(ApiError, match="at most 2"):
            book.add(msgspec.structs.replace(ERRORS, name="third"), ADA)


def test_a_name_is_that_of_one_objective(tmp: Any) -> None:
    with world(tmp, empty=True) as found:
        book = SloBook(found.state)
        book.add(ERRORS, ADA)
        fast = book.add(FAST, ADA)
        renamed = msgspec.structs.replace(FAST, name=ERRORS.name)
        with pytest.raises(ApiError, match="a name of its own") as raised:
            book.add(msgspec.structs.replace(ERRORS, service="shop"), ADA)
        assert raised.value.status == 409
        with pytest.raises(ApiError, match="a name of its own"):
            book.replace(fast.id, renamed, ADA)
        assert book.replace(fast.id, FAST, BOB).settings == FAST
        with pytest.raises(ValueError, match="made by the API"):
            book.of_file([{"name": FAST.name, "target": 0.9}])


def test_a_section_of_the_file_holds_as_a_whole_or_not_at_all(days: World) -> None:
    book = SloBook(days.state, days.clock)
    book.of_file([{"name": "one", "target": 0.9}])()
    assert [slo.id for slo in book.every()] == ["file-one"]
    for wrong in (
        {"name": "x"},
        ["x"],
        [{"name": "one", "target": 2}],
        [{"name": "one", "target": 0.9}, {"name": "One", "target": 0.9}],
        [{"name": f"slo {n}", "target": 0.9} for n in range(201)],
    ):
        with pytest.raises((ValueError, SettingsError)):
            book.of_file(wrong)
    assert [slo.id for slo in book.every()] == ["file-one"]
    book.of_file(None)()
    assert book.every() == []
