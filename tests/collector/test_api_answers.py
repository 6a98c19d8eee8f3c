"""Answers over days, against requests counted one by one: steps, filters, groups, comparisons."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.processes.servers import short_dir
from support.stores.apiworld import (
    BERLIN,
    END_S,
    NOW_S,
    START_S,
    Request,
    World,
    digits,
    figures,
    world,
)
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Sent, append
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.heatmap import COARSEST
from trimtab_collector.contract.parameters import FIELDS
from trimtab_collector.reads.heatmap import heat
from trimtab_collector.storage.columns import Columns
from trimtab_collector.storage.store import TooMuchError
from trimtab_core.batches import Point
from trimtab_core.sketch import BUCKET_OFFSET, BUCKETS, SCALE, Sketch

ALL = {"from_": START_S, "to": END_S}


@pytest.fixture(scope="module")
def days() -> Iterator[World]:
    with short_dir() as directory, world(directory) as found:
        yield found


def shown(row: dict[str, Any], of: dict[str, Any] | Any) -> dict[str, Any]:
    return {name: row[name] for name in of}


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("name", ["Europe/Berlin", "Asia/Kolkata", "America/New_York", "UTC"])
def test_a_row_of_daily_history_is_a_day_of_the_zone(days: World, name: str) -> None:
    zone = ZoneInfo(name)
    answer = days.ask("/metrics/history", period="daily", **ALL, step="day", tz=name)
    assert answer["step"] == "day"
    assert answer["resolution"] <= 60
    by_day: dict[object, list[Request]] = {}
    for one in days.requests:
        by_day.setdefault(datetime.fromtimestamp(one.t, zone).date(), []).append(one)
    assert len(answer["series"]) == len(by_day) >= 5
    for row, (day, requests) in zip(answer["series"], by_day.items(), strict=True):
        start = datetime.fromisoformat(row["t"])
        assert (start.date(), start.hour, start.minute) == (day, 0, 0)
        want = figures(requests, row["seconds"])
        assert shown(row, want) == want
    lengths = [row["seconds"] / 3600 for row in answer["series"]]
    assert lengths[2] == (25 if name == "Europe/Berlin" else 24)


def test_steps_without_requests_have_no_row(days: World) -> None:
    answer = days.ask("/metrics/history", **ALL, step=600)
    starts = [int(seconds(row["t"])) for row in answer["series"]]
    assert starts == sorted({one.t - one.t % 600 for one in days.requests})
    assert sum(row["requests"] for row in answer["series"]) == len(days.requests)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_filters_and_groups(days: World, name: str) -> None:
    field = FIELDS[name]
    groups = Counter(getattr(one.key, field) for one in days.requests)
    answer = days.ask("/metrics/history", groupBy=name, **ALL, step=86_400)
    assert answer["groupBy"] == [name]
    assert {row["group"][name]: row["requests"] for row in answer["groups"]} == groups
    assert [row["requests"] for row in answer["groups"]] == sorted(groups.values(), reverse=True)
    for group in answer["groups"]:
        text = group["group"][name]
        alone = days.ask("/metrics/history", **ALL, step=86_400, **{name: text})
        assert group["series"] == alone["series"]
        want = figures(days.within(START_S, END_S, **{field: text}), END_S - START_S)
        overall = days.ask("/response-time", **ALL, **{name: text})["overall"]
        assert shown(overall, want) == want
        # Whole steps: the range that is answered is longer.
        arrived_s = min(seconds(answer["to"]), NOW_S) - seconds(answer["from"])
        want = figures(days.within(START_S, END_S, **{field: text}), arrived_s)
        assert shown(group["overall"], want) == want
        assert group["requests"] == group["overall"]["requests"]


def test_groups_beyond_the_limit_are_counted_as_left_out(days: World) -> None:
    by = ("service", "route", "method")
    answer = days.ask("/metrics/history", period="weekly", groupBy=",".join(by), limit=5, **ALL)
    counts = Counter((one.key.service, one.key.route, one.key.method) for one in days.requests)
    assert answer["groupsLeftOut"] == len(counts) - 5
    assert [row["requests"] for row in answer["groups"]] == [n for _, n in counts.most_common(5)]
    assert list(answer["groups"][0]["group"]) == list(by)
    for row in answer["groups"]:
        assert sum(step["requests"] for step in row["series"]) == row["requests"]


def test_too_many_steps_of_groups_are_refused_with_the_way_to_ask_less(days: World) -> None:
    by = {"groupBy": "environment,instance", "step": 60}
    with pytest.raises(TooMuchError, match="20000 of those shown, got 5820 steps of 6 groups"):
        days.ask("/metrics/history", **by, **ALL)
    assert days.ask("/metrics/history", **by, **ALL, limit=3)["groups"]
    with pytest.raises(TooMuchError, match="at most 500 steps"):
        days.ask("/heatmap", **ALL, step=600)


def test_latencies_of_one_route_have_its_steps(days: World) -> None:
    answer = days.ask("/routes/latency", **ALL, route="/cart", service="shop", step="day")
    keys = {(one.key.environment, one.key.method) for one in days.within(0, NOW_S, service="shop")}
    assert len(answer["routes"]) == len(keys)
    slowest = [row["p99"] for row in answer["routes"]]
    assert slowest == sorted(slowest, reverse=True)
    for row in answer["routes"]:
        fields = {name: row[name] for name in ("environment", "service", "route", "method")}
        want = figures(days.within(START_S, END_S, **fields), END_S - START_S)
        assert all(row[name] == want[name] for name in ("requests", "p50", "p99", "p999", "max"))
        for step in row["series"]:
            start_s = seconds(step["t"])
            # The last day is not over.
            arrived_s = min(86_400, NOW_S - start_s)
            want = figures(days.within(start_s, start_s + 86_400, **fields), arrived_s)
            assert shown(step, [*set(step) - {"t"}]) == {
                name: want[name] for name in set(step) - {"t"}
            }
    assert days.ask("/routes/latency", by="mean", limit=2, **ALL)["routesLeftOut"] > 0
    assert "series" not in days.ask("/routes/latency", **ALL)["routes"][0]


@pytest.mark.parametrize(("scale", "most"), [(5, 200), (5, 60), (2, 60), (5, 10), (-2, 60)])
def test_a_heatmap_has_every_request_in_its_bucket(days: World, scale: int, most: int) -> None:
    answer = days.ask("/heatmap", scale=scale, buckets=most, **ALL, step=3600, service="shop")
    lower, upper = answer["lower"], answer["upper"]
    assert len(lower) <= most
    assert all(high == low for high, (low, _) in zip(upper, pairwise(lower[1:]), strict=False))
    cells: Counter[tuple[int, int]] = Counter()
    for one in days.within(START_S, END_S, service="shop"):
        (place,) = [j for j in range(len(lower)) if lower[j] < one.us / 1000 <= upper[j]]
        cells[one.t - one.t % 3600, place] += 1
    found = {
        (int(seconds(t)), place): count
        for t, row in zip(answer["times"], answer["counts"], strict=True)
        for place, count in enumerate(row)
        if count
    }
    assert found == cells
    assert answer["requests"] == cells.total()
    assert answer["scale"] <= scale
    assert upper[-1] / lower[-1] == pytest.approx(2 ** (2.0 ** -answer["scale"]))


SKETCHES = st.lists(
    st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 2**40), max_size=20), max_size=5
)


@given(SKETCHES, st.integers(COARSEST, SCALE), st.integers(10, 200))
def test_joining_buckets_is_exact_and_within_bounds(
    sketches: list[dict[int, int]], scale: int, most: int
) -> None:
    buckets = [bucket for sketch in sketches for bucket in sorted(sketch)]
    counts = [sketch[bucket] for sketch in sketches for bucket in sorted(sketch)]
    sizes = np.array([len(sketch) for sketch in sketches], np.int64)
    key = np.arange(len(sketches))
    found = heat(
        Columns(
            key, {"requests": key}, sizes, np.array(buckets, np.uint16), np.array(counts, "i8")
        ),
        scale,
        most,
    )
    assert COARSEST <= found.scale <= scale
    assert found.counts.shape == (len(sketches), len(found.lower))
    assert len(found.lower) <= most
    first = int(any(0 in sketch for sketch in sketches))
    low = (
        min((bucket for bucket in buckets if bucket), default=0) - BUCKET_OFFSET
        >> SCALE - found.scale
    )
    for sketch, row in zip(sketches, found.counts.tolist(), strict=True):
        joined = Sketch(sketch).downscaled(found.scale)
        assert {low + j: n for j, n in enumerate(row[first:]) if n} == joined
        assert not first or row[0] == sketch.get(0, 0)


def by_route(requests: list[Request]) -> dict[tuple[str, ...], list[Request]]:
    found: dict[tuple[str, ...], list[Request]] = {}
    for one in requests:
        key = one.key
        found.setdefault((key.environment, key.service, key.route, key.method), []).append(one)
    return found


@pytest.mark.parametrize("by", ["p95", "errorRate", "requestsPerSecond", "mean", "apdex"])
def test_two_ranges_are_compared_by_rates_route_by_route(days: World, by: str) -> None:
    middle_s = START_S + 2 * 86_400
    query = {"from_": middle_s, "to": END_S, "againstFrom": START_S, "againstTo": middle_s - 36_000}
    answer = days.ask("/compare", by=by, limit=1000, minRequests=1, **query)
    a, b = days.within(START_S, middle_s - 36_000), days.within(middle_s, END_S)
    a_s, b_s = answer["a"]["seconds"], answer["b"]["seconds"]
    assert (a_s, b_s) == (2 * 86_400 - 36_000, END_S - middle_s)
    assert (answer["a"]["requests"], answer["b"]["requests"]) == (len(a), len(b))
    assert f"a has {len(a):,} requests in {a_s:,g} s" in answer["notes"][0]
    assert "different length" in answer["notes"][1]
    before, after = by_route(a), by_route(b)
    assert len(answer["routes"]) == len({*before, *after})
    changes = []
    for row in answer["routes"]:
        name = tuple(row[field] for field in ("environment", "service", "route", "method"))
        old, new = figures(before[name], a_s), figures(after[name], b_s)
        assert shown(row["a"], old) == old
        assert shown(row["b"], new) == new
        assert row["difference"]["requests"] is None
        assert row["difference"][by] == pytest.approx(row["b"][by] - row["a"][by])
        if row["a"][by]:
            assert row["change"][by] == pytest.approx(row["b"][by] / row["a"][by] - 1)
        share = by in ("errorRate", "apdex")
        ratio = row["b"][by] / row["a"][by] if row["a"][by] else 0
        changes.append(abs(row["difference"][by]) if share else max(ratio, 1 / ratio))
    assert changes == sorted(changes, reverse=True)


def test_versions_are_compared_over_one_range(days: World) -> None:
    versions = {**ALL, "field": "version", "a": "1", "b": "2"}
    answer = days.ask("/compare", **versions, limit=3, minRequests=20)
    old = figures(days.within(START_S, END_S, version="1"), END_S - START_S)
    new = figures(days.within(START_S, END_S, version="2"), END_S - START_S)
    assert shown(answer["overall"]["a"], old) == old
    assert shown(answer["overall"]["b"], new) == new
    assert answer["overall"]["difference"]["requests"] == new["requests"] - old["requests"]
    assert (answer["a"]["where"], answer["b"]["where"]) == ({"version": "1"}, {"version": "2"})
    assert len(answer["routes"]) == 3
    assert answer["routesLeftOut"] == len(by_route(days.requests)) - 3
    few = days.ask("/compare", **versions, limit=1000, minRequests=10**6)
    assert not any(row["enough"] for row in few["routes"])


def test_a_side_with_nothing_is_said_and_compares_with_nothing(days: World) -> None:
    answer = days.ask("/compare", **ALL, field="version", a="1", b="3", minRequests=1)
    assert "b has no requests: nothing is compared" in answer["notes"]
    assert answer["routes"][0]["b"] is None
    for name in ("p95", "mean", "errorRate", "apdex"):
        assert answer["overall"]["difference"][name] is None
        assert answer["overall"]["change"][name] is None
    assert answer["overall"]["change"]["requestsPerSecond"] == -1


def test_the_range_before_has_no_window_in_common_and_a_day_ago_is_the_same_hour(
    days: World,
) -> None:
    before = days.ask("/compare", from_=END_S - 3593, to=END_S - 7)
    assert before["a"]["to"] == before["b"]["from"]
    assert before["a"]["seconds"] == before["b"]["seconds"] == 3600
    noon = datetime(2026, 10, 25, 12, tzinfo=BERLIN)
    query = {"from_": noon.timestamp(), "to": noon.timestamp() + 3600, "tz": "Europe/Berlin"}
    yesterday = days.ask("/compare", **query, against="day")
    assert yesterday["a"]["from"] == "2026-10-24T12:00:00.000+02:00"
    assert yesterday["b"]["from"] == "2026-10-25T12:00:00.000+01:00"
    with pytest.raises(ApiError, match="400 days"):
        days.ask("/compare", againstFrom="1", againstTo="now")


def test_a_step_that_has_not_ended_has_the_rate_of_what_has_arrived() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        now_s = START_S + 25
        found.clock.now_s = now_s
        key = key_of("/", "shop")
        found.send([Request(START_S + t, key, 1000) for t in (-10, 0, 0, 0)])
        series = found.ask("/metrics/history", step=60, from_=START_S - 60, to=now_s)["series"]
        assert [(row["requests"], row["seconds"]) for row in series] == [(1, 60), (3, 10)]
        assert [row["requestsPerSecond"] for row in series] == [digits(1 / 60), 0.3]
        groups = found.ask("/metrics/history", groupBy="route", step=60, from_=START_S - 60)
        assert groups["groups"][0]["series"] == series


def test_connections_have_rows_of_their_own_behind_those_of_requests() -> None:
    points = {
        key_of("/ws"): Point(websockets=2, websocket_us=8_000_000),
        key_of("/events"): Point(event_streams=1, event_stream_us=500_000),
        key_of("/"): point_of([500], event_streams=3, event_stream_us=9_000),
    }
    with short_dir() as directory, world(directory, empty=True) as found:
        append(found.engine, Sent(a_batch(0, points, window_s=START_S), points))
        for by in ("p99", "totalTime", "rps", "requests", "errorRate"):
            rows = found.ask("/routes", by=by, **ALL)["routes"]
            assert [(row["kind"], row["route"]) for row in rows] == [
                ("request", "/"),
                ("webSocket", "/ws"),
                ("eventStream", "/"),
                ("eventStream", "/events"),
            ]
        assert (rows[0]["requests"], "webSockets" in rows[0]) == (1, False)
        assert (rows[1]["connections"], rows[1]["openMean"], "p99" in rows[1]) == (2, 4000, False)
        assert rows[2]["connectionsPerSecond"] == pytest.approx(3 / (END_S - START_S))
        few = found.ask("/routes", limit=2, **ALL)
        assert (few["routes"], few["routesLeftOut"]) == (rows[:2], 2)
        assert found.ask("/routes", kind="eventStream", **ALL)["routes"] == rows[2:]
        assert len(found.ask("/routes/latency", **ALL)["routes"]) == 1
        against = found.ask("/compare", from_=START_S, to=START_S + 10)
        assert [row["route"] for row in against["routes"]] == ["/"]


def test_at_the_live_edge_a_range_is_compared_with_one_of_the_same_length() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        now_s = found.clock.now_s = START_S + 137
        keys = (key_of("/", "shop"), key_of("/", "books"))
        windows = [START_S + 10 * place for place in range(13)]
        found.send([Request(t, key, 1000) for t in windows for key in keys])
        answer = found.ask("/compare", from_=now_s - 60, service="shop")
        # Those of the range that have arrived: the last is still on its way.
        assert answer["a"]["seconds"] == answer["b"]["seconds"] == 60
        assert answer["a"]["to"] == answer["b"]["from"]
        assert answer["a"]["requests"] == answer["b"]["requests"] == 6
        assert answer["a"]["where"] == answer["b"]["where"] == {"service": "shop"}
        assert len(answer["notes"]) == 3  # counts, and what six requests do not show
        assert answer["overall"]["difference"]["requests"] == 0
        yesterday = found.ask("/compare", from_=now_s - 60, against="day")
        assert yesterday["a"]["seconds"] == yesterday["b"]["seconds"]


# ---------------------------------------------------------------- analysis, advice


def test_days_are_judged_by_all_their_requests(days: World) -> None:
    found = days.ask("/analysis", from_=START_S, to=END_S)
    assert found["status"] == "critical"
    issues = {
        (each["where"]["environment"], each["where"]["service"]): each
        for each in found["issues"]
        if each["type"] == "high_latency"
    }
    assert len(found["services"]) == 4
    for service in found["services"]:
        name = service["environment"], service["service"]
        counted = days.within(START_S, END_S, environment=name[0], service=name[1])
        want = figures(counted, END_S - START_S)
        assert (service["requests"], digits(service["p99"])) == (want["requests"], want["p99"])
        assert digits(service["errorRate"]) == want["errorRate"]
        assert (service["p99"] > 1000) is (name in issues)
        for evidence in issues[name]["evidence"] if name in issues else ():
            if "route" in evidence["where"]:
                route = {key: evidence["where"][key] for key in ("route", "method")}
                slow = [one for one in counted if one.us > 1_011_000]
                mine = [one for one in slow if one.key.route == route["route"]
                        and one.key.method == route["method"]]  # fmt: skip
                told = int(evidence["text"].partition(" ")[0].replace(",", ""))
                # A bucket at the line holds requests of both sides of it.
                assert len(mine) <= told <= len(mine) + 2


def test_a_range_without_anything_is_healthy_and_says_so(days: World) -> None:
    for path, key in (("/analysis", "issues"), ("/advice", "advice")):
        found = days.ask(path, from_=START_S - 7200, to=START_S - 3600)
        assert found[key] == []
        assert found.get("status", "healthy") == "healthy"


def test_a_filter_by_service_and_by_instance_leaves_out_the_others(days: World) -> None:
    found = days.ask("/analysis", from_=START_S, to=END_S, service="books", environment="live")
    assert [(each["environment"], each["service"]) for each in found["services"]] == [
        ("live", "books")
    ]
    one = days.ask("/analysis", from_=START_S, to=END_S, service="books", environment="live",
                   instance="host#1")  # fmt: skip
    assert 0 < one["services"][0]["requests"] < found["services"][0]["requests"]
