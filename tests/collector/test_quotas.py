"""Quotas: one key's or one app's flood costs itself, and is booked under a reason."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.clock import Clock
from support.processes.servers import Collector, short_dir, wait_for
from support.stores.appending import received
from support.stores.batches import Sender, a_batch, accounting_of, key_of, point_of, window
from support.stores.engines import NOON
from trimtab_collector.auth.keys import AgentKey
from trimtab_collector.quotas import BatchContent, Quotas
from trimtab_collector.storage.accounting import AccountingTable, Staged
from trimtab_collector.storage.catalogue import rows_of
from trimtab_collector.storage.gauges import LatestGauges
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.shares import SharedPlaces
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import EventSelection, MeasureSelection, Numbered, Received
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.batches import Batch, GaugeRow, decode, encode
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

APP = ("test", "shop")


def key(name: str, *services: str, environments: tuple[str, ...] = ()) -> AgentKey:
    return AgentKey(name, b"", name, environments, services, 0.0, None)


def filled(places: SharedPlaces[str], sender: str, app: tuple[str, str], most: int = 10**6) -> int:
    """Take places under ever new names until there are no more; returns how many."""
    count = 0
    while count < most and places.take(f"{sender} {app} {count}", sender, app):
        count += 1
    return count


def test_an_app_ends_at_half_of_a_table_and_a_key_at_three_quarters() -> None:
    places: SharedPlaces[str] = SharedPlaces(10_000)
    assert filled(places, "flood", APP) == 5_000
    apps = [filled(places, "flood", ("test", str(n))) for n in range(20)]
    assert 5_000 + sum(apps) == pytest.approx(7_500, abs=2)
    assert filled(places, "honest", APP, 1_000) == 1_000


def test_the_first_hundred_names_need_only_a_free_place() -> None:
    places: SharedPlaces[str] = SharedPlaces(400)
    for flood in range(3):
        filled(places, f"flood {flood}", APP)
    assert (places.taken, places.is_full) == (400, True)
    places = SharedPlaces(500)
    filled(places, "flood", APP)
    assert filled(places, "honest", APP, 100) == 100


def test_who_no_longer_uses_names_may_use_others() -> None:
    places: SharedPlaces[str] = SharedPlaces(1_000)
    assert filled(places, "key", APP) == 500
    assert [places.turn(), places.turn()] == [0, 500]
    assert places.take("another", "key", APP)


def fitted(quotas: Quotas, who: AgentKey, batch: Batch) -> Batch:
    """Return what becomes of a batch; it still is one."""
    found = quotas.fitted(who, BatchContent(batch, [], [])).batch
    return decode(encode(found))


def flood(count: int, service: str = "flood", first: int = 0) -> Batch:
    points = {
        key_of(f"/{n}", service=service, instance=f"i{n}"): point_of([10])
        for n in range(first, first + count)
    }
    return a_batch(first, points, window_s=window())


def names(batch: Batch) -> set[tuple[str, ...]]:
    return {(row[1], row[4]) for row in rows_of(batch.series)}


def test_a_flood_of_series_becomes_other_and_nobody_elses_do() -> None:
    over = SenderTally()
    quotas = Quotas(2_000, 100, over.note)
    for first in range(0, 4_000, 1_000):
        fitted(quotas, key("one"), flood(1_000, first=first))
    whole = fitted(quotas, key("one"), flood(100, first=4_000))
    assert names(whole) == {("flood", "other")}
    assert whole.points == 100
    honest = flood(200, "shop")
    content = BatchContent(honest, [], [])
    assert quotas.fitted(key("two"), content) is content
    assert over.totals == {"series": 3_100}
    assert {(row.key, row.agent) for row in over.rows()} == {("one", "agent-1")}


def test_an_app_over_its_quota_leaves_room_for_the_others_of_its_key() -> None:
    quotas = Quotas(2_000, 100)
    for first in range(0, 2_000, 1_000):
        fitted(quotas, key("one"), flood(1_000, first=first))
    assert names(fitted(quotas, key("one"), flood(150, "shop"))) == {
        ("shop", f"/{n}") for n in range(150)
    }


def test_names_that_nobody_uses_are_free_again_within_an_hour() -> None:
    clock = Clock(1_000.0)
    quotas = Quotas(400, 100, clock=clock)
    fitted(quotas, key("one"), flood(1_000))
    assert ("flood", "other") in names(fitted(quotas, key("one"), flood(100, first=1_000)))
    for _ in range(2):
        clock.advance_s(1_800)
        fitted(quotas, key("one"), flood(50, first=0))
    assert ("flood", "other") not in names(fitted(quotas, key("one"), flood(100, first=1_000)))


def of_services(count: int, first: int = 0) -> Batch:
    """Return a batch with a point, a process and a gauge of each of many services."""
    every = [f"service-{n}" for n in range(first, first + count)]
    return a_batch(
        first,
        {key_of("/", service=name): point_of([10]) for name in every},
        window_s=window(),
        processes=[
            accounting_of([(0, 1)], 1, process=b"%8d" % n)._replace(service=name)
            for n, name in enumerate(every, first)
        ],
        gauges=[GaugeRow("test", name, "host#0", "process.uptime", 1.0) for name in every],
    )


def test_services_over_the_quota_are_the_service_other_with_all_that_is_theirs() -> None:
    quotas = Quotas(100_000, 400)
    fitted(quotas, key("one"), of_services(1_000))
    found = quotas.fitted(
        key("one"),
        BatchContent(
            of_services(3, 2_000),
            [MeasureRow("test", "service-2000", "i", MeasureKey("work", COUNTER), Delta())],
            [EventRow("test", "service-2000", "i", {"kind": "slow_query", "at_us": 1})],
        ),
    )
    batch = decode(encode(found.batch))
    assert {row[:2] for row in rows_of(batch.series)} == {("other", "other")}
    assert [(each.environment, each.service) for each in batch.processes] == [("other",) * 2] * 3
    assert batch.gauges == []
    assert {(*found.measures[0][:2], *found.events[0][:2])} == {("other",) * 4}
    assert fitted(quotas, key("two"), of_services(50, 3_000)).gauges


def test_a_key_with_a_scope_stays_within_it() -> None:
    quotas = Quotas(100_000, 200)
    fitted(quotas, key("flood"), of_services(1_000))
    filled_up = of_services(2, 5_000)
    fitted(quotas, key("other flood"), of_services(1_000, 6_000))
    scoped = key("test", environments=("test",))
    assert {row[0] for row in rows_of(fitted(quotas, scoped, filled_up).series)} == {"test"}
    named = key("named", "service-5000", "service-5001")
    assert {row[1] for row in rows_of(fitted(quotas, named, filled_up).series)} == {
        "service-5000",
        "service-5001",
    }


def test_texts_of_a_sender_make_no_more_names_of_other_than_there_are_status_classes() -> None:
    quotas = Quotas(1, 100)
    points = {key_of("/", status_class=f"x{n}"): point_of([10]) for n in range(50)}
    found = fitted(quotas, key("one"), a_batch(0, points, window_s=window()))
    assert len(set(rows_of(found.series))) == 2


# ------------------------------------------------ tables of the store


def of_key(store: SQLiteStore, batch: Batch, who: str) -> None:
    asyncio.run(store.append(replace(received(store, batch), key=who)))


def measured(seq: int, service: str, names: range) -> Batch:
    added = Delta()
    added.add([1.0])
    rows = [
        MeasureRow("test", service, "i", MeasureKey(f"work.{n}", COUNTER), added) for n in names
    ]
    (packed,) = pack_rows(rows, [])
    return a_batch(seq, {}, window_s=NOON - 10, rows=packed)


def test_measures_of_one_key_leave_room_for_those_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_collector.storage.sqlite.measures._MOST_MEASURES", 1_000)
    store = SQLiteStore(tmp_path, clock=lambda: NOON)
    try:
        for seq in range(3):
            of_key(store, measured(seq, "flood", range(1_000 * seq, 1_000 * seq + 1_000)), "one")
        of_key(store, measured(9, "shop", range(100)), "two")
        parts = store.read_measures(MeasureSelection((NOON - 10, NOON), ("*",)))
        of_shop = {part.key.name for part in parts if part.service == "shop"}
        assert of_shop == {f"work.{n}" for n in range(100)}
        of_flood = [part for part in parts if part.service == "flood"]
        assert len({part.key.name for part in of_flood}) <= 600
        assert sum(part.delta.sum for part in of_flood) == 3_000
        assert store.over.totals["measures"] >= 2_400
    finally:
        store.close()


def test_latest_gauges_of_one_key_leave_room_for_those_of_another() -> None:
    over = SenderTally()
    latest = LatestGauges(1_000, over)

    def note(service: str, count: int, who: str) -> None:
        gauges = [GaugeRow("test", service, "i", f"gauge.{n}", 1.0) for n in range(count)]
        latest.note(a_batch(0, {}, gauges=gauges), NOON, who)

    note("flood", 2_000, "one")
    note("shop", 100, "two")
    assert sum(row.service == "shop" for row in latest.fresh(NOON)) == 100
    assert (over.totals["gauges"], latest.left_out) == (1_500, 1_500)
    latest.forget(NOON + 3_600)
    note("shop", 400, "two")
    assert len(latest.fresh(NOON)) == 400


def test_events_of_one_app_are_left_out_beyond_its_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_collector.storage.sqlite.events._APP_EVENTS", 10)
    monkeypatch.setattr("trimtab_collector.storage.sqlite.events._KEY_BYTES", 4_000)

    def events(seq: int, service: str, count: int, note: str = "") -> Batch:
        event = {"kind": "slow_query", "at_us": NOON * 1_000_000, "note": note}
        rows = [EventRow("test", service, "i", event)] * count
        return a_batch(
            seq, {}, window_s=NOON - 10, closed_us=NOON * 1_000_000, rows=pack_rows([], rows)[0]
        )

    store = SQLiteStore(tmp_path, clock=lambda: NOON)
    try:
        of_key(store, events(0, "flood", 25), "one")
        of_key(store, events(1, "big", 5, "x" * 1_000), "one")
        of_key(store, events(2, "shop", 8), "two")
        found = store.read_events(EventSelection(NOON - 10, NOON + 10, "slow_query"))
        assert Counter(row.service for row in found) == {"flood": 10, "big": 3, "shop": 8}
        assert store.over.totals == {"events": 17}
    finally:
        store.close()


def counted(
    accounting: AccountingTable, service: str, first: int, count: int, who: str, t: int = NOON
) -> None:
    """Count one record of each of many processes."""
    staged = Staged()
    rows = [
        accounting_of([(0, 1)], 1, process=b"%8d" % n, service=service)
        for n in range(first, first + count)
    ]
    batch = a_batch(0, {}, window_s=t, processes=rows)
    nothing = Numbered(merge([]), np.zeros(0, np.int64), ())
    accounting.stage(staged, Received(batch, b"", nothing, t, 0, 0.0, {}, key=who))
    accounting.confirm(staged)


def test_processes_of_a_flood_are_retired_before_those_of_others() -> None:
    accounting = AccountingTable()
    counted(accounting, "shop", 0, 50, "two", NOON - 60)
    counted(accounting, "own", 100, 30, "one", NOON - 60)
    counted(accounting, "flood", 1_000, 5_000, "one")
    retirement = accounting.retirement(300)
    assert len(retirement.gone) == 5_080 - 300
    assert {service for *_, service in retirement.gone} == {"flood"}
    accounting.retire(retirement)
    assert sum(row.counted for row in accounting.services()) == 5_080


def test_a_flood_of_processes_between_two_retirements_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trimtab_collector.storage.accounting.MAX_PROCESSES", 100)
    monkeypatch.setattr("trimtab_collector.storage.accounting._UNRETIRED", 50)
    over = SenderTally()
    accounting = AccountingTable(over)
    for first in range(0, 500, 50):
        counted(accounting, "flood", first, 50, "one")
    counted(accounting, "shop", 1_000, 20, "two")
    assert {row.service: row.counted for row in accounting.services()} == {"flood": 150, "shop": 20}
    assert over.totals == {"processes": 350}


# ------------------------------------------------ the whole


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    settings = {
        "TRIMTAB_COLLECTOR_MAX_SERIES": "800",
        "TRIMTAB_COLLECTOR_MAX_SERVICES": "400",
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        yield process.start()


def agents(collector: Collector) -> dict[str, Any]:
    found: dict[str, Any] = collector.api.get("/agents")
    return found


def test_a_flood_names_nobody_elses_route_other_and_shows_with_its_agent(
    collector: Collector,
) -> None:
    with Sender(collector.port, collector.new_key()) as one:
        for first in range(0, 3_000, 1_000):
            batch = replace(flood(1_000, first=first), agent="flooding")
            assert one.post(batch)[0] == 202
    with Sender(collector.port, collector.new_key()) as two:
        assert two.post(replace(flood(90, "shop"), agent="honest"))[0] == 202
    shop = collector.api.get("/routes", service="shop", limit=1000)["routes"]
    assert {row["route"] for row in shop} == {f"/{n}" for n in range(90)}
    found = collector.api.get("/routes", service="flood", limit=1000)["routes"]
    assert sum(row["requests"] for row in found) == 3_000
    assert max(row["requests"] for row in found if row["route"] == "other") == 2_600
    wait_for(lambda: len(agents(collector)["agents"]) >= 2, "agents", 10)
    over = {row["name"]: row["overQuota"] for row in agents(collector)["agents"]}
    assert over == {"flooding": {"series": 2_600}, "honest": {}}
    assert collector.api.get("/health")["store"]["overQuota"] == {"series": 2_600}


def test_what_the_journal_keeps_is_what_fits(collector: Collector) -> None:
    with closing(sqlite3.connect(collector.data / "metrics.db")) as connection:
        batches = [decode(row[0]) for row in connection.execute("SELECT payload FROM journal")]
    routes = {row[4] for batch in batches for row in rows_of(batch.series) if row[1] == "flood"}
    assert len(routes) == 401


def test_a_key_that_brings_names_too_fast_comes_later_and_loses_none() -> None:
    with (
        short_dir() as directory,
        Collector(directory) as process,
        Sender(process.start().port, process.new_key()) as honest,
        Sender(process.port, process.new_key()) as fast,
    ):
        honest.insist(replace(flood(10, "shop"), agent="honest"))
        answers = []
        for first in range(0, 8_000, 1_000):
            batch = replace(flood(1_000, first=first), agent="fast")
            answers.append(fast.post(batch))
            if answers[-1][0] != 202:
                assert honest.post(replace(flood(10, "shop"), agent="honest"))[0] == 202
                fast.insist(batch)
        refused = [body["error"]["code"] for status, body in answers if status == 503]
        assert refused
        assert set(refused) == {"busy"}
        assert process.api.counted("flood") == 8_000


def test_refusals_name_key_and_agent_and_one_hides_no_other(collector: Collector) -> None:
    scoped = collector.new_key(services=["books"])
    with Sender(collector.port, scoped) as sender:
        for agent in ("first", "second"):
            assert sender.post(a_batch(1, agent=agent))[0] == 403
    with Sender(collector.port, "ttk_" + "0" * 12 + "_" + "0" * 64) as nobody:
        assert nobody.post(a_batch(1, agent="unknown"))[0] == 401
    key_id = scoped.split("_")[1]
    found = {(row["code"], row["keyId"], row["agent"]) for row in agents(collector)["refusals"]}
    assert found >= {
        ("forbidden", key_id, "first"),
        ("forbidden", key_id, "second"),
        ("unauthorized", None, None),
    }
    assert all(row["message"] for row in agents(collector)["refusals"])
    assert f"key={key_id} agent=first" in collector.output()
    assert "key=unknown agent=unknown" in collector.output()


def test_a_key_with_many_agents_hides_nobody_elses_refusals() -> None:
    tally = SenderTally(lambda: 5.0)
    tally.note("forbidden", "one", "honest", text="why")
    for n in range(10_000):
        tally.note("forbidden", "flood", f"agent-{n}")
    rows = tally.rows()
    assert len(rows) == 102
    assert [row for row in rows if row.key == "one"] == [
        ("forbidden", "one", "honest", 1, 5.0, "why")
    ]
    assert tally.totals == {"forbidden": 10_001}
    assert sum(row.number for row in rows) == 10_001
