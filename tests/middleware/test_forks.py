"""Processes that serve and fork: no deadlock, no torn frame, each counted under its own id once."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.processes.peer import Peer, running_peer
from support.processes.servers import clean_environment
from trimtab_core.messages import Bye, Hello

ZOO = Path(__file__).resolve().parent.parent / "targets" / "zoo.py"


def run(kind: str, tmp: Path, peer: Peer, **env: str) -> Counter[int]:
    """Run a kind of the zoo to its end; return the requests that each process has served."""
    accounting = tmp / "accounting"
    accounting.touch()
    # From 3.12 on a fork beside threads, of which the emitter is one, is warned of.
    known = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
    done = subprocess.run(
        [sys.executable, *known, str(ZOO), kind],
        env=clean_environment()
        | {
            "TRIMTAB_AGENT": peer.address, "TRIMTAB_SERVICE": "zoo", "TRIMTAB_GAUGES": "1",
            "ZOO_ACCOUNTING": str(accounting), **env,
        },
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    served: Counter[int] = Counter()
    for line in accounting.read_text().splitlines():
        pid, requests = map(int, line.split())
        served[pid] += requests
    return served


def counted(peer: Peer) -> Counter[int]:
    """Return the records of each process id; each process's numbers must be without a gap."""
    pids = {hello.process: hello.pid for hello in peer.messages(Hello)}
    found: Counter[int] = Counter()
    for process, ranges in peer.ranges().items():
        end = 0
        for first, count in ranges:
            assert first == end, "a record that came twice or not at all"
            end += count
        found[pids[process]] += end
    return found


#: All of it happens between two sends of an emitter, or while one is always at work.
SELDOM, OFTEN = "10000", "20"


@pytest.mark.parametrize(
    ("kind", "interval_ms"),
    [
        ("fork", SELDOM), ("fork", OFTEN), ("spawn", SELDOM), ("forkserver", SELDOM),
        ("pools", SELDOM), ("pools", OFTEN), ("many forks", SELDOM), ("many forks", OFTEN),
        ("generations", OFTEN), ("daemon", OFTEN), ("programs", OFTEN), ("terminal", OFTEN),
    ],
)  # fmt: skip
def test_whatever_an_app_forks_all_is_counted_once_where_it_was_served(
    tmp: Path, kind: str, interval_ms: str
) -> None:
    with running_peer() as peer:
        served = run(kind, tmp, peer, TRIMTAB_INTERVAL_MS=interval_ms)
        peer.wait_records(served.total())
        # Hellos may outnumber byes: a child that is not told to end sends what it has, and leaves.
        peer.wait(lambda: counted(peer) == served, f"the records of {served}")
        assert peer.errors == []
        of_a_process = Counter(hello.process for hello in peer.messages(Hello))
        assert set(of_a_process.values()) == {1}, "each process connects once"
        assert {os.getpid()} & set(served) == set()
        assert len(peer.messages(Bye)) <= len(of_a_process)
