"""Bits that a disk changes in what tells repeats, and in facts: never believed, always named."""

import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copytree

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import Batch
from trimtab_core.errors import StartupError

NOON = 1_700_006_400
NOW_S = NOON + 7200


def batch(seq: int) -> Batch:
    return a_batch(seq, {key_of(): point_of([9])}, window_s=NOON + 10 * seq)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store in which 40 batches are merged, and five are in the journal."""
    directory = tmp_path_factory.mktemp("made") / "c"
    directory.mkdir()
    store = SQLiteStore(directory, clock=Clock(NOW_S))
    append(store, *map(batch, range(40)))
    store.compact(NOW_S)
    append(store, *map(batch, range(700, 705)))
    store.close()
    with closing(sqlite3.connect(directory / "metrics.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return directory


def requests(store: SQLiteStore) -> int:
    rows = store.read(Selection((NOON, NOON + 86_400)))
    return int(rows.columns.value("requests").sum())


def bits_of(directory: Path, table: str) -> range:
    """Return the bits of what the only page of a table holds, as places in metrics.db."""
    path = directory / "metrics.db"
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = connection.execute(query, (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    start = (page - 1) * size
    data = path.read_bytes()[start : start + size]
    # Cells lie from here to the end of the page, without what is reserved for others.
    cells = int.from_bytes(data[5:7], "big")
    return range(8 * (start + cells), 8 * (start + size))


@pytest.mark.parametrize("table", ["seen", "fact", "origin", "journal"])
def test_no_bit_that_changes_counts_twice_or_hides_anything_in_silence(
    made: Path, tmp: Path, table: str
) -> None:
    if table == "journal":
        # Payloads have a test of their own: here it is about the places of batches.
        with closing(sqlite3.connect(made / "metrics.db")) as connection:
            rows = connection.execute("SELECT id FROM journal").fetchall()
        bits = [-1 - 64 * number - bit for (number,) in rows for bit in range(6)]
    else:
        found = bits_of(made, table)
        bits = [*found[:: max(1, len(found) // 400)]]
    silent = []
    for bit in bits:
        directory = tmp / "flipped"
        copytree(made, directory)
        path = directory / "metrics.db"
        if bit >= 0:
            data = bytearray(path.read_bytes())
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
        else:
            number, shift = divmod(-1 - bit, 64)
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute(
                    "UPDATE OR IGNORE journal SET id = ? WHERE id = ?",
                    (number ^ 1 << shift, number),
                )
        try:
            store = SQLiteStore(directory, clock=Clock(NOW_S))
        except StartupError:
            told, right = True, True
        else:
            # New batches are new, and repeats are none, or it is said what is not believed.
            before = requests(store)
            repeats = append(store, batch(3), batch(39), batch(702))
            new = append(store, *map(batch, range(40, 60)))
            right = before == 45 and all(repeats) and not any(new) and requests(store) == 65
            told = bool(store.health().damage)
            store.close()
        if not right and not told:
            silent.append(bit)
        for each in sorted(directory.rglob("*"), reverse=True):
            each.unlink()
        directory.rmdir()
    assert not silent, f"{len(silent)} of {len(bits)}"


def test_a_merged_number_that_cannot_be_believed_throws_nothing_away(made: Path, tmp: Path) -> None:
    copytree(made, tmp / "c")
    with closing(sqlite3.connect(tmp / "c" / "metrics.db", isolation_level=None)) as connection:
        connection.execute("UPDATE seen SET last = last + 64")
    store = SQLiteStore(tmp / "c", clock=Clock(NOW_S))
    assert not any(append(store, *map(batch, range(40, 60))))
    assert requests(store) == 65
    assert "1 of seen" in store.health().damage["metrics.db"]
    store.close()


def test_facts_that_are_lost_hide_nothing_that_is_merged(made: Path, tmp: Path) -> None:
    copytree(made, tmp / "c")
    with closing(sqlite3.connect(tmp / "c" / "metrics.db", isolation_level=None)) as connection:
        connection.execute("UPDATE fact SET value = value - 4096 WHERE name = 'merged_before_s'")
    for _ in range(2):
        store = SQLiteStore(tmp / "c", clock=Clock(NOW_S))
        assert requests(store) == 45
        assert "1 of fact" in store.health().damage["metrics.db"]
        store.compact(NOW_S)
        assert requests(store) == 45
        store.close()
