"""Rows of metrics.db in which a disk has changed a bit: none is taken for other numbers."""

import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append, received
from support.stores.batches import a_batch, accounting_of, key_of, point_of
from support.stores.rowbatches import batch_of, delta_of, row_of
from support.stores.version5 import to_version_5
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.journal import batch_of as batch_of_row
from trimtab_collector.storage.sqlite.journal import journal_row
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check
from trimtab_collector.storage.sqlite.upkeep.findings import Finding
from trimtab_collector.storage.store import EventSelection, MeasureSelection, Selection
from trimtab_core.batches import decode
from trimtab_core.errors import BatchError
from trimtab_core.rows import EventRow

DAY_S = 86_400
NOON_S = 1_700_006_400
NOW_S = NOON_S + DAY_S
SLOW = {"kind": "slow_request", "at_us": NOON_S * 1_000_000, "route": "/a", "duration_us": 5}


@contextmanager
def opened(directory: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=Clock(NOW_S))
    try:
        yield store
    finally:
        store.close()


def requests(store: SQLiteStore) -> int:
    rows = store.read(Selection((NOON_S, NOON_S + 600)))
    return int(rows.columns.value("requests").sum())


def flip(directory: Path, table: str, column: str, where: str = "1") -> None:
    """Change the lowest bit of the last byte, or the last number, of one row's column."""
    with closing(sqlite3.connect(directory / "metrics.db", isolation_level=None)) as connection:
        (number, value) = connection.execute(
            f"SELECT rowid, {column} FROM {table} WHERE {where} LIMIT 1"
            if table not in ("process", "total")
            else f"SELECT 1, {column} FROM {table} LIMIT 1"
        ).fetchone()
        if isinstance(value, bytes):
            value = value[:-1] + bytes([value[-1] ^ 1])
        elif isinstance(value, str):
            value = value[:-1] + chr(ord(value[-1]) ^ 1)
        else:
            value = int(value) ^ 1
        own = "" if table in ("process", "total") else f" WHERE rowid = {number}"
        connection.execute(f"UPDATE {table} SET {column} = ?{own}", (value,))


def fill(store: SQLiteStore) -> None:
    """Append three batches of two requests of one process, each with a measure and an event."""
    for number in range(3):
        batch = batch_of(
            number,
            [row_of([0.5, number + 1.0])],
            NOON_S + 10 * number,
            [EventRow("test", "shop", "host#0", SLOW | {"number": number})],
        )
        points = a_batch(
            number,
            {key_of(): point_of([5, 9])},
            processes=[accounting_of([(2 * number, 2)], 6)],
            window_s=NOON_S + 10 * number,
            rows=batch.rows,
        )
        append(store, points)


def test_of_many_flips_in_a_row_of_the_journal_none_decodes_as_another_batch(tmp: Path) -> None:
    dice = random.Random(13)
    points = {
        key_of(route=f"/{place}"): point_of([dice.randrange(10, 99_999) for _ in range(30)])
        for place in range(40)
    }
    with opened(tmp) as store:
        row = journal_row(3, 1, received(store, a_batch(7, points, window_s=NOON_S)))[:7]
    whole = batch_of_row(row)
    payload, silent = row[5], 0
    for _ in range(1_500):
        place = dice.randrange(8 * len(payload))
        flipped = bytearray(payload)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(BatchError, match="checksum"):
            batch_of_row((*row[:5], bytes(flipped), row[6]))
        try:
            silent += decode(bytes(flipped)) != whole
        except BatchError:
            continue
    # The format itself does not notice half of them.
    assert silent > 500
    for column in range(5):
        moved = list(row)
        moved[column] = int(row[column]) ^ 1 << dice.randrange(30)
        with pytest.raises(BatchError, match="checksum"):
            batch_of_row(tuple(moved))


def damage_index(directory: Path, index: str, old: bytes, new: bytes) -> None:
    """Change bytes of an index, in its only page."""
    path = directory / "metrics.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = connection.execute(query, (index,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray(path.read_bytes())
    place = data.index(old, (page - 1) * size, page * size)
    data[place : place + len(old)] = new
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("index", "old", "new"),
    [
        # number 7 in row 8 of the first origin: another number, and another row
        ("sqlite_autoindex_journal_1", bytes([7, 8]), bytes([71, 8])),
        ("sqlite_autoindex_journal_1", bytes([7, 8]), bytes([7, 72])),
        # the window of row 8: another window, row 9, and a row that there is not
        ("journal_t0", struct.pack(">ib", NOON_S + 70, 8), struct.pack(">ib", NOON_S - 2**26, 8)),
        ("journal_t0", struct.pack(">ib", NOON_S + 70, 8), struct.pack(">ib", NOON_S + 70, 9)),
        ("journal_t0", struct.pack(">ib", NOON_S + 70, 8), struct.pack(">ib", NOON_S + 70, 72)),
        # the same, whose row is a fraction of seven bytes that lie elsewhere
        (
            "journal_t0",
            bytes([4, 1]) + struct.pack(">ib", NOON_S + 70, 8),
            bytes([4, 7]) + struct.pack(">ib", NOON_S + 70, 8),
        ),
        ("sqlite_autoindex_origin_1", b"agent", b"agemt"),
    ],
)
def test_an_index_that_differs_from_its_table_is_made_anew_and_named(
    tmp: Path, index: str, old: bytes, new: bytes
) -> None:
    batches = [
        a_batch(number, {key_of(): point_of([5, 9])}, window_s=NOON_S + 10 * number)
        for number in range(15)
    ]
    with opened(tmp) as store:
        append(store, *batches)
    damage_index(tmp, index, old, new)
    with opened(tmp) as store:
        assert f"made anew: {index}" in store.health().damage["metrics.db"]
        assert append(store, *batches) == [True] * 15
        assert requests(store) == 30
        store.compact(NOW_S)
        assert (requests(store), store.health().journal_batches) == (30, 0)
        assert store.health().compaction == ""
    with opened(tmp) as store:
        assert store.health().damage == {}


@pytest.mark.parametrize(
    ("index", "old", "new"),
    [
        # the window of row 8, and the row
        ("amount_measure", struct.pack(">ib", NOON_S + 70, 8), struct.pack(">ib", NOON_S + 2, 8)),
        ("amount_measure", struct.pack(">ib", NOON_S + 70, 8), struct.pack(">ib", NOON_S + 70, 9)),
        ("amount_step", struct.pack(">bi", 10, NOON_S + 70), struct.pack(">bi", 11, NOON_S + 70)),
        # the same, whose row is a fraction of seven bytes that lie elsewhere
        (
            "amount_measure",
            bytes([4, 1]) + struct.pack(">ib", NOON_S + 70, 8),
            bytes([4, 7]) + struct.pack(">ib", NOON_S + 70, 8),
        ),
        ("event_kind", b"request", b"rdquest"),
        ("event_kind", struct.pack(">qb", (NOON_S + 7) * 10**6, 8), struct.pack(">qb", 2**62, 8)),
        ("sqlite_autoindex_measure_1", b"shop", b"shnp"),
    ],
)
def test_an_index_of_measures_or_events_that_differs_is_made_anew_soon_after_the_start(
    tmp: Path, index: str, old: bytes, new: bytes
) -> None:
    def event(number: int) -> EventRow:
        told = {"kind": "request", "at_us": (NOON_S + number) * 10**6}
        return EventRow("test", "shop", "host#0", told)

    with opened(tmp) as store:
        append(
            store,
            *(
                batch_of(number, [row_of([1.0])], NOON_S + 10 * number, [event(number)])
                for number in range(15)
            ),
        )
    damage_index(tmp, index, old, new)
    with opened(tmp) as store:
        store.compact(NOON_S + 600)
        assert store.health().damage["metrics.db"].endswith(f"were made anew: {index}")
        assert store.health().compaction == ""
        (part,) = store.read_measures(MeasureSelection((NOON_S, NOON_S + 3600), ("work",)))
        assert part.delta.count == 15
        events = store.read_events(EventSelection(NOON_S, NOON_S + 60, "request", {}, 50))
        assert events == [event(number) for number in reversed(range(15))]
    with opened(tmp) as store:
        store.compact(NOON_S + 600)
        assert store.health().damage == {}


def test_an_index_that_cannot_be_made_anew_stays_and_is_named(tmp: Path) -> None:
    with opened(tmp) as store:
        append(store, *[a_batch(n, {key_of(): point_of([5])}, window_s=NOON_S) for n in range(9)])
    with closing(sqlite3.connect(tmp / "metrics.db", isolation_level=None)) as connection:
        connection.execute("CREATE INDEX journal_half ON journal (t0) WHERE id < 5")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE UNIQUE INDEX journal_half ON journal (t0)'"
            " WHERE name = 'journal_half'"
        )
    with opened(tmp) as store:
        told = store.health().damage["metrics.db"]
        assert "cannot be made anew (UNIQUE constraint failed" in told
        assert told.endswith(": journal_half")
        assert requests(store) == 9


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fact SET name = 'idenuity' WHERE name = 'identity'",
        "UPDATE fact SET value = 'one' WHERE name = 'identity'",
        "UPDATE fact SET value = x'01'",
    ],
)
def test_a_journal_whose_identity_is_lost_gets_a_new_one_and_is_named(
    tmp: Path, statement: str
) -> None:
    with opened(tmp) as store:
        fill(store)
        store.compact(NOW_S)
    with closing(sqlite3.connect(tmp / "metrics.db", isolation_level=None)) as connection:
        connection.execute(statement)
    assert any("identity" in each.what for each in _findings(tmp))
    with opened(tmp) as store:
        assert "identity of the journal was lost" in store.health().damage["metrics.db"]
        assert requests(store) == 6
        append(store, a_batch(7, {key_of(): point_of([5, 9])}, window_s=NOON_S + 70))
        store.compact(NOW_S)
        assert (requests(store), store.health().compaction) == (8, "")
    with opened(tmp) as store:
        # What it was is set aside, as every row that was changed.
        assert store.health().damage["metrics.db"].endswith(" of fact")


def test_a_flipped_batch_is_set_aside_named_and_booked(tmp: Path) -> None:
    with opened(tmp) as store:
        fill(store)
    flip(tmp, "journal", "payload", "seq = 1")
    with opened(tmp) as store:
        assert requests(store) == 4
        assert "1 of journal" in store.health().damage["metrics.db"]
        store.compact(NOW_S)
        assert requests(store) == 4
        assert store.health().journal_batches == 0
        (shop,) = store.accounting()
        assert shop.dropped == {"unreadable": 2}
        assert (shop.counted, shop.sent, shop.requests, shop.agent_lost) == (4, 4, 4, 0)
    report = check(tmp, Retention(), lambda _: None, NOW_S)
    assert not report.sound
    assert [each.what for each in report.findings] == [
        "1 rows of journal were set aside: what they held is missing"
    ]
    with opened(tmp) as store:
        assert "1 of journal" in store.health().damage["metrics.db"]
        (again,) = store.accounting()
        assert again == shop
        append(store, a_batch(9, {key_of(): point_of([5])}, window_s=NOON_S + 50))
        assert requests(store) == 5


@pytest.mark.parametrize("column", ["t", "count", "sum", "max", "last", "buckets", "measure"])
def test_a_flipped_row_of_a_measure_costs_itself(tmp: Path, column: str) -> None:
    with opened(tmp) as store:
        fill(store)
        # A second measure, to which a flipped number could lead.
        append(store, batch_of(7, [row_of([1.0], "other")], NOON_S))
    flip(tmp, "amount", column, f"t = {NOON_S + 10}")
    with opened(tmp) as store:
        selection = MeasureSelection((NOON_S, NOON_S + 3600), ("work", "other"))
        found = {part.key.name: part.delta for part in store.read_measures(selection)}
        expected = delta_of([0.5, 1, 0.5, 3])
        assert found["work"] == expected
        assert found["other"].count == 1
        if column != "measure":
            # A row of no measure is met when it is rolled up.
            assert "1 of amount" in store.health().damage["metrics.db"]
        assert any("1 rows of amount" in each.what for each in _findings(tmp))
        store.compact(NOW_S)
        (rolled,) = store.read_measures(MeasureSelection((NOON_S, NOON_S + 3600), ("work",)))
        assert rolled.delta == expected
        assert "1 of amount" in store.health().damage["metrics.db"]


@pytest.mark.parametrize("column", ["name", "unit", "attributes", "service"])
def test_a_measure_whose_name_was_flipped_is_set_aside_with_its_rows(
    tmp: Path, column: str
) -> None:
    with opened(tmp) as store:
        fill(store)
        append(store, batch_of(7, [row_of([1.0], "other")], NOON_S))
    flip(tmp, "measure", column, "name = 'work'")
    with opened(tmp) as store:
        parts = store.read_measures(MeasureSelection((NOON_S, NOON_S + 3600), ("*",)))
        assert [part.key.name for part in parts] == ["other"]
        assert "1 of measure" in store.health().damage["metrics.db"]
        append(store, batch_of(8, [row_of([2.0])], NOON_S + 20))
        (work,) = store.read_measures(MeasureSelection((NOON_S, NOON_S + 3600), ("work",)))
        assert work.delta == delta_of([2.0])


@pytest.mark.parametrize("column", ["body", "instance", "route"])
def test_a_flipped_event_is_left_out_and_named(tmp: Path, column: str) -> None:
    with opened(tmp) as store:
        fill(store)
    flip(tmp, "event", column, "id = 2")
    with opened(tmp) as store:
        events = store.read_events(EventSelection(NOON_S - 60, NOON_S + 60, "slow_request"))
        assert [each.event["number"] for each in events] == [2, 0]
        assert "1 of event" in store.health().damage["metrics.db"]
    assert any("1 rows of event" in each.what for each in _findings(tmp))


@pytest.mark.parametrize(
    ("table", "column"),
    [("process", "ranges"), ("process", "sent"), ("total", "requests"), ("total", "dropped")],
)
def test_a_flipped_row_of_the_accounting_is_set_aside_and_named(
    tmp: Path, table: str, column: str
) -> None:
    with opened(tmp) as store:
        fill(store)
    flip(tmp, table, column)
    assert any(f"1 rows of {table} cannot be read" in each.what for each in _findings(tmp))
    with opened(tmp) as store:
        assert f"1 of {table}" in store.health().damage["metrics.db"]
        append(store, a_batch(9, processes=[accounting_of([(6, 1)], 7)], window_s=NOON_S))
        (shop,) = store.accounting()
        assert shop.counted + shop.held + shop.agent_lost == shop.sent
        assert shop.counted == (1 if table == "process" else 7)


def test_rows_from_before_there_were_checksums_are_read_as_they_are(tmp: Path) -> None:
    with opened(tmp) as store:
        fill(store)
        before = store.accounting()
    to_version_5(tmp)
    with opened(tmp) as store:
        fill(store)
        append(store, a_batch(9, {key_of(): point_of([5])}, window_s=NOON_S))
        assert requests(store) == 7
        assert store.health().damage == {}
        (part,) = store.read_measures(MeasureSelection((NOON_S, NOON_S + 60), ("work",)))
        assert part.delta == delta_of([0.5, 1, 0.5, 2, 0.5, 3])
        assert len(before) == len(store.accounting())
        store.compact(NOW_S)
        assert requests(store) == 7
    assert check(tmp, Retention(), lambda _: None, NOW_S).sound


def test_no_more_is_set_aside_than_there_is_room_for(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_collector.storage.sqlite.aside._MOST_ROWS", 2)
    monkeypatch.setattr("trimtab_collector.storage.sqlite.aside._MOST_BYTES", 800)
    with opened(tmp) as store:
        fill(store)
    with closing(sqlite3.connect(tmp / "metrics.db", isolation_level=None)) as connection:
        connection.execute("UPDATE journal SET payload = x'00' || payload")
    with opened(tmp) as store:
        store.compact(NOW_S)
        rows = store._writer.execute("SELECT length(evidence) FROM unreadable").fetchall()
        assert len(rows) == 2
        assert rows[0][0] == 0 < rows[1][0]
        assert store.accounting()[0].dropped == {"unreadable": 6}


def _findings(directory: Path) -> list[Finding]:
    return [*check(directory, Retention(), lambda _: None, NOW_S).findings]
