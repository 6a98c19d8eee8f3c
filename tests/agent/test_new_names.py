"""Who brings new names without end takes them from nobody else, at the agent or of its key."""

import pytest

from support.clock import Clock
from trimtab_agent import names as limits
from trimtab_agent.aggregator import Aggregator
from trimtab_agent.app import App
from trimtab_agent.gathered import Gathered
from trimtab_agent.names import AgentNames, NamesInUse
from trimtab_agent.peers import Peer, Sharer
from trimtab_agent.window import gauges_of
from trimtab_core.deltas import Deltas
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.messages import Hello, Samples
from trimtab_core.records import RECORD_SIZE, Record, pack
from trimtab_core.rows import unpack_rows

NOW_S = 1_700_000_005
SERVICES_OF_A_PROCESS = 60
#: what one key may have at a collector that has its default settings
OF_A_KEY = {"services": 3_000, "series": 150_000}


def app_of(service: str, process: int, user: str = "1000", host: str = "host") -> App:
    hello = Hello("test", service, "1", host, 1, process.to_bytes(8, "big"))
    return App(hello, 0, peer=Peer(user, is_here=True, process=process))


def owner_of(process: int, user: str = "1000") -> Sharer:
    return app_of("shop", process, user).owner


def taken(names: NamesInUse, owner: Sharer, first: int, count: int = 100_000) -> int:
    """Return how many new names an owner brings until it may bring no more."""
    return next((n for n in range(count) if not names.take((first, n), owner)), count)


def test_a_process_that_names_services_without_end_is_refused_and_no_other() -> None:
    names = AgentNames()
    named = [names.refusal(app_of(f"bad{number}", 1)) for number in range(4_000)]
    assert named.index(None) == 0
    assert named.count(None) <= SERVICES_OF_A_PROCESS
    reason, sentence = named[-1] or ("", "")
    assert (reason, "process 1 of user 1000 names too many services" in sentence) == ("names", True)
    assert names.refusal(app_of("newcomer", 2)) is None
    # What it has named already it may name again, and so may whoever comes after it.
    assert names.refusal(app_of("bad0", 1)) is None
    assert names.refusal(app_of("bad1", 3)) is None


def test_a_process_that_names_hosts_without_end_is_refused_and_no_other() -> None:
    names = AgentNames()
    named = [names.refusal(app_of("bad", 1, host=f"host-{number}")) for number in range(4_000)]
    assert named.count(None) < 300
    assert names.refusal(app_of("bad", 2, host="another")) is None


@pytest.mark.parametrize(("kind", "limit", "part"), [
    ("services", *limits._SERVICES), ("series", *limits._SERIES),
])  # fmt: skip
def test_a_user_of_many_processes_leaves_half_of_the_names_and_most_of_the_keys(
    kind: str, limit: int, part: int
) -> None:
    names = NamesInUse(limit, part)
    by_process = [taken(names, owner_of(process), process) for process in range(1, 200)]
    assert max(by_process) <= limit // part
    assert sum(by_process) <= limit // 2 < OF_A_KEY[kind] * 2 // 5
    others = sum(taken(names, owner_of(process, "1001"), process) for process in range(200, 400))
    assert limit // 8 < others < limit // 2
    assert sum(by_process) + others < OF_A_KEY[kind] * 3 // 4


def test_a_name_in_use_costs_nothing_and_one_that_nobody_uses_is_free_after_an_hour() -> None:
    clock = Clock(1000.0)
    names = NamesInUse(1_000, 4, clock)
    assert taken(names, owner_of(1), 1) == 200
    for _ in range(6):
        clock.advance_s(1000)
        # Another process uses half of them, under the same names, and needs no place for it.
        assert all(names.take((1, n), owner_of(2)) for n in range(100))
    assert taken(names, owner_of(1), 2) == 100
    assert taken(names, owner_of(2), 3) >= 150


def test_routes_without_end_become_other_and_the_new_ones_of_another_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_SERIES", (1_000, 4))
    aggregator = Aggregator(10, 10_000)
    flood, honest, sent = app_of("flood", 1), app_of("shop", 2), 0
    named, requests = set[str](), 0
    for turn in range(20):
        flood.routes = {route: f"/{turn}/{route}" for route in range(1, 101)}
        flood.series.clear()
        data = b"".join(pack(Record(route, 1, 0, 200, 1000)) for route in flood.routes)
        now_s = NOW_S + 10 * turn
        sent_at = int(now_s * 1e6)
        aggregator.add(flood, Samples(sent_at, 0, sent, {}, RECORD_SIZE, data), now_s)
        sent += 100
        (window,) = aggregator.close(float("inf"))
        named |= {key.route for key in window.points}
        requests += sum(sum(point.buckets.values()) for point in window.points.values())
    assert len(named) == 200 + len({"other"})
    assert (requests, aggregator.over_limit) == (2_000, 1_800)
    honest.routes = {1: "/new"}
    data = pack(Record(1, 1, 0, 200, 1000))
    aggregator.add(honest, Samples(0, 0, 0, {}, RECORD_SIZE, data), NOW_S)
    (window,) = aggregator.close(float("inf"))
    assert [key.route for key in window.points] == ["/new"]


def test_measures_without_end_become_other_and_the_new_ones_of_another_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_MEASURES", (1_000, 4))
    monkeypatch.setattr(limits, "_OTHERS", (100, 4))
    gathered, flood, honest = Gathered(), app_of("flood", 1), app_of("shop", 2)
    sent = set[MeasureKey]()
    for turn in range(10):
        keys = {
            number: MeasureKey("work", COUNTER, "1", (("what", f"{turn}.{number}"),))
            for number in range(1, 101)
        }
        keys |= {number + 100: MeasureKey(f"n{turn}.{number}", COUNTER) for number in range(1, 101)}
        flood.name_measures(keys)
        deltas = [(number, Delta(1, 1.0, 1.0, 1.0, 1.0)) for number in keys]
        gathered.add(flood, Deltas(deltas), [NOW_S])
        for rows in gathered.take(NOW_S):
            sent.update(row.key for row in unpack_rows(rows)[0])
    others = 20
    assert len(sent) == 200 + others
    assert gathered.over_limit + gathered.measures_dropped == 2_000 - 200 - (others - 1)
    honest.name_measures({1: MeasureKey("orders", COUNTER, "1", (("what", "new"),))})
    gathered.add(honest, Deltas([(1, Delta(1, 1.0, 1.0, 1.0, 1.0))]), [NOW_S])
    (rows,) = gathered.take(NOW_S)
    assert [row.key.attributes for row in unpack_rows(rows)[0]] == [(("what", "new"),)]


def test_gauges_without_end_are_left_out_and_the_new_ones_of_another_are_not() -> None:
    names, flood, honest = AgentNames(), app_of("flood", 1), app_of("shop", 2)
    sent = 0
    for turn in range(60):
        flood.gauges = {f"gauge.{turn}.{number}": 1.0 for number in range(250)}
        sent += len(gauges_of({b"flood": flood}, "host", {}, names.gauges))
    limit, part = limits._GAUGES
    assert limit // (part + 2) < sent < limit // part
    assert names.gauges.refused == 15_000 - sent
    honest.gauges = {"process.uptime": 7.0}
    rows = gauges_of({b"shop": honest}, "host", {"system.cpu.load_1m": 1.0}, names.gauges)
    assert [(row.service, row.name) for row in rows] == [
        ("", "system.cpu.load_1m"), ("shop", "process.uptime"),
    ]  # fmt: skip
