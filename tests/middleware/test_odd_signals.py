"""Signals and stacks of a process are the app's: no thread or socket of trimtab ends it by one."""

import subprocess
import sys

import pytest

from support.processes.peer import Peer, running_peer
from support.processes.servers import clean_environment
from trimtab_core.messages import Samples

SERVING = """
import os, signal, threading
from trimtab import WSGIMiddleware, watch_queue
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]

def serve(times=1):
    for _ in range(times):
        environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/"}
        assert wrapped(environ, lambda *started: None) == [b"x"]

def settled():
    return any(own.flush(0.2) and own.is_connected for _ in range(50))

wrapped = WSGIMiddleware(app, interval_ms=20)
own = runtime_for(read_settings(interval_ms=20))
"""
BLOCKED = (
    SERVING
    + """
serve()
assert settled()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
for number in (signal.SIGUSR1, signal.SIGTERM):
    os.kill(os.getpid(), number)
    assert signal.sigwait({number}) == number
"""
)
SMALL_STACKS = (
    SERVING
    + """
nested = []
for _ in range(300):
    nested = [nested]
threading.stack_size(32768)
# Called in the thread that sends: each level takes its stack.
watch_queue("odd", lambda: len(repr(nested)))
serve()
assert settled()
# Asked for without a size, it would be set to the default.
assert threading.stack_size(32768) == 32768
"""
)
PIPE = (
    SERVING
    + """
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
for _ in range(5):
    serve(8000)
    own.flush(0.3)
"""
)


def run(script: str, peer: Peer) -> None:
    environ = clean_environment() | {"TRIMTAB_AGENT": peer.address}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=False, timeout=60, env=environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no masks of signals")
def test_a_signal_that_the_app_waits_for_is_given_to_the_app() -> None:
    with running_peer() as peer:
        run(BLOCKED, peer)


def test_the_thread_that_sends_has_a_stack_however_small_those_of_the_app() -> None:
    with running_peer() as peer:
        run(SMALL_STACKS, peer)


def test_an_agent_that_hangs_up_ends_no_app_whose_writes_to_nobody_do() -> None:
    with running_peer() as peer:
        peer.cut_after = iter([100_000] * 100)
        run(PIPE, peer)
        assert peer.messages(Samples)
