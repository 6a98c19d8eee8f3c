"""kill -9 around transitions: every message is there once, and in order, whenever it strikes."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.stores.engines import NOON
from support.stores.judgingchild import EXPECTED, WINDOWS

CHILD = Path(__file__).parents[1] / "support" / "stores" / "judgingchild.py"


def child(directory: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHILD.parents[2])},
    )


def told(directory: Path) -> list[tuple[str, str, int]]:
    """Return what waits in the outbox, in the order in which it will be sent."""
    with closing(sqlite3.connect(directory / "state.db")) as connection:
        rows = connection.execute("SELECT kind, severity, notice FROM delivery ORDER BY id")
        return [
            (kind, severity, int(json.loads(notice)["at_s"]) - NOON)
            for kind, severity, notice in rows
        ]


def lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line.strip()


def test_without_a_crash_every_transition_is_told_once(tmp_path: Path) -> None:
    with child(tmp_path) as process:
        assert list(lines(process))[-1] == "end"
    assert told(tmp_path) == EXPECTED


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_nothing_is_told_twice_or_forgotten(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    judged: list[str] = []
    for _ in range(len(WINDOWS)):
        # Some windows on, in the middle of whatever is being written then.
        left, ended = chance.randint(1, 14), False
        with child(tmp_path) as process:
            for line in lines(process):
                ended = line == "end"
                judged.append(line)
                left -= 1
                if not left:
                    process.send_signal(signal.SIGKILL)
                    break
        if ended:
            break
    assert ended, judged
    found = told(tmp_path)
    assert [row[:2] for row in found] == [row[:2] for row in EXPECTED]
    # A batch that was stored and not judged when the end came is a repeat to the next child, which
    # then does not know its agent to be there: good values count a window later.
    late = [at_s - due_s for (_, _, at_s), (_, _, due_s) in zip(found, EXPECTED, strict=True)]
    assert set(late) <= {0, 10}
    # No window was judged twice: what a child had said was durable.
    steps = [line for line in judged if line != "end"]
    assert len(set(steps)) == len(steps)
