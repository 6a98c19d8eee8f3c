"""A store killed at its calls to the system: what was acknowledged counts once, at every level.

The child commits batches one by one, merges them in four runs, consolidates, and drops the finest
tier of the first day. It is killed as it enters a call, for calls spread over its whole life. Then
its disk is filled: it starts there or lacks room, and when there is room all is as it was.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from support.clock import Clock
from support.disks.smalldisk import SmallDisk, small_disk
from support.processes.servers import clean_environment, short_dir
from support.processes.tracing import calls_of, killed_at
from support.stores import killedchild
from support.stores.appending import append
from support.stores.killedchild import BATCHES, DAY_S, END_S, KEPT, START_S, batch
from trimtab_collector.room import RESERVE, NoRoomError
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.upkeep.check import check
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import decode_series

#: call -> how many places of it are tried
PLACES: Mapping[str, int] = {"fdatasync": 10, "pwrite64": 10, "unlink": 6}


def command(directory: Path) -> list[str]:
    # Not as a script: its own folder would be first on the path in place of tests/.
    start = "import runpy, sys; sys.path.insert(0, sys.argv[1]); del sys.argv[1];"
    start += f"runpy.run_module('{killedchild.__name__}', run_name='__main__', alter_sys=True)"
    tests = str(Path(killedchild.__file__).parents[2])
    return [sys.executable, "-c", start, tests, str(directory)]


@pytest.fixture(scope="module")
def calls() -> list[str]:
    """The calls of a whole life, in order."""
    with short_dir() as directory:
        return calls_of(list(PLACES), command(directory))


def counted(store: SQLiteStore, *group_by: str, step_s: int = DAY_S) -> dict[tuple[str, ...], int]:
    edges = (*range(START_S, END_S, step_s), END_S)
    rows = store.read(Selection(edges, group_by=group_by))
    found: dict[tuple[str, ...], int] = {}
    for place, requests in zip(rows.group, rows.columns.value("requests"), strict=True):
        name = rows.groups[place]
        found[name] = found.get(name, 0) + int(requests)
    return found


def expected(numbers: set[int], *fields: str) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    for number in numbers:
        (key,) = decode_series(batch(number).series)
        name = tuple(getattr(key, field) for field in fields)
        found[name] = found.get(name, 0) + 2
    return found


def agrees(store: SQLiteStore, numbers: set[int]) -> bool:
    return all(
        counted(store, *fields, step_s=step_s) == expected(numbers, *fields)
        for fields in ((), ("route",), ("instance", "route"))
        for step_s in (DAY_S, 3600, 60)
    )


@contextmanager
def disk_of(directory: Path) -> Iterator[SmallDisk | None]:
    """Yield a small disk, None where none can be had here."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(directory / "disk", 24))
        except pytest.skip.Exception:
            disk = None
        yield disk


def start_on_full(disk: SmallDisk, directory: Path, acknowledged: set[int]) -> None:
    """Fail unless a store on a full disk answers, or says that it lacks room and nothing else."""
    disk.fill()
    reserve = directory / RESERVE
    has_room = reserve.exists() and reserve.stat().st_size == 256 * 1024
    try:
        # With room held it starts; without it may say that it lacks some.
        with nullcontext() if has_room else suppress(NoRoomError):
            store = SQLiteStore(directory, clock=Clock(END_S), retention=KEPT, waits=has_room)
            try:
                following = max(acknowledged, default=-1) + 1
                # Where no room was held, a file may be unreadable for now, and /health says so.
                assert (
                    agrees(store, acknowledged)
                    or agrees(store, acknowledged | {following})
                    or (not has_room and store.health().damage)
                )
            finally:
                store.close()
    finally:
        disk.give_back()


def verify(directory: Path, acknowledged: set[int]) -> None:
    """Fail unless a store holds what was acknowledged, once, and takes the rest."""
    clock = Clock(END_S)
    store = SQLiteStore(directory, clock=clock, retention=KEPT)
    try:
        # The one that was on its way may be in or not.
        following = max(acknowledged, default=-1) + 1
        held = next(
            numbers
            for numbers in (acknowledged, acknowledged | {following})
            if agrees(store, numbers)
        )
        store.compact(clock.now_s)
        assert agrees(store, held)
        repeats = append(store, *map(batch, range(BATCHES)))
        assert [number for number, here in enumerate(repeats) if here] == sorted(held)
        assert agrees(store, {*range(BATCHES)})
        store.compact(clock.now_s)
        assert agrees(store, {*range(BATCHES)})
        assert store.health().journal_batches == 0
        assert not store.health().damage
    finally:
        store.close()
    report = check(directory, KEPT, lambda line: None, now_s=END_S)
    assert not report.findings


@pytest.mark.parametrize("call", PLACES)
def test_a_store_that_is_killed_holds_what_it_acknowledged_once(
    calls: list[str], call: str
) -> None:
    count = calls.count(call)
    assert count, f"the child makes no call of {call}"
    places = sorted({1 + place * (count - 1) // PLACES[call] for place in range(PLACES[call] + 1)})
    for when in places:
        with short_dir() as directory, disk_of(directory) as disk:
            log = directory / "acknowledged"
            data = (disk.path if disk else directory) / "data"
            shell = ["sh", "-c", 'exec "$@" > "$0"', str(log), *command(data)]
            killed_at(call, when, shell)
            acknowledged = {int(word) for word in log.read_text().split() if word != "end"}
            if disk:
                start_on_full(disk, data, acknowledged)
            verify(data, acknowledged)


def test_a_store_that_is_not_killed_drops_the_finest_tier_of_the_first_day(tmp: Path) -> None:
    done = subprocess.run(command(tmp), env=clean_environment(), capture_output=True, check=True)
    assert done.stdout.split()[-1] == b"end"
    names = sorted(path.name for path in tmp.glob("1*.db"))
    assert len([name for name in names if name.startswith("1m-")]) == 2
    assert not any(name.startswith("10s-") for name in names)
    verify(tmp, {*range(BATCHES)})
