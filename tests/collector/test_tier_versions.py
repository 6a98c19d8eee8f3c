"""Tier files of an earlier version: read as they are, and checked from their next write on."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.clock import Clock
from support.stores import checkedstore
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from support.stores.checkedstore import checked, make
from support.stores.version6 import to_version_6
from trimtab_collector.storage.sqlite.schema import VERSION
from trimtab_collector.storage.sqlite.tierschema import VersionError, open_reader
from trimtab_collector.storage.store import Selection

HOUR_S = 3600
#: neither hours nor minutes: every tier answers some of it
EDGES = tuple(range(checkedstore.NOW - 30 * HOUR_S + 10, checkedstore.NOW, 3610))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiers") / "c"
    make(directory)
    return directory


@pytest.fixture
def earlier(made: Path, tmp: Path) -> Path:
    directory = Path(shutil.copytree(made, tmp / "earlier"))
    to_version_6(directory)
    return directory


def answers(directory: Path) -> list[object]:
    with checkedstore.opened(directory, Clock(checkedstore.NOW)) as store:
        assert store.health().damage == {}
        found: list[object] = []
        for fields in ((), ("route",), ("service", "instance", "status_class")):
            rows = store.read(Selection(EDGES, fields))
            names = [rows.groups[place] for place in rows.group.tolist()]
            figures = [rows.columns.value(name).tolist() for name in ("requests", "sum_us")]
            found.append(sorted(zip(names, rows.t.tolist(), *figures, strict=True)))
        assert store.health().damage == {}
        return found


def versions(directory: Path) -> set[int]:
    found = set()
    for path in directory.glob("1*.db"):
        with closing(sqlite3.connect(path)) as connection:
            found.add(connection.execute("PRAGMA user_version").fetchone()[0])
    return found


def test_files_of_the_version_before_answer_the_same_before_and_after_they_are_written(
    earlier: Path, made: Path, tmp: Path
) -> None:
    shutil.copytree(made, tmp / "fresh")
    expected = answers(tmp / "fresh")
    assert answers(earlier) == expected
    assert versions(earlier) == {3}
    # A late batch to each of two days, and all sets of chunks are merged.
    for directory in (earlier, tmp / "fresh"):
        with checkedstore.opened(directory, Clock(checkedstore.NOW)) as store:
            for number, age_s in enumerate((26 * HOUR_S, 4 * HOUR_S)):
                window_s = checkedstore.NOW - age_s
                batch = a_batch(
                    number, {key_of("/late"): point_of([9])}, agent="late", window_s=window_s
                )
                append(store, batch)
            store.compact(checkedstore.NOW)
    assert answers(earlier) == answers(tmp / "fresh") != expected
    assert 4 in versions(earlier)
    assert checked(earlier).sound


def test_a_name_of_an_earlier_version_is_checked_from_its_next_write_on(earlier: Path) -> None:
    with checkedstore.opened(earlier, Clock(checkedstore.NOW)) as store:
        append(store, a_batch(0, agent="late", window_s=checkedstore.NOW - 4 * HOUR_S))
        store.compact(checkedstore.NOW)
    written = next(path for path in earlier.glob("1h-*.db"))
    with closing(sqlite3.connect(written)) as connection:
        connection.execute("UPDATE series SET route = '/other' WHERE id = 0")
        connection.commit()
    assert "the name of series 0 is not as it was written" in str(checked(earlier).findings)


@pytest.mark.parametrize("version", [0, 2, 5, 6])
def test_a_file_whose_version_a_disk_has_changed_is_refused(
    made: Path, tmp: Path, version: int
) -> None:
    path = next(made.glob("1h-*.db"))
    copy = Path(shutil.copy(path, tmp / "1h-202311.db"))
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(VersionError, match="expected a file of version 4"):
        open_reader(copy)


def test_an_earlier_collector_refuses_a_store_of_this_version(made: Path) -> None:
    with closing(sqlite3.connect(made / "metrics.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    # Version 6 wrote tier files of version 3, and would put others aside.
    assert VERSION > 6
    assert versions(made) == {4}
