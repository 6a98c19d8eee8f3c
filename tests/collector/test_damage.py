"""Broken files of a store: each costs itself alone, is named, and what comes is kept."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.storage.columns import Columns
from trimtab_collector.storage.sqlite import reading
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.planes import ChunkError
from trimtab_collector.storage.store import Selection
from trimtab_core.errors import StartupError

DAY_S = 86_400
#: a midnight in UTC: the two days of these tests lie in different files
START_S = 1_700_006_400 - 1_700_006_400 % DAY_S
NOW_S = START_S + 2 * DAY_S
FIRST = "10s-20231115.db"


@contextmanager
def opened(directory: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=Clock(NOW_S))
    try:
        yield store
    finally:
        store.close()


def fill(store: SQLiteStore, first: int = 0) -> None:
    """Append two requests in each of two windows, a day apart, and merge them."""
    for place in range(2):
        window_s = START_S + place * DAY_S + 30
        append(store, a_batch(first + place, {key_of(): point_of([5, 9])}, window_s=window_s))
    store.compact(NOW_S)


def of_day(store: SQLiteStore, day: int, step_s: int = 10) -> int:
    start_s = START_S + day * DAY_S
    rows = store.read(Selection(tuple(range(start_s, start_s + 601, step_s))))
    return int(rows.columns.value("requests").sum())


def flip_a_byte(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for number, payload in connection.execute("SELECT id, payload FROM chunk").fetchall():
            flipped = bytearray(payload)
            flipped[len(payload) // 2] ^= 1
            row = (bytes(flipped), number)
            connection.execute("UPDATE chunk SET payload = ? WHERE id = ?", row)
        connection.commit()


def overwrite(path: Path) -> None:
    path.write_bytes(b"no database at all" * 500)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    """Leave the first page whole: the file opens, its tables do not."""
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + b"\xa5" * (len(whole) - 1024))


BREAKS = [flip_a_byte, overwrite, truncate, scramble]


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_file_costs_itself_and_what_comes_is_kept(
    tmp: Path, broken: Callable[[Path], None]
) -> None:
    with opened(tmp) as store:
        fill(store)
        assert (of_day(store, 0), of_day(store, 1)) == (2, 2)
    broken(tmp / FIRST)
    with opened(tmp) as store:
        assert of_day(store, 0) == 0
        assert of_day(store, 1) == 2
        # The minute is in a file of its own.
        assert of_day(store, 0, 60) == 2
        assert list(store.health().damage) == [FIRST]
        fill(store, 10)
        assert of_day(store, 1) == 4
        assert of_day(store, 0) == 2
        assert of_day(store, 0, 60) == 4
        assert any(name.startswith(FIRST) for name in store.health().damage)
    with opened(tmp) as store:
        assert of_day(store, 0) == 2


def test_a_file_of_a_later_version_is_left_as_it_is_and_named(tmp: Path) -> None:
    with opened(tmp) as store:
        fill(store)
    with closing(sqlite3.connect(tmp / FIRST)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with opened(tmp) as store:
        assert (of_day(store, 0), of_day(store, 1)) == (0, 2)
        assert "later collector" in store.health().damage[FIRST]


def test_a_garbled_batch_of_the_journal_costs_itself(tmp: Path) -> None:
    with opened(tmp) as store:
        for number in range(3):
            append(store, a_batch(number, {key_of(): point_of([5])}, window_s=START_S + 30))
    with closing(sqlite3.connect(tmp / "metrics.db")) as connection:
        connection.execute("UPDATE journal SET payload = x'00112233' WHERE seq = 1")
        connection.commit()
    with opened(tmp) as store:
        assert of_day(store, 0) == 2
        store.compact(NOW_S)
        assert of_day(store, 0) == 2
        assert store.health().journal_batches == 0


def test_a_store_whose_journal_is_broken_is_refused_with_what_to_do(tmp: Path) -> None:
    with opened(tmp) as store:
        fill(store)
    overwrite(tmp / "metrics.db")
    with pytest.raises(StartupError, match="trimtab collector restore"):
        SQLiteStore(tmp)


def test_what_could_not_be_read_for_a_moment_is_not_kept_as_the_answer(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(NOW_S)
    store = SQLiteStore(tmp, clock=clock, kept_from_buckets=1)
    try:
        fill(store)

        def fails(payloads: list[bytes]) -> Columns:
            # Another read found the file well meanwhile.
            store._reads._damage.clear()
            store._reads._unreadable.clear()
            raise ChunkError("for a moment")

        with monkeypatch.context() as patch:
            patch.setattr(reading, "decode_chunks", fails)
            patch.setattr(store._reads, "damaged", lambda *_: None)
            assert of_day(store, 0) == 0
        assert of_day(store, 0) == 2
    finally:
        store.close()
