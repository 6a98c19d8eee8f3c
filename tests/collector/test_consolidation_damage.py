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


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_chunk_that_cannot_be_read_costs_itself_alone(tmp: Path, damaged: int) -> None:
    clock = Clock(NOON)
    store = SQLiteStore(tmp, clock=clock)
    for number in range(3):
        append(store, a_batch(number, {key_of(f"/{number}"): point_of([9])}, window_s=NOON - 20))
        clock.now_s += 7200
        merge_only(store, clock.now_s)
    store.close()
    file = next(tmp.glob("10s-*.db"))
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
        # Edges within a minute: this file answers.
        rows_left = store.read(Selection((NOON - 25, NOON - 5), ("route", "instance")))
        here = {rows_left.groups[group][0] for group in rows_left.group.tolist()}
        assert here == {f"/{number}" for number in range(3)} - {f"/{damaged}"}
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
