"""The order of tests, and which of them run alone, over the processes of pytest-xdist.

The processes take one file of tests after the other. A test marked `alone` measures memory or time,
or freezes something: it begins when every test that has begun is over, and until it is over no
other one begins.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

__all__ = ["in_order", "taking_turns"]

#: Files of these folders take long and come first: what is short fills the end evenly.
_FOLDERS: Final = ("system", "dashboard", "collector", "agent", "middleware", "core")


def in_order(items: list[pytest.Item]) -> None:
    """Sort tests by folder, slow ones first; else they stay as they were collected."""
    places = {name: place for place, name in enumerate(_FOLDERS)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(places)))


@contextmanager
def taking_turns(item: pytest.Item, directory: Path) -> Iterator[None]:
    """Hold what lets a test run, in a directory that all processes share.

    Whoever comes stops at the door; one that is to be alone keeps it shut until it is over. So it
    waits for those that have begun, and never for ones that come later. The kernel lets go of both
    files when a process ends, however it ends.
    """
    alone = item.get_closest_marker("alone") is not None
    with (directory / "door").open("w") as door, (directory / "room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
