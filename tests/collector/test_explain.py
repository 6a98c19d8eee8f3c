"""Why requests became slower: parts add up to the difference, and name what was planted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.processes.servers import short_dir
from support.stores.apiworld import START_S, World, world
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Sent, append
from support.stores.rowbatches import delta_of
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.explanation import CAUSES
from trimtab_collector.reads.explain import largest_share
from trimtab_collector.reads.reasons import PHRASES
from trimtab_collector.reads.shares import Spent, added, parts_of
from trimtab_core.batches import GaugeRow, Point, SeriesKey
from trimtab_core.measures import HISTOGRAM, MeasureKey
from trimtab_core.rows import MeasureRow, pack_rows

HOUR_S = 3600
#: side a is the first hour, side b the second
BOTH = {"from_": START_S + HOUR_S, "to": START_S + 2 * HOUR_S}
ORDERS, CART = "SELECT * FROM orders", "SELECT * FROM cart"

SPENT = st.builds(
    Spent,
    st.integers(0, 1000),
    st.fixed_dictionaries({cause: st.floats(0, 1e6) for cause in CAUSES}),
)
SIDE = st.dictionaries(st.tuples(st.sampled_from("abcde")), SPENT, max_size=5)


@given(SIDE, SIDE)
def test_the_parts_of_all_groups_add_up_to_the_difference(
    a: dict[tuple[str, ...], Spent], b: dict[tuple[str, ...], Spent]
) -> None:
    a, b = ({name: each for name, each in side.items() if each.requests} for side in (a, b))
    parts = parts_of(a, b)
    if not a or not b:
        assert parts == []
        return
    difference = added(b).mean - added(a).mean
    near = 1e-9 * (1 + added(a).mean + added(b).mean + max(part.b.mean for part in parts))
    assert sum(part.difference for part in parts) == pytest.approx(difference, abs=near)
    for part in parts:
        assert part.slower + part.shift == pytest.approx(part.difference, abs=near)
        assert sum(part.causes.values()) == pytest.approx(part.slower, abs=near)


def put(
    found: World,
    at_s: int,
    points: Mapping[SeriesKey, Point],
    statements: Mapping[str, Sequence[float]] | None = None,
    gauges: Sequence[GaugeRow] = (),
) -> None:
    rows = [
        MeasureRow(
            "test", "shop", "host#0",
            MeasureKey("db.client.operation.duration", HISTOGRAM, "s", (("db.query.text", text),)),
            delta_of(seconds),
        )
        for text, seconds in (statements or {}).items()
    ]  # fmt: skip
    packed = pack_rows(rows, [])
    batch = a_batch(at_s, points, window_s=at_s, gauges=gauges, rows=packed[0] if packed else b"")
    append(found.engine, Sent(batch, points))


def times(count: int, ms: int, **parts: int) -> Point:
    """Return requests that all take a time; parts are of all of them together, ms."""
    point = point_of([1000 * ms] * count)
    for name, value in parts.items():
        setattr(point, f"{name}_us", 1000 * value * count)
    return point


@pytest.fixture(scope="module")
def slower() -> Iterator[World]:
    """An hour, and one in which /orders waits for more queries, and /cart takes as long."""
    with short_dir() as directory, world(directory, empty=True) as found:
        before = times(300, 50, db=20, external=10)
        before.db_calls = 300 * 2
        after = times(300, 130, db=100, external=10)
        after.db_calls = 300 * 10
        orders, cart = key_of("/orders"), key_of("/cart", instance="host#1")
        put(found, START_S + 60, {orders: before, cart: times(100, 20)}, {ORDERS: [0.01] * 600})
        put(
            found,
            START_S + HOUR_S + 60,
            {orders: after, cart: times(100, 20)},
            {ORDERS: [0.01] * 3000, CART: [0.001] * 4},
        )
        yield found


def test_a_slower_route_is_named_with_its_cause_and_what_calls_have_to_do_with_it(
    slower: World,
) -> None:
    found = slower.ask("/explain", **BOTH)
    assert (found["a"]["requests"], found["b"]["requests"], found["enough"]) == (400, 400, True)
    assert found["meanA"] == pytest.approx((300 * 50 + 100 * 20) / 400)
    assert found["difference"] == pytest.approx(60)
    assert found["difference"] > found["noise"] > 0
    first = found["causes"][0]
    assert (first["cause"], first["share"]) == ("database", pytest.approx(1))
    assert first["difference"] == pytest.approx(60)
    assert first["calls"]["byCount"] == pytest.approx(60)
    assert first["calls"]["byDuration"] == pytest.approx(0)
    assert sum(each["difference"] for each in found["causes"]) == pytest.approx(60)
    for rows, name in ((found["routes"], "route"), (found["instances"], "instance")):
        assert [row[name] for row in rows] == [rows[0][name], rows[1][name]]
        assert rows[0]["share"] == pytest.approx(1)
        assert rows[0]["causes"]["database"] == pytest.approx(60)
        assert rows[0]["shift"] == pytest.approx(0)
        assert rows[1]["difference"] == pytest.approx(0)
    assert (found["routes"][0]["route"], found["instances"][0]["instance"]) == ("/orders", "host#0")
    assert [row["version"] for row in found["versions"]] == ["1"]
    notes = " ".join(found["notes"])
    assert "100% of the difference is time in queries" in notes
    assert "a request makes 7.5 calls, not 1.5" in notes
    assert "100% of it is GET /orders of shop" in notes
    assert list(PHRASES.differences()) == []
    assert "차이의 100%: 쿼리 시간" in " ".join(slower.ask("/explain", **BOTH, lang="ko")["notes"])


def test_statements_show_what_they_add_to_a_request(slower: World) -> None:
    rows = slower.ask("/explain", **BOTH)["statements"]
    assert [row["what"] for row in rows] == [ORDERS, CART]
    assert rows[0]["a"] == pytest.approx(600 * 10 / 400)
    assert rows[0]["difference"] == pytest.approx(2400 * 10 / 400)
    assert (rows[0]["callsA"], rows[0]["callsB"]) == (1.5, 7.5)
    assert rows[1]["a"] == 0
    # A filter that measures do not know changes neither them nor what they are divided by.
    of_route = slower.ask("/explain", route="/orders", **BOTH)
    assert of_route["statements"] == rows
    assert "those of all routes" in " ".join(of_route["notes"])


def test_the_largest_share_says_the_same_as_the_explanation(slower: World) -> None:
    start_s = START_S + HOUR_S
    found = largest_share(
        slower.reader, {"service": "shop"}, start_s, start_s + HOUR_S, start_s + 2 * HOUR_S
    )
    assert found is not None
    assert (found.cause, found.route, found.method) == ("database", "/orders", "GET")
    assert found.cause_share == pytest.approx(1)
    # Faster is no rise, and what nobody asked for says nothing.
    for where, at_s in (({"service": "shop"}, start_s + HOUR_S), ({"service": "no"}, start_s)):
        assert largest_share(slower.reader, where, at_s, at_s + HOUR_S, at_s + HOUR_S) is None


def test_a_share_of_requests_that_changed_is_no_route_that_became_slower() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        fast, slow = key_of("/fast"), key_of("/slow")
        put(found, START_S + 60, {fast: times(900, 10), slow: times(100, 100)})
        put(found, START_S + HOUR_S + 60, {fast: times(500, 10), slow: times(500, 100)})
        answer = found.ask("/explain", **BOTH)
        first = answer["routes"][0]
        assert (first["route"], first["slower"]) == ("/slow", 0)
        assert answer["difference"] == pytest.approx(36)
        assert first["shift"] == first["difference"]
        assert "because its share of the requests changed" in " ".join(answer["notes"])


def test_a_new_version_is_the_part_that_is_slower() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        old, new = key_of(version="1"), key_of(version="2")
        put(found, START_S + 60, {old: times(200, 40, queue=5)})
        put(found, START_S + HOUR_S + 60, {new: times(200, 60, queue=30)})
        answer = found.ask("/explain", **BOTH)
        assert answer["meanA"] == pytest.approx(45)
        shares = {row["version"]: row["share"] for row in answer["versions"]}
        assert shares == {"1": pytest.approx(0), "2": pytest.approx(1)}
        causes = {each["cause"]: each["difference"] for each in answer["causes"]}
        assert causes["queue"] == pytest.approx(25)
        assert causes["app"] == pytest.approx(20)
        versions = {"from_": START_S, "to": START_S + 2 * HOUR_S, "field": "version"}
        beside = found.ask("/explain", **versions, a="1", b="2")
        assert beside["difference"] == answer["difference"]
        assert beside["versions"] == []
        assert beside["a"]["where"] == {"version": "1"}


def test_pauses_of_garbage_collection_are_taken_out_of_the_apps_own_time() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        paused = {"cpython.gc.pause.time": 0.0, "process.uptime": 5000.0}
        for hour, share in enumerate((0.0, 0.2)):
            for second in range(0, 600, 10):
                gauges = [GaugeRow("test", "shop", "host#0", *each) for each in paused.items()]
                points = {key_of(): times(10, 50 + 50 * hour)}
                put(found, START_S + hour * HOUR_S + second, points, gauges=gauges)
                paused["cpython.gc.pause.time"] += 10 * share
                paused["process.uptime"] += 10
        causes = {each["cause"]: each for each in found.ask("/explain", **BOTH)["causes"]}
        assert causes["gc"]["a"] == 0
        assert causes["gc"]["b"] == pytest.approx(100 * 0.2)
        assert causes["app"]["difference"] == pytest.approx(50 - 20)


def test_gauges_are_those_of_the_processes_and_hosts_of_each_side() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        for hour, cpu in enumerate((0.25, 0.75)):
            gauges = [
                GaugeRow("test", "shop", "web-1#0", "process.cpu.utilization", cpu),
                GaugeRow("test", "shop", "web-2#0", "process.cpu.utilization", cpu / 2),
                GaugeRow("test", "other", "web-1#0", "process.cpu.utilization", 1.0),
                *(
                    GaugeRow("", "", f"web-{n}", "system.cpu.utilization", n / 10)
                    for n in (1, 2, 3)
                ),
            ]
            points = {key_of(instance=f"web-{n}#0"): times(10, 50) for n in (1, 2)}
            put(found, START_S + hour * HOUR_S + 60, points, gauges=gauges)
        values = {
            row["name"]: row for row in found.ask("/explain", service="shop", **BOTH)["gauges"]
        }
        assert values["process.cpu.utilization"]["a"] == pytest.approx((0.25 + 0.125) / 2)
        assert values["process.cpu.utilization"]["b"] == pytest.approx((0.75 + 0.375) / 2)
        assert values["system.cpu.utilization"]["unit"] == "1"
        assert values["system.cpu.utilization"]["a"] == pytest.approx(0.15)
        beside = {"field": "instance", "a": "web-1#0", "b": "web-2#0", "service": "shop", **BOTH}
        values = {row["name"]: row for row in found.ask("/explain", **beside)["gauges"]}
        assert values["process.cpu.utilization"]["a"] == 0.75
        assert values["system.cpu.utilization"] == {
            "name": "system.cpu.utilization", "unit": "1", "a": pytest.approx(0.1),
            "b": pytest.approx(0.2),
        }  # fmt: skip


def test_what_chance_makes_is_said_and_nothing_is_blamed() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        spread = point_of([1000 * ms for ms in range(1, 200)])
        put(found, START_S + 60, {key_of(): spread})
        more = point_of([1000 * ms for ms in range(2, 201)])
        put(found, START_S + HOUR_S + 60, {key_of(): more})
        answer = found.ask("/explain", **BOTH)
        assert 0 < answer["difference"] < answer["noise"]
        assert "expected by chance" in answer["notes"][-1]
        nothing = found.ask("/explain", from_=START_S - HOUR_S, to=START_S)
        assert (nothing["meanA"], nothing["difference"], nothing["causes"]) == (None, None, [])
        assert "nothing is explained" in nothing["notes"][-1]


def test_sides_that_contradict_each_other_are_refused_as_in_a_comparison(slower: World) -> None:
    query: dict[str, Any] = {"field": "version", "a": "1", "b": "1"}
    with pytest.raises(ApiError, match="another version"):
        slower.ask("/explain", **BOTH, **query)
