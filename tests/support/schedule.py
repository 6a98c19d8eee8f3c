"""The order of tests, and which of them run alone, over the processes of pytest-xdist.

The processes take one file of tests after the other. Files that take long come first, and those
that mostly wait (whole systems) come in turn with those that compute, so that the cores are busy
and the end is even. A test marked `alone` measures memory or time, or freezes something: it runs
while no other one does, and after all others, so that nobody stands still for it.
"""

import fcntl
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, groupby, zip_longest
from pathlib import Path
from typing import Final
from zlib import crc32

import pytest
from xdist.scheduler import LoadFileScheduling

__all__ = [
    "FOLDERS",
    "LONG",
    "Units",
    "collected_once",
    "in_order",
    "taking_turns",
    "there_to_stay",
]

#: Files that take longest, in the order of their seconds: whoever is last waits for none of them.
LONG: Final = (
    "test_demo_fault.py",
    "test_reading.py",
    "test_faults.py",
    "test_matrix.py",
    "test_kill_points.py",
    "test_faults_socket.py",
    "test_conformance_machine.py",
    "test_link.py",
    "test_exits.py",
    "test_counting.py",
    "test_maintenance_backup.py",
    "test_demo.py",
    "test_servers_run.py",
    "test_clocks.py",
    "test_long_outage.py",
    "test_greenlets.py",
)
#: Folders from the slowest files to the quickest: what is short fills the end evenly.
FOLDERS: Final = ("system", "dashboard", "collector", "agent", "middleware", "core")


def in_order(items: list[pytest.Item]) -> None:
    """Sort tests by file, long ones first, and those that run alone behind all others."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    long = [path for name in LONG for path in files if path.name == name]
    folders: dict[str, list[Path]] = {name: [] for name in FOLDERS}
    for path in files:
        if path not in long:
            folders.setdefault(path.parent.name, []).append(path)
    waiting, *computing = folders.values()
    turns = zip_longest(waiting, chain(*computing))
    order = [*long, *(path for pair in turns for path in pair if path is not None)]
    items[:] = sorted((item for path in order for item in files[path]), key=_is_alone)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


class Units(LoadFileScheduling):  # type: ignore[misc]
    """Hands out files; the tests of one that stand apart from the rest, being alone, on their own.

    Handed out with their file they would wait for every other process, and keep one from its work.
    """

    def _split_scope(self, nodeid: str) -> str:
        return self._units().get(nodeid, nodeid)

    def _units(self) -> dict[str, str]:
        if not hasattr(self, "_found"):
            collected = next(iter(self.registered_collections.values()))
            runs = groupby(collected, super()._split_scope)
            self._found: dict[str, str] = {
                nodeid: f"{place} {file}"
                for place, (file, run) in enumerate(runs)
                for nodeid in run
            }
        return self._found


@contextmanager
def taking_turns(item: pytest.Item, directory: Path) -> Iterator[None]:
    """Hold what lets a test run, in a directory that all processes share.

    One that is to be alone waits until there is a moment in which no other runs: at the latest when
    all have run. The kernel lets go of the file when a process ends, however it ends.
    """
    with (directory / "room").open("w") as room:
        fcntl.flock(room, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
        yield


@contextmanager
def collected_once(collector: pytest.Collector, directory: Path) -> Iterator[None]:
    """Let one process after the other import a file of tests.

    The first one rewrites its asserts and writes down the result, which takes as long as all else
    in collecting; the others read that. They are at other files meanwhile.
    """
    if not isinstance(collector, pytest.Module):
        yield
        return
    with (directory / f"file{crc32(bytes(collector.path)):08x}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def there_to_stay() -> Iterator[None]:
    """Keep the garbage collector away from what is imported and collected inside, for good.

    It is half a million objects, hardly one of them garbage, and it would go through them again
    and again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
