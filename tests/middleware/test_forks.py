"""Processes that serve and fork: no deadlock, no torn frame, each counted under its own id once."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.apps.deltas import heard
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


#: One thread patches a library, and holds what is locked for that, until the process ends.
WHILE_PATCHING = """
import os, signal, sys, threading, types, warnings
import trimtab

warnings.simplefilter("ignore")
parent, held = os.getpid(), threading.Event()

class Slow(type):
    @property
    def send(cls):
        if os.getpid() == parent:
            held.set()
            threading.Event().wait()
        return lambda self: None

module = types.ModuleType("requests.sessions")
module.Session = Slow("Session", (), {})
sys.modules["requests.sessions"] = module
assert "sqlite3" not in sys.modules
threading.Thread(target=trimtab.instrument, args=("requests", "sqlite3"), daemon=True).start()
assert held.wait(20)
child = os.fork()
if child == 0:
    signal.alarm(20)
    import sqlite3
    if sys.argv[1] == "instrument":
        trimtab.instrument("httpx")
    elif sys.argv[1] == "uninstrument":
        trimtab.uninstrument()
    patched = hasattr(sqlite3.connect, "__wrapped__")
    os._exit(0 if patched == (sys.argv[1] != "uninstrument") else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("then", ["import", "instrument", "uninstrument"])
def test_a_fork_while_a_thread_patches_leaves_no_lock_held_in_the_child(then: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHILE_PATCHING, then],
        env=clean_environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


#: The hook of forks is all that tells a worker that it is new.
AWAKE = """
from trimtab.instrumentation.tasks import process_started
from trimtab.runtime import PROCESS

process_started()
(runtime,) = PROCESS.runtimes()
seen = [runtime.recorder.asleep]
PROCESS.after_fork()
seen.append(runtime.recorder.asleep)
process_started()
print([*seen, runtime.recorder.asleep])
"""


def test_a_worker_of_a_queue_learns_from_the_hook_of_forks_that_it_has_to_send() -> None:
    with running_peer() as peer:
        done = subprocess.run(
            [sys.executable, "-c", AWAKE],
            env=clean_environment() | {"TRIMTAB_AGENT": peer.address},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    # The thread of the emitter is still there, unlike after a fork: it may complain of its socket.
    assert (done.returncode, done.stdout.strip()) == (0, "[False, True, False]"), done.stderr


#: A fork comes just when the emitter's thread has made a socket and has not told anybody of it.
WHILE_CONNECTING = """
import os, socket, sys, threading

from trimtab.runtime import PROCESS
from trimtab_core.config import parse_address

made, forking = threading.Event(), threading.Event()

class Slow(socket.socket):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        made.set()
        forking.wait(10)

def connect():
    try:
        PROCESS.connections.connect(parse_address("unix:///nowhere/agent.sock"), frozenset(), "")
    except OSError:
        pass

# Hooks that come later are called first: the fork begins, then it waits for the socket.
os.register_at_fork(before=forking.set)
socket.socket = Slow
thread = threading.Thread(target=connect)
thread.start()
made.wait(10)
if child := os.fork():
    thread.join()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
names = [os.readlink(link) for link in links if os.path.lexists(link)]
os._exit(sum("socket" in name for name in names))
"""


def test_a_fork_while_the_emitter_connects_leaves_no_socket_open_in_the_child() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WHILE_CONNECTING],
        env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "kind",
    ["fork", "spawn", "forkserver", "pool", "pool of spawned", "executor", "generations"],
)
def test_what_children_count_arrives_though_nobody_calls_start_there(tmp: Path, kind: str) -> None:
    with running_peer() as peer:
        done = subprocess.run(
            [sys.executable, str(ZOO.with_name("counting_target.py")), kind],
            env=clean_environment() | {"TRIMTAB_AGENT": peer.address, "TRIMTAB_SERVICE": "zoo"},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

        def counted_by() -> dict[str, float]:
            return {dict(key.attributes)["number"]: delta.sum for key, delta in heard(peer).items()}

        peer.wait(lambda: counted_by() == {str(n): 1.0 for n in range(6)}, "one of each")
        assert peer.errors == []
