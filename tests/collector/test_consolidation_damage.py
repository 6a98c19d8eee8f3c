"""Sets of chunks made one where one of them is damaged: the damage costs itself alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.storage.sqlite.compactor import Compactor, locked
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check
from trimtab_collector.storage.store import Selection

NOON = 1_700_006_400


def merge_only(store: SQLiteStore, now_s: float) -> None:
    """Compact up to where sets would be made one."""
    tiering = store.tiering
    with locked(store.directory, 10):
        compactor = Compactor(store.directory, 200_000)
        for step, commit in compactor.steps(now_s, tiering.cutoff_s(now_s), tiering.floors()):
            if step.what != "merge":
                return
            commit()
            tiering.apply(step)


def three_sets(directory: Path, clock: Clock) -> Path:
    """Make a store whose single series are three chunks, of a route each; return their file."""
    store = SQLiteStore(directory, clock=clock)
    for number in range(3):
        batch = {key_of(f"/{number}"): point_of([9, 99])}
        append(store, a_batch(number, batch, window_s=NOON - 20))
        clock.now_s += 7200
        merge_only(store, clock.now_s)
    store.close()
    return next(directory.glob("10s-*.db"))


def routes_of(store: SQLiteStore) -> set[str]:
    """Return the routes that the file answers with: edges are within a minute."""
    found = store.read(Selection((NOON - 25, NOON - 5), ("route", "instance")))
    return {found.groups[group][0] for group in found.group.tolist()}


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_chunk_that_cannot_be_read_costs_itself_alone(tmp: Path, damaged: int) -> None:
    clock = Clock(NOON)
    file = three_sets(tmp, clock)
    with closing(sqlite3.connect(file)) as broken:
        rows = broken.execute("SELECT id FROM chunk WHERE level = 0 ORDER BY first").fetchall()
        assert len(rows) == 3
        broken.execute("UPDATE chunk SET payload = zeroblob(80) WHERE id = ?", rows[damaged])
        broken.commit()
    # What a new process finds in several sets it makes one.
    store = SQLiteStore(tmp, clock=clock)
    try:
        store.compact(clock.now_s)
        with closing(sqlite3.connect(file)) as made_one:
            parts = "SELECT count(DISTINCT part) FROM chunk WHERE level = 0"
            assert made_one.execute(parts).fetchone() == (1,)
        assert routes_of(store) == {f"/{number}" for number in range(3)} - {f"/{damaged}"}
        assert file.name in store.health().damage
    finally:
        store.close()
    # It stays as evidence, is named after a restart, and by the check.
    store = SQLiteStore(tmp, clock=clock)
    try:
        store.compact(clock.now_s)
        assert "1 chunks cannot be read" in store.health().damage[file.name]
    finally:
        store.close()
    report = check(tmp, Retention(), lambda _: None, clock.now_s)
    assert any("were set aside" in each.what for each in report.findings)


def damage_entry(path: Path, place: int, change: int) -> None:
    """Change the second entry of the index of chunks: a byte, or the type of a column."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'chunk_place'"
        (page,) = connection.execute(query).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray(path.read_bytes())
    begin = (page - 1) * size
    cell = begin + int.from_bytes(data[begin + 10 : begin + 12], "big")
    # A cell is its length, the length of its header, the types of columns, and the columns.
    data[cell + 2 + place if place >= 0 else cell + data[cell]] ^= change
    path.write_bytes(data)


def test_a_wrong_number_in_the_index_hides_no_chunk_and_is_named(tmp: Path) -> None:
    clock = Clock(NOON)
    file = three_sets(tmp, clock)
    damage_entry(file, -1, 64)
    store = SQLiteStore(tmp, clock=clock)
    try:
        assert routes_of(store) == {"/0", "/1", "/2"}
        assert "index of chunks is damaged" in store.health().damage[file.name]
        report = check(tmp, Retention(), lambda _: None, clock.now_s)
        assert any("index of chunks is damaged" in each.what for each in report.findings)
        store.compact(clock.now_s)
        assert store.health().compaction == ""
        assert routes_of(store) == {"/0", "/1", "/2"}
    finally:
        store.close()


def test_an_entry_of_the_index_that_is_no_number_hides_no_chunk(tmp: Path) -> None:
    clock = Clock(NOON)
    file = three_sets(tmp, clock)
    # The type of its buckets: a text.
    damage_entry(file, 7, 1 ^ 15)
    store = SQLiteStore(tmp, clock=clock)
    try:
        assert routes_of(store) == {"/0", "/1", "/2"}
        report = check(tmp, Retention(), lambda _: None, clock.now_s)
        assert any("index of chunks is damaged" in each.what for each in report.findings)
        store.compact(clock.now_s)
        assert store.health().compaction == ""
        assert not list(tmp.glob("*.damaged"))
        assert "made anew" in store.health().damage[file.name]
        assert routes_of(store) == {"/0", "/1", "/2"}
    finally:
        store.close()
    assert check(tmp, Retention(), lambda _: None, clock.now_s).findings == []
