"""A store of version 1 becomes one of this version: wholly or not at all, with the same answers."""

import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from support.clock import Clock
from support.processes.servers import Collector, clean_environment, short_dir, trimtab
from support.processes.tracing import calls_of, killed_at
from support.stores import checkedstore
from support.stores.appending import append
from support.stores.batches import a_batch, accounting_of, key_of, point_of
from support.stores.checkedstore import checked, make
from support.stores.version1 import write_store
from support.stores.version3 import to_version_3
from trimtab_collector.storage.columns import VALUES
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.schema import VERSION
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import Batch, SeriesKey
from trimtab_core.errors import StartupError

HOUR_S = 3600
#: twenty minutes past an hour
NOW = 1_700_050_800 + 1200
MERGED_BEFORE_S = NOW - 910
#: what is asked: all fields, none, some; steps of windows, minutes, hours and a day
FIELDS: list[tuple[str, ...]] = [(), SeriesKey._fields, ("service", "status_class"), ("route",)]
STEPS_S = (10, 60, HOUR_S, 26 * HOUR_S)


def batches(first: int, count: int, start_s: int, end_s: int) -> list[Batch]:
    """Return batches of windows in a range: several series, gauges, empty ones, late ones."""
    found = []
    for seq in range(first, first + count):
        chance = Random(seq)
        service = ("shop", "café")[seq % 2]
        points = {
            key_of(f"/{n}", service, ("2xx", "5xx")[n % 2], instance=f"h{seq % 3}"): point_of(
                [chance.randrange(4_000_000) for _ in range(chance.randrange(4))],
                bytes=chance.choice((0, 1, 300, 70_000, 2**40)),
            )
            for n in range(seq % 9)
        }
        t = chance.randrange(start_s, end_s)
        claim = accounting_of([(seq, 1)], seq + 1, process=b"%8d" % (seq % 4), service=service)
        found.append(
            a_batch(seq, points, agent=f"agent-{seq % 2}", window_s=t - t % 10, processes=[claim])
        )
    return found


@pytest.fixture(scope="module")
def reference() -> Iterator[SQLiteStore]:
    """The same batches in a store that was never of another version."""
    with short_dir() as directory, opened(directory / "new") as store:
        append(store, *OLD, *NEW)
        yield store


OLD = batches(0, 300, NOW - 26 * HOUR_S, MERGED_BEFORE_S)
NEW = batches(300, 60, MERGED_BEFORE_S - HOUR_S, NOW)


@contextmanager
def opened(directory: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=Clock(NOW))
    try:
        yield store
    finally:
        store.close()


@pytest.fixture(scope="module")
def made(reference: SQLiteStore) -> Iterator[Path]:
    accounting = {each.service: each.requests for each in reference.accounting()}
    processes = [
        (b"%8d" % number, "test", service, msgspec.msgpack.encode([(0, 360)]), 360, b"\x80", 0, NOW)
        for number, service in ((0, "shop"), (1, "café"))
    ]
    with short_dir() as directory:
        write_store(directory / "c", OLD, NEW, MERGED_BEFORE_S, accounting, processes)
        yield directory / "c"


@pytest.fixture
def copy(made: Path, tmp: Path) -> Path:
    return Path(shutil.copytree(made, tmp / "c"))


def answers(
    store: SQLiteStore,
    fields_asked: Sequence[tuple[str, ...]] = FIELDS,
    steps_s: Sequence[int] = STEPS_S,
) -> list[Any]:
    """Return all that is asked, to the bit."""
    found: list[Any] = []
    start_s = NOW - 26 * HOUR_S
    start_s -= start_s % HOUR_S
    for fields in fields_asked:
        for step_s in steps_s:
            edges = (*range(start_s, NOW + 600, step_s), NOW + 600)
            rows = store.read(Selection(edges, fields))
            columns = rows.columns
            ends = columns.buckets.cumsum()
            found.append((fields, step_s))
            # In the order of names: numbers of groups are those of whoever was met first.
            found += sorted(
                (
                    rows.groups[rows.group[place]],
                    int(rows.t[place]),
                    [int(columns.value(name)[place]) for name in ("requests", *VALUES)],
                    columns.indexes[end - size : end].tolist(),
                    columns.counts[end - size : end].tolist(),
                )
                for place, (end, size) in enumerate(zip(ends, columns.buckets, strict=True))
            )
    return found


def merge_all(store: SQLiteStore) -> None:
    clock = Clock(NOW)
    clock.now_s = NOW + 3 * HOUR_S
    while store.compact(clock.now_s):
        pass


def test_answers_are_the_same_before_and_after_its_blocks_are_merged_into_tiers(
    copy: Path, reference: SQLiteStore
) -> None:
    expected = answers(reference)
    with opened(copy) as store:
        assert store.health().journal_batches > len(NEW)
        assert answers(store) == expected
        assert store.compact(NOW) > 0
        assert answers(store) == expected
        merge_all(store)
        assert store.health().journal_batches == 0
        assert answers(store) == expected
        requests = {each.service: each.requests for each in store.accounting()}
        assert requests == {each.service: each.requests for each in reference.accounting()}
        assert {each.counted for each in store.accounting()} == {360}
    assert [path.name for path in copy.glob("1h-*")]
    with opened(copy) as store:
        assert answers(store) == expected


def test_a_migrated_store_is_sound_and_so_it_is_when_it_was_merged(copy: Path) -> None:
    def findings() -> list[Any]:
        return [*check(copy, Retention(), lambda line: None, NOW).findings]

    assert "version 1" in findings()[0].got
    with opened(copy) as store:
        assert findings() == []
        merge_all(store)
        assert findings() == []


def test_repeats_of_what_version_1_took_stay_repeats(copy: Path, reference: SQLiteStore) -> None:
    expected = answers(reference)
    with opened(copy) as store:
        assert all(append(store, *OLD, *NEW))
        merge_all(store)
        assert all(append(store, *OLD, *NEW))
        assert answers(store) == expected
        (more,) = batches(1000, 1, NOW - 3600, NOW)
        assert append(store, more) == [False]


def test_a_block_that_cannot_be_read_costs_itself_and_is_named(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(copy / "metrics.db", isolation_level=None)) as connection:
        connection.execute("UPDATE block SET payload = CAST(x'00' || payload AS BLOB) WHERE id = 2")
        (kept,) = connection.execute("SELECT sum(points) FROM block WHERE id <> 2").fetchone()
    with caplog.at_level(logging.WARNING), opened(copy) as store:
        assert "block 2 of version 1 cannot be read" in caplog.text
        assert store.health().journal_batches > 60
    assert kept > 0


@pytest.mark.parametrize("version", [VERSION + 1, 99])
def test_a_store_of_the_future_is_refused_with_what_to_do_and_left_alone(
    copy: Path, version: int
) -> None:
    with closing(sqlite3.connect(copy / "metrics.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = (copy / "metrics.db").read_bytes()
    with pytest.raises(StartupError, match=f"of version {version}.*written by a later one"):
        SQLiteStore(copy)
    assert (copy / "metrics.db").read_bytes() == before
    done = subprocess.run(
        trimtab("collector", "--port", "0", "--data-dir", str(copy)),
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "written by a later one" in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- version 3


@pytest.fixture
def third(tmp: Path) -> Path:
    """A store of version 3 with two days in tiers: its small file names all series."""
    make(tmp / "third")
    to_version_3(tmp / "third")
    return tmp / "third"


def test_names_move_from_the_small_file_into_the_tier_files(third: Path, tmp: Path) -> None:
    make(tmp / "fresh")
    clock = Clock(checkedstore.NOW)
    with checkedstore.opened(tmp / "fresh", clock) as store:
        expected = answers(store)
    with checkedstore.opened(third, clock) as store:
        assert answers(store) == expected
        assert store.health().damage == {}
        clock.now_s += 3 * HOUR_S
        assert store.compact(clock.now_s) > 0
        assert answers(store) == expected
    assert checked(third).sound


def test_a_move_of_names_that_was_killed_goes_on_where_it_was(third: Path, tmp: Path) -> None:
    command = [sys.executable, "-c", _MIGRATE]
    whole = shutil.copytree(third, tmp / "whole")
    count = calls_of(("fdatasync",), [*command, str(whole)]).count("fdatasync")
    assert count > 4
    with checkedstore.opened(whole, Clock(checkedstore.NOW)) as store:
        expected = answers(store, steps_s=[HOUR_S])
    for when in sorted({1, 2, count // 2, count - 1, count}):
        copy = Path(shutil.copytree(third, tmp / f"t{when}"))
        assert killed_at("fdatasync", when, [*command, str(copy)])
        with checkedstore.opened(copy, Clock(checkedstore.NOW)) as store:
            assert answers(store, steps_s=[HOUR_S]) == expected, when
        assert checked(copy).sound


# ---------------------------------------------------------------- killed in the middle

_MIGRATE = """
import sys
from pathlib import Path
from trimtab_collector.storage.sqlite.schema import migrate, open_metrics
connection = open_metrics(Path(sys.argv[1]) / "metrics.db")
migrate(connection, Path(sys.argv[1]))
connection.close()
"""
_CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink")


def version_of(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "metrics.db")) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    assert ("block" in tables) == (version == 1)
    assert "journal_1" not in tables
    return int(version)


def test_killed_in_the_middle_it_has_happened_wholly_or_not_at_all(
    made: Path, tmp: Path, reference: SQLiteStore
) -> None:
    command = [sys.executable, "-c", _MIGRATE]
    shutil.copytree(made, tmp / "whole")
    made_calls = calls_of(_CALLS, [*command, str(tmp / "whole")])
    assert version_of(tmp / "whole") == VERSION
    # The finest answer there is: all others are sums of it, by code that knows of no migration.
    finest = ([SeriesKey._fields], [10])
    expected = answers(reference, *finest)
    versions = []
    # The first and last of each, and some between them.
    kills = {
        (call, when)
        for call in _CALLS
        for count in [made_calls.count(call)]
        for when in (1, count // 2, count - 1, count)
        if 0 < when <= count
    }
    assert len(kills) > 8
    for number, (call, when) in enumerate(sorted(kills)):
        copy = Path(shutil.copytree(made, tmp / f"c{number}"))
        assert killed_at(call, when, [*command, str(copy)]), (call, when)
        versions.append(version_of(copy))
        with opened(copy) as store:
            assert answers(store, *finest) == expected, (call, when)
        assert version_of(copy) == VERSION
    assert {1, VERSION} <= set(versions) <= {1, 2, 3, 4, VERSION}


def test_a_collector_takes_over_the_directory_of_version_1(copy: Path, tmp: Path) -> None:
    with Collector(tmp) as collector:
        collector.start()
        accounting = collector.api.get("/services")["services"]
        assert {row["service"] for row in accounting} >= {"shop", "café"}
        assert collector.stop() == 0
    assert version_of(copy) == VERSION
