"""A bit that a disk changes in a tier file: no other number is answered without naming the file."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.storage.sqlite.compactor import Compactor, locked
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import GaugeSelection, Selection
from trimtab_core.batches import GaugeRow

NOON = 1_700_006_400
END = NOON + 600
FINE = "10s-20231115.db"
ROUTES = [f"/{number}" for number in range(6)]
#: within a minute: the finest file answers
EDGES = (NOON + 10, NOON + 50)
OF_ROUTES = Selection(EDGES, ("route",))
OF_CPU = GaugeSelection(EDGES, ("cpu",), {}, ("name", "instance"))
ASKED: list[Selection | GaugeSelection] = [
    OF_ROUTES,
    Selection(EDGES, ("service", "instance", "route")),
    Selection(EDGES, ("route",), {"service": "shop", "route": "/2"}),
    Selection((NOON + 10, END - 10), ("service", "route")),
    Selection((NOON, NOON + 3600), ("instance",)),
    OF_CPU,
    GaugeSelection((NOON, END), None, {}, ("name", "service")),
]


@contextmanager
def opened(directory: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=Clock(END + 8000))
    try:
        yield store
    finally:
        store.close()


def batch_of(number: int, window_s: int) -> Any:
    points = {
        key_of(route, ("shop", "bank")[place % 2], instance=f"h{place % 3}"): point_of(
            [5 + place, 900 * place + number]
        )
        for place, route in enumerate(ROUTES)
    }
    gauges = [
        GaugeRow("test", service, f"h{number % 2}", name, float(number % 7))
        for service, name in (("shop", "cpu"), ("bank", "cpu"), ("bank", "memory"))
    ]
    return a_batch(number, points, window_s=window_s, gauges=gauges)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two sets of chunks in each file, and nothing in its journal."""
    directory = tmp_path_factory.mktemp("flipped") / "c"
    with opened(directory) as store:
        batches = [batch_of(number, NOON + number * 10) for number in range(60)]
        for some in (batches[:40], batches[40:]):
            append(store, *some)
            merge_only(store)
    return directory


def merge_only(store: SQLiteStore) -> None:
    """Merge what is in the journal, and leave the sets of chunks apart."""
    now_s = END + 8000
    with locked(store.directory, 10):
        steps = Compactor(store.directory, 200_000).steps(
            now_s, store.tiering.cutoff_s(now_s), store.tiering.floors()
        )
        for step, commit in steps:
            if step.what != "merge":
                return
            commit()
            store.tiering.apply(step)


@pytest.fixture
def copy(made: Path, tmp: Path) -> Path:
    return Path(shutil.copytree(made, tmp / "c"))


def answer(store: SQLiteStore, asked: Selection | GaugeSelection) -> list[Any]:
    if isinstance(asked, GaugeSelection):
        rows = store.read_gauges(asked)
        figures = [rows.count.tolist(), rows.mean.tolist(), rows.min.tolist(), rows.max.tolist()]
        names, group, t = rows.groups, rows.group, rows.t
    else:
        found = store.read(asked)
        figures = [found.columns.value(name).tolist() for name in ("requests", "sum_us", "max_us")]
        names, group, t = found.groups, found.group, found.t
    named = [names[place] for place in group.tolist()]
    return sorted(zip(named, t.tolist(), *figures, strict=True))


def answers(store: SQLiteStore) -> list[list[Any]]:
    return [answer(store, asked) for asked in ASKED]


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def first_pages(path: Path) -> list[int]:
    """Return where each table and index of a file begins, in bytes."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT rootpage FROM sqlite_schema ORDER BY rootpage")
        return [(page - 1) * 1024 for (page,) in rows.fetchall()]


def requests_by_route(store: SQLiteStore) -> dict[str, int]:
    return {name[0]: requests for name, _, requests, *_ in answer(store, OF_ROUTES)}


def test_of_many_flips_in_tier_files_none_is_answered_as_the_truth(made: Path, copy: Path) -> None:
    with opened(made) as store:
        expected = answers(store)
    chance = Random(11)
    files = sorted(copy.glob("1*.db"))
    pages = {path: first_pages(path) for path in files}
    changed = 0
    for _ in range(80):
        path = chance.choice(files)
        whole = path.read_bytes()
        data = bytearray(whole)
        page = chance.choice(pages[path])
        place = chance.choice([place for place in range(page, page + 1024) if data[place]])
        data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with opened(copy) as store:
            for asked, right in zip(ASKED, expected, strict=True):
                if answer(store, asked) != right:
                    changed += 1
                    assert path.name in store.health().damage, (path.name, place, asked)
        path.write_bytes(whole)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert changed


@pytest.mark.parametrize("column", ["route", "service", "instance", "status_class"])
def test_a_name_that_is_not_as_it_was_written_costs_its_own_requests_alone(
    copy: Path, column: str
) -> None:
    with opened(copy) as store:
        expected = requests_by_route(store)
    # The first series of all: the numbers of routes behind it stay what they are.
    change(copy / FINE, f"UPDATE series SET {column} = 'other' WHERE route = '/0'")
    with opened(copy) as store:
        assert requests_by_route(store) == {
            route: requests for route, requests in expected.items() if route != "/0"
        }
        assert "names of series" in store.health().damage[FINE]
        for route in ROUTES[1:]:
            rows = store.read(Selection(EDGES, ("route",), {"route": route}))
            assert int(rows.columns.value("requests").sum()) == expected[route]
        # What comes for the same series gets a new name.
        append(store, batch_of(1000, NOON + 20))
        store.compact(END + 16000)
        assert requests_by_route(store) == {
            route: 2 if route == "/0" else requests + 2 for route, requests in expected.items()
        }


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM series WHERE id = (SELECT max(id) FROM series)",
        "UPDATE series SET id = 7000000000 WHERE id = 3",
        "UPDATE series SET crc = NULL WHERE id = 3",
        "UPDATE series SET route = x'ff' WHERE id = 3",
    ],
)
def test_names_that_are_gone_or_under_another_number_are_missed(copy: Path, statement: str) -> None:
    change(copy / FINE, statement)
    with opened(copy) as store:
        answers(store)
        assert "1 names of series" in store.health().damage[FINE]


def misplace(path: Path, index: str, column: str, *, in_index: bool) -> None:
    """Change a column of the second chunk in its row, or in the entry of the index alone."""
    move = f"UPDATE {index.removesuffix('_place')} SET {column} = {column} + ? WHERE id = ?"
    far = 4096 if column != "level" else 1
    second = 2 + (far if column == "id" else 0)
    if in_index:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(move, (far, 2))
            connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        named = (index,)
        row = connection.execute("SELECT * FROM sqlite_schema WHERE name = ?", named).fetchone()
        connection.execute("DELETE FROM sqlite_schema WHERE name = ?", named)
        connection.commit()
    # What SQLite knows no index of, it does not keep up to date.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(move, (-far, second) if in_index else (far, 2))
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()


@pytest.mark.parametrize("column", ["level", "period", "begin", "first", "last", "points", "id"])
def test_an_index_that_lists_a_chunk_elsewhere_hides_it_from_nobody(
    copy: Path, column: str
) -> None:
    with opened(copy) as store:
        expected = answers(store)
    misplace(copy / FINE, "chunk_place", column, in_index=True)
    with opened(copy) as store:
        assert answers(store) == expected
        assert "index of chunks is damaged" in store.health().damage[FINE]
        store.compact(END + 8000)
        assert answers(store) == expected
    with opened(copy) as store:
        assert answers(store) == expected
        assert store.health().damage == {}


@pytest.mark.parametrize("column", ["period", "part", "first", "points", "id"])
def test_an_index_that_lists_gauges_elsewhere_hides_them_from_nobody(
    copy: Path, column: str
) -> None:
    with opened(copy) as store:
        expected = answers(store)
    misplace(copy / FINE, "gauge_chunk_place", column, in_index=True)
    with opened(copy) as store:
        assert answers(store) == expected
        assert "index of chunks is damaged" in store.health().damage[FINE]
        store.compact(END + 8000)
    with opened(copy) as store:
        assert answers(store) == expected
        assert store.health().damage == {}


@pytest.mark.parametrize("column", ["level", "period", "first", "buckets", "id"])
def test_a_chunk_whose_row_lies_elsewhere_is_never_counted_there(copy: Path, column: str) -> None:
    with opened(copy) as store:
        expected = requests_by_route(store)
    misplace(copy / FINE, "chunk_place", column, in_index=False)
    with opened(copy) as store:
        # The index is made to follow the rows.
        store.compact(END + 8000)
        found = requests_by_route(store)
        assert all(requests <= expected[route] for route, requests in found.items())
        assert store.health().damage[FINE]
    with opened(copy) as store:
        assert requests_by_route(store) == found
        answers(store)
        assert store.health().damage[FINE]


@pytest.mark.parametrize("column", ["name", "service", "instance"])
def test_a_gauge_whose_name_is_not_as_it_was_written_is_left_out_and_named(
    copy: Path, column: str
) -> None:
    with opened(copy) as store:
        expected = answer(store, OF_CPU)
    change(copy / FINE, f"UPDATE gauge SET {column} = 'other' WHERE id = 1")
    with opened(copy) as store:
        found = answer(store, OF_CPU)
        assert found != expected
        assert {name for name, *_ in found} <= {name for name, *_ in expected}
        assert "names of gauges" in store.health().damage[FINE]


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE fact SET value = value + 1 WHERE name = 'identity'", "facts are not"),
        ("DELETE FROM fact WHERE name = 'marks'", "facts are not"),
        ("INSERT INTO merged VALUES (77)", "marks of journal rows are not"),
        ("DELETE FROM merged", "marks of journal rows are not"),
    ],
)
def test_facts_and_marks_that_are_not_as_they_were_written_are_named_and_made_good(
    copy: Path, statement: str, word: str
) -> None:
    with opened(copy) as store:
        expected = answers(store)
    change(copy / FINE, statement)
    with opened(copy) as store:
        assert answers(store) == expected
        assert word in store.health().damage[FINE]
        append(store, batch_of(1000, NOON + 20))
        store.compact(END + 16000)
        assert sum(requests_by_route(store).values()) == 4 * 12 + 12
    with opened(copy) as store:
        assert "were written anew" in store.health().damage[FINE]
