"""Faults between an app and its agent: one that is strange, or late, or watches a blocked loop."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.processes.drive import Measured, call_wsgi
from support.processes.load import drive
from support.processes.peer import Peer, running_peer
from support.processes.servers import App, clean_environment, wait_for
from support.processes.stack import uvicorn
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings
from trimtab_core.frames import encode
from trimtab_core.messages import Gauges, Hello

TESTS = str(Path(__file__).resolve().parent.parent)


def answer(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok"]


# ---------------------------------------------------------------- strange agents


@contextmanager
def listening(path: Path, *, stays: bool) -> Iterator[list[float]]:
    """Accept at a path and answer nothing, or hang up at once; yield when who came."""
    came: list[float] = []
    ends: list[socket.socket] = []
    with ExitStack() as exits:
        listener = exits.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    end, _ = listener.accept()
                except OSError:
                    return
                came.append(time.monotonic())
                ends.append(end)
                if not stays:
                    end.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for end in ends:
                end.close()


@pytest.mark.parametrize("stays", [True, False], ids=["silent", "hangs up"])
def test_an_agent_that_never_answers_is_sent_nothing_and_not_pressed(
    measured: Measured, *, stays: bool
) -> None:
    path = measured.peer.path.with_name("strange.sock")
    app = measured.wsgi(answer, agent=f"unix://{path}")
    begun_s = time.monotonic()
    with listening(path, stays=stays) as came:
        for _ in range(50):
            call_wsgi(app)
        threads = threading.active_count()
        runtime = runtime_for(read_settings(**measured.settings(agent=f"unix://{path}")))
        wait_for(lambda: len(came) >= (1 if stays else 5), "connections", 20)
        # Whoever accepts late sees two at once, and none sooner than it may have come.
        assert all(at_s - begun_s > 0.09 * number for number, at_s in enumerate(came))
        for _ in range(50):
            call_wsgi(app)
        runtime.flush(0.3)
        wait_for(lambda: runtime.accounting == {"sent": 0, "held": 100, "dropped": 0}, "the books")
        assert threading.active_count() == threads
        if stays:
            assert len(came) == 1


def test_a_welcome_of_a_newer_protocol_is_a_welcome(measured: Measured) -> None:
    body = {"protocol": 7, "agent": "newer", "worker": 5, "future": {"a": [1, 2.5, None]}}
    measured.peer.answer = encode(["welcome", body, "more", 8]) + encode(["tomorrow", {}])
    app = measured.wsgi(answer)
    for _ in range(20):
        call_wsgi(app)
    measured.records(20)
    assert (measured.peer.connections, measured.peer.errors) == (1, [])


# ---------------------------------------------------------------- not there yet


def test_an_app_before_its_agent_and_one_whose_directory_is_made_anew_lose_nothing(
    tmp: Path, measured: Measured, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp / "run"
    app = measured.wsgi(answer, agent=f"unix://{folder}/a.sock")
    sent = 0
    with caplog.at_level(logging.WARNING, "trimtab"):
        for _ in range(3):
            for _ in range(30):
                call_wsgi(app)
            sent += 30
            wait_for(lambda: caplog.records, "a line that says there is no agent")
            folder.mkdir()
            peer = Peer(folder).start()
            try:
                peer.wait_records(30, 20)
                assert len(peer.records()) == 30
                assert peer.messages(Hello)[0].sent == sent - 30
            finally:
                peer.stop()
            folder.rmdir()
    assert len(caplog.records) == 1, "one line a minute, however often it is away"
    assert len([t for t in threading.enumerate() if t.name == "trimtab-emitter"]) == 1


#: An app of a user who may not reach the socket, until stdin says that it may.
UNPRIVILEGED = """
import logging, os, sys
sys.path.insert(0, sys.argv[1])
from support.processes.drive import call_wsgi
from trimtab import WSGIMiddleware
logging.basicConfig()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
app = WSGIMiddleware(app)
for _ in range(10):
    call_wsgi(app)
sys.stdin.read()
call_wsgi(app)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="root may open every socket")
def test_a_socket_without_permission_is_one_warning_and_found_when_it_is_given() -> None:
    with running_peer() as peer:
        peer.path.parent.chmod(0o755)
        peer.path.chmod(0)
        env = clean_environment() | {"TRIMTAB_AGENT": peer.address, "TRIMTAB_INTERVAL_MS": "20"}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [sys.executable, "-c", UNPRIVILEGED, TESTS], env=env, stdin=pipe, stderr=pipe, text=True
        ) as app:
            assert app.stderr is not None
            assert "Permission denied" in app.stderr.readline()
            assert peer.connections == 0
            peer.path.chmod(0o666)
            peer.wait_records(10, 20)
            _, rest = app.communicate(timeout=30)
            assert (app.returncode, rest) == (0, "")
        peer.wait_records(11)


# ---------------------------------------------------------------- a loop that is blocked


def test_a_blocked_loop_is_seen_while_it_is_and_keeps_back_nothing(tmp: Path) -> None:
    with running_peer() as peer:
        app = App(tmp, "shop", peer.address, uvicorn(target="blocking_target:app"))
        with app.start():
            drive([f"{app.url}/"], 20)
            peer.wait_for(Gauges, 1, 20)
            drive([f"{app.url}/"], 30)
            ended = threading.Event()

            def block() -> None:
                drive([f"{app.url}/block"], 1)
                ended.set()

            thread = threading.Thread(target=block)
            thread.start()
            peer.wait_records(50)

            def delay_s() -> float:
                gauges = peer.messages(Gauges)
                return max(each.values.get("trimtab.app.loop_delay", 0.0) for each in gauges)

            # A gauge a second, and a ping each quarter of one: on a busy machine both come late.
            peer.wait(lambda: delay_s() >= 2.5, "a delay of 2.5 s", 20)
            assert not ended.is_set()
            thread.join(20)
            peer.wait(lambda: delay_s() >= 4.5, "what it came to", 20)
            assert app.stop() in (0, -15)
            peer.wait_records(51)
