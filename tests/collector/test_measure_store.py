"""Measures and events in the store: counted once, rolled up without loss, read by steps."""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.processes.servers import Collector, short_dir
from support.stores.appending import append
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from support.stores.rowbatches import batch_of, delta_of, row_of
from trimtab_collector.storage.sqlite.amounts import INSERT_AMOUNT, amount_row
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.measures import MeasureTable
from trimtab_collector.storage.store import (
    EventSelection,
    MeasureSelection,
    TooMuchError,
)
from trimtab_core.measures import COUNTER, GAUGE, Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow

NOON = 1_700_006_400
DAY_S = 86_400


@contextmanager
def store_in(directory: Path, now_s: float = NOON + DAY_S) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=lambda: now_s)
    try:
        yield store
    finally:
        store.close()


def read(store: SQLiteStore, *edges: int, name: str = "work") -> dict[tuple[str, int], Delta]:
    parts = store.read_measures(MeasureSelection(edges, (name,)))
    return {(part.key.attributes[0][1], part.step): part.delta for part in parts}


def test_a_repeat_adds_nothing_and_a_restart_loses_nothing(tmp: Path) -> None:
    batches = [batch_of(n, [row_of([0.5, n + 1.0])], NOON + 10 * (n % 3)) for n in range(9)]
    with store_in(tmp / "c") as store:
        assert append(store, *batches) == [False] * 9
        assert append(store, *batches) == [True] * 9
    with store_in(tmp / "c") as store:
        assert append(store, batches[4]) == [True]
        found = read(store, NOON, NOON + 10, NOON + 30)
        assert found["a", 0] == delta_of([0.5, 1, 0.5, 4, 0.5, 7])
        assert found["a", 1].count == 12
        assert found["a", 1].sum == 6 * 0.5 + (2 + 3 + 5 + 6 + 8 + 9)
        assert found["a", 1].max == 9


def test_an_event_is_kept_as_it_came_and_found_by_kind_and_route(tmp: Path) -> None:
    events = [
        EventRow(
            "test",
            "shop",
            "host#0",
            {"kind": kind, "at_us": (NOON + n) * 10**6, "route": f"/{n % 2}", "notes": [["db", 1]]},
        )
        for n, kind in enumerate(["slow_query", "request", "request", "request"])
    ]
    with store_in(tmp / "c") as store:
        append(store, batch_of(0, [], NOON, events))

        def asked(kind: str, **where: str) -> list[EventRow]:
            selection = EventSelection(NOON, NOON + 60, kind, where, 2)
            return store.read_events(selection)

        assert asked("request") == [events[3], events[2]]
        assert asked("request", route="/0") == [events[2]]
        assert asked("request", service="other") == []
        assert asked("slow_query") == [events[0]]


def test_texts_of_an_event_that_an_earlier_version_stored_are_clean_where_they_are_read(
    tmp: Path,
) -> None:
    kept = {"kind": "request", "at_us": NOON * 10**6, "notes": [["a\x1b[2Jb"], {"c\u202e": "\x9b"}]}
    with store_in(tmp / "c") as store:
        append(store, batch_of(0, [], NOON))
        body = json.dumps({"notes": kept["notes"]}).encode()
        store._writer.execute(
            "INSERT INTO event (t_us, kind, environment, service, instance, route, body)"
            " VALUES (?, 'request', 'test', 'shop', 'host#0', '', ?)",
            (kept["at_us"], body),
        )
        (event,) = store.read_events(EventSelection(NOON, NOON + 60, "request", {}, 5))
        assert event.event["notes"] == [["a\ufffd[2Jb"], {"c\ufffd": "\ufffd"}]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3 * 360), st.sampled_from("abc"), st.integers(1, 10**6)),
        min_size=1,
        max_size=60,
    ),
    st.lists(st.integers(0, 4 * DAY_S), max_size=4),
)
def test_roll_ups_lose_nothing_whenever_they_come(
    given_rows: list[tuple[int, str, int]], times: list[int]
) -> None:
    expected: dict[tuple[str, int], Delta] = {}
    with short_dir() as directory, store_in(directory / "c") as store:
        moments = iter(sorted(times))
        for seq, (place, text, value) in enumerate(given_rows):
            at = NOON + 10 * place
            append(store, batch_of(seq, [row_of([float(value)], text=text)], at))
            hour = place // 360
            expected.setdefault((text, hour), Delta()).merge(delta_of([float(value)]))
            if seq % 15 == 14:
                store.tiering.retire(NOON + next(moments, 0))
        store.tiering.retire(NOON + 4 * DAY_S)
        found = read(store, *range(NOON, NOON + 5 * 3600, 3600))
        assert {
            name: (each.count, each.sum, each.min, each.max, each.buckets)
            for name, each in found.items()
        } == {
            name: (each.count, each.sum, each.min, each.max, each.buckets)
            for name, each in expected.items()
        }
        (steps,) = store._writer.execute("SELECT group_concat(DISTINCT step_s) FROM amount")
        assert steps == ("3600",)


def test_rows_of_windows_of_any_width_are_rolled_up_and_dropped_in_the_end(tmp: Path) -> None:
    widths = (1, 5, 10, 20, 60, 300, 600, 3600)
    with store_in(tmp / "c") as store:
        append(
            store,
            *(
                replace(batch_of(seq, [row_of([float(step_s)])], NOON), step_s=step_s)
                for seq, step_s in enumerate(widths)
            ),
        )
        _check_ages(store, sum(widths))


def test_rows_of_any_width_that_an_earlier_version_kept_are_rolled_up_and_dropped(
    tmp: Path,
) -> None:
    widths = (1, 5, 20, 300, 600, 7200)
    with store_in(tmp / "c") as store:
        append(store, batch_of(0, [row_of([10.0])], NOON))
        store._writer.executemany(
            INSERT_AMOUNT,
            [amount_row(1, NOON, step_s, delta_of([float(step_s)])) for step_s in widths],
        )
        _check_ages(store, 10 + sum(widths))


def _check_ages(store: SQLiteStore, total: float) -> None:
    for later_s, steps in ((0, "10"), (1800, "60"), (3 * DAY_S, "3600")):
        store.tiering.retire(NOON + later_s)
        found = store._writer.execute("SELECT group_concat(DISTINCT step_s) FROM amount")
        assert found.fetchone() == (steps,)
        assert read(store, NOON, NOON + 10)["a", 0].sum == total
    store.tiering.retire(NOON + 91 * DAY_S)
    assert store._writer.execute("SELECT count(*) FROM amount").fetchone() == (0,)


def test_what_is_too_old_goes_and_events_are_bounded(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_collector.storage.sqlite.events._MOST_EVENTS", 5)
    events = [
        EventRow("test", "shop", "host#0", {"kind": "request", "at_us": NOON * 10**6 + n})
        for n in range(9)
    ]
    with store_in(tmp / "c") as store:
        append(store, batch_of(0, [row_of([1.0])], NOON, events))
        store.tiering.retire(NOON + DAY_S)
        selection = EventSelection(NOON, NOON + 60, "request", {}, 100)
        assert store.read_events(selection) == events[:3:-1]
        assert read(store, NOON, NOON + 3600)["a", 0].count == 1
        store.tiering.retire(NOON + 4 * DAY_S)
        store.tiering.retire(NOON + 91 * DAY_S)
        assert read(store, NOON, NOON + 3600) == {}
        assert store.read_events(selection) == []


def test_a_read_of_too_many_rows_says_how_to_ask_for_less(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_collector.storage.sqlite.measures._MOST_READ", 5)
    with store_in(tmp / "c") as store:
        append(store, batch_of(0, [row_of([1.0], text=str(n)) for n in range(6)], NOON))
        with pytest.raises(TooMuchError, match="shorter range"):
            read(store, NOON, NOON + 60)


def test_measures_over_the_limit_are_one_and_none_is_lost(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_collector.storage.sqlite.measures._MOST_MEASURES", 4)
    with store_in(tmp / "c") as store:
        append(store, batch_of(0, [row_of([1.0], text=str(n)) for n in range(10)], NOON))
        append(store, batch_of(1, [row_of([1.0], text=str(n)) for n in range(10)], NOON))
        found = read(store, NOON, NOON + 60)
        assert {text: each.count for (text, _), each in found.items()} == {
            **dict.fromkeys("0123", 2),
            "other": 12,
        }


def test_a_transaction_that_fails_leaves_no_measure_behind(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = MeasureTable.write
    failing = [True]

    def write(self: MeasureTable, *arguments: object) -> object:
        found = working(self, *arguments)  # type: ignore[arg-type]
        if failing:
            failing.clear()
            raise sqlite3.OperationalError("not now")
        return found

    monkeypatch.setattr(MeasureTable, "write", write)
    with store_in(tmp / "c") as store:
        batch = batch_of(0, [row_of([1.0])], NOON)
        with pytest.raises(Exception, match="not now"):
            append(store, batch)
        assert append(store, batch) == [False]
        assert read(store, NOON, NOON + 60)["a", 0].count == 1


def test_kinds_and_what_they_keep(tmp: Path) -> None:
    chance = random.Random(1)
    values = [chance.uniform(-5, 5) for _ in range(50)]
    rows = [
        MeasureRow("test", "shop", "host#0", MeasureKey(kind, kind), delta_of(values))
        for kind in (COUNTER, GAUGE)
    ]
    with store_in(tmp / "c") as store:
        append(store, batch_of(0, rows, NOON), batch_of(1, rows, NOON + 10))
        selection = MeasureSelection((NOON, NOON + 60), ("*",))
        for part in store.read_measures(selection):
            assert (part.delta.count, part.delta.last) == (100, values[-1])
            assert part.delta.sum == pytest.approx(2 * sum(values))
            assert (part.delta.min, part.delta.max) == (min(values), max(values))


def test_rows_of_others_and_rows_that_are_none_are_refused(tmp: Path) -> None:
    with Collector(tmp) as collector:
        collector.start()
        key = collector.new_key(services=["shop"])
        good = batch_of(0, [row_of([1.0])], window(), [])
        foreign = row_of([1.0])._replace(service="bank")
        event = EventRow("test", "bank", "host#0", {"kind": "request", "at_us": 1})
        points = {key_of("/"): point_of([1_000])}
        with Sender(collector.port, key) as sender:
            assert sender.insist(good)["duplicate"] is False
            for seq, measured in enumerate(([foreign], [row_of([1.0]), foreign]), 1):
                assert sender.post(batch_of(seq, measured, window()))[0] == 403
            assert sender.post(batch_of(3, [], window(), [event]))[0] == 403
            for seq, packed in enumerate(
                (b"\xff", b"\x92\x91\x90", b"\x93\x90\x90\x90", bytes(2**20 + 1)), 4
            ):
                status, body = sender.post(replace(a_batch(seq, points), rows=packed))
                assert (status, body["error"]["code"]) == (400, "bad_batch"), body
        found = collector.api.get("/custom", from_="-5m")["metrics"]
        assert [(each["name"], each["count"]) for each in found] == [("work", 1)]
        assert json.dumps(found).count("bank") == 0
