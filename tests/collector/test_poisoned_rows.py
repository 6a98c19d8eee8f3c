"""What no honest agent sends, or an older collector stored, costs itself, and all else goes on."""

import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from support.clock import Clock
from support.processes.servers import Collector, wait_for
from support.stores.appending import append
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from support.stores.rowbatches import batch_of, row_of
from trimtab_collector.storage.sqlite import tiering
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.measures import MeasureTable
from trimtab_collector.storage.store import EventSelection, MeasureSelection
from trimtab_core.batches import GaugeRow
from trimtab_core.measures import HISTOGRAM, Delta, MeasureKey
from trimtab_core.names import STOPPING
from trimtab_core.rows import EventRow, MeasureRow

NOON = 1_700_006_400
KEY = MeasureKey("work", HISTOGRAM, "s", (("what", "a"),))


def measured(count: int, total: float) -> MeasureRow:
    return MeasureRow("test", "shop", "host#0", KEY, Delta(count, total, 0.0, 1.0, 1.0, {5: count}))


def read(store: SQLiteStore, start_s: int, end_s: int) -> Delta:
    (part,) = store.read_measures(MeasureSelection((start_s, end_s), names=("work",)))
    return part.delta


@pytest.fixture
def store(tmp: Path) -> Any:
    made = SQLiteStore(tmp, clock=Clock(NOON))
    yield made
    made.close()


def test_counts_that_add_up_to_more_than_a_column_holds_stay_there(store: SQLiteStore) -> None:
    rows = [measured(2**53 - 1, 1.0)] * 1100
    append(store, batch_of(0, rows, NOON - 3600), batch_of(1, [row_of([1.0])], NOON - 10))
    store.compact(NOON)
    assert store.health().compaction == ""
    assert read(store, NOON - 3600, NOON - 3000).count == 2**53 - 1
    assert read(store, NOON - 10, NOON).count == 1


def test_sums_never_become_infinite_or_no_number(store: SQLiteStore) -> None:
    ups, downs = [measured(1, 1.7e308)] * 3, [measured(1, -1.7e308)] * 5
    append(store, batch_of(0, ups, NOON - 3600), batch_of(1, downs, NOON - 3600))
    for _ in range(2):
        store.compact(NOON)
        assert store.health().compaction == ""
    found = read(store, NOON - 3600, NOON - 3000)
    assert (found.count, abs(found.sum) <= sys.float_info.max) == (8, True)


def test_sums_that_an_earlier_collector_stored_as_infinite_are_rolled_up(tmp: Path) -> None:
    store = SQLiteStore(tmp, clock=Clock(NOON))
    append(store, batch_of(0, [measured(1, 1.0), measured(1, 2.0)], NOON - 3600))
    store.close()
    with sqlite3.connect(tmp / "metrics.db") as connection:
        (number,) = connection.execute("SELECT min(rowid) FROM amount").fetchone()
        # Earlier collectors wrote no checksum.
        connection.execute("UPDATE amount SET sum = 9e999, crc = NULL WHERE rowid = ?", [number])
    connection.close()
    store = SQLiteStore(tmp, clock=Clock(NOON))
    store.compact(NOON)
    assert store.health().compaction == ""
    assert read(store, NOON - 3600, NOON - 3000).sum == sys.float_info.max
    store.close()


def test_a_batch_whose_rows_the_store_does_not_take_is_stored_without_them(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = MeasureTable.write

    def write(self: MeasureTable, connection: Any, batches: Sequence[Any]) -> Any:
        if any(each.batch.seq == 1 for each in batches):
            raise OverflowError("too large")
        return working(self, connection, batches)

    monkeypatch.setattr(MeasureTable, "write", write)
    batches = [batch_of(seq, [row_of([1.0])], NOON - 10) for seq in range(3)]
    assert append(store, *batches) == [False] * 3
    assert append(store, *batches) == [True] * 3
    assert store.health().rows_left_out == 1
    assert read(store, NOON - 10, NOON).count == 2


def test_an_event_that_an_earlier_collector_stored_is_left_out_of_answers(tmp: Path) -> None:
    good = {"kind": "request", "at_us": NOON * 10**6 + 1, "route": "/good"}
    store = SQLiteStore(tmp, clock=Clock(NOON))
    append(store, batch_of(0, [], NOON, [EventRow("test", "shop", "host#0", good)]))
    store.close()
    with sqlite3.connect(tmp / "metrics.db") as connection:
        bad: list[dict[str, Any]] = [
            {"status": float("nan")},
            {"spans": [["db", "soon", 1, 2]]},
            {"trace": []},
        ]
        for body in bad:
            connection.execute(
                "INSERT INTO event (t_us, kind, environment, service, instance, route, body)"
                " VALUES (?, 'request', 'test', 'shop', 'host#0', '', ?)",
                [NOON * 10**6 + 2, json.dumps(body).encode()],
            )
    connection.close()
    store = SQLiteStore(tmp, clock=Clock(NOON))
    found = store.read_events(EventSelection(NOON, NOON + 1, "request", {}, 10))
    assert [row.event["route"] for row in found] == ["/good"]
    store.close()


def test_what_upkeep_raises_is_shown_and_ends_neither_it_nor_what_stands_behind_it(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working, rolled = MeasureTable.forget, []

    def forget(*_: object) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr(MeasureTable, "forget", lambda *_, **__: forget())
    monkeypatch.setattr(tiering, "roll_up_amounts", lambda *_, **__: rolled.append(1))
    store = SQLiteStore(tmp, clock=Clock(NOON))
    store.start()
    wait_for(lambda: "forgetting measures" in store.health().compaction, "the trouble", 30)
    assert rolled
    monkeypatch.setattr(MeasureTable, "forget", working)

    def is_well() -> bool:
        store.wake()
        return store.health().compaction == ""

    wait_for(is_well, "compaction to be well again", 30)
    store.close()


def test_a_row_that_is_malformed_costs_itself_and_is_counted(
    collector: Collector, sender: Sender
) -> None:
    now_us = int(time.time() * 1e6)
    good = {"kind": "request", "at_us": now_us, "reason": "slow", "route": "/good", "status": 200}
    bad: list[dict[Any, Any]] = [
        {**good, 1: "an int as a key"},
        {**good, b"bytes": "as a key"},
        {**good, "status": float("nan")},
        {**good, "spans": [["db", None, 1, 2]]},
    ]
    whose = ["test", "poison", "host#0"]
    delta = [*whose, *KEY.row(), 2**60, 1.0, 1.0, 1.0, 1.0, []]
    rows = msgpack.packb([[delta], [[*whose, event] for event in (*bad, good)]])
    batch = a_batch(0, {key_of(service="poison"): point_of([5])}, agent="poison", window_s=window())
    before = collector.api.get("/health")["store"]
    assert sender.post(replace(batch, rows=rows))[0] == 202
    after = collector.api.get("/health")["store"]
    assert after["rowsRefused"] - before["rowsRefused"] == 5
    assert after["refused"] == before["refused"]
    slow = collector.api.get("/slow-requests", service="poison", from_="-5m")["requests"]
    assert [each["route"] for each in slow] == ["/good"]
    (row,) = collector.api.get("/services", service="poison", from_="-5m")["services"]
    assert row["requests"] == 1


def test_an_app_does_not_stop_the_agent_that_sends_its_gauges_on(
    collector: Collector, sender: Sender
) -> None:
    own = [GaugeRow("", "", "host", "system.cpu.logical.count", 2.0)]
    told = [GaugeRow("test", "liar", "host#0", name, 1.0) for name in (STOPPING, "redis.uptime")]
    before = collector.api.get("/health")["store"]["rowsRefused"]
    batch = a_batch(0, {}, agent="older", window_s=window(), gauges=[*told, *own])
    assert sender.post(batch)[0] == 202
    assert collector.api.get("/health")["store"]["rowsRefused"] == before + 2
    states = {each["name"]: each["state"] for each in collector.api.get("/agents")["agents"]}
    assert states["older"] == "sending"
