"""Where threads are greenlets, and forks of a preloaded app: nobody waits, all are counted."""

import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.processes.load import drive
from support.processes.peer import Peer, running_peer
from support.processes.servers import clean_environment
from support.processes.stack import Stack, gunicorn
from trimtab_core.messages import Bye, Gauges, Hello

TESTS = str(Path(__file__).resolve().parent.parent)


@pytest.mark.parametrize(
    ("options", "workers"),
    [
        (["--preload", "-w", "4"], 4),
        (["-k", "gevent", "-w", "2"], 2),
        (["-k", "gevent", "-w", "2", "--preload"], 2),
    ],
    ids=["sync preload", "gevent", "gevent preload"],
)
def test_every_worker_of_gunicorn_is_counted_as_itself(
    system: Stack, service: str, options: list[str], workers: int
) -> None:
    app = system.app(service, gunicorn(*options), TRIMTAB_HOST="host")
    sent = 0
    seen: set[str] = set()
    # Whoever is free takes a connection: on a busy machine it may take a while for all to.
    while len(seen) < workers:
        load = drive([f"{app.url}/items/1"], 300, connections=8)
        assert load.failed == 0
        sent += load.sent
        assert sent < 30_000, seen
        seen = set(re.findall(rf"service={service} .*instance=(\S+)", system.agent.output()))
    assert seen == {f"host#{worker}" for worker in range(workers)}
    with urllib.request.urlopen(f"{system.agent.http}/metrics", timeout=10) as answer:
        assert "frames_refused_total{" not in answer.read().decode()
    assert app.stop() == 0
    system.wait_booked(service, sent)
    account = system.collector.api.accounting(service)
    assert (account["requests"], account["agentLost"], account["dropped"]) == (sent, 0, {})


# ---------------------------------------------------------------- scripts that patch themselves

#: Serves 20 requests at once until told on stdin, then forks and serves on in both.
SCRIPT = """
import http.client, os, select, signal, sys
sys.path.insert(0, sys.argv[1])
signal.alarm(50)
patched = sys.argv[2]

def patch():
    from gevent import monkey
    monkey.patch_all()

if patched == "first":
    patch()
from trimtab import WSGIMiddleware
if patched == "after the import":
    patch()
from support.processes.drive import call_wsgi
from trimtab.runtime import PROCESS

def app(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        told.wait()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

app = WSGIMiddleware(app)
call_wsgi(app)
if patched == "after the first request":
    patch()

import gevent, gevent.event, gevent.pywsgi
told = gevent.event.Event()
server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), app, log=None)
server.start()

def get():
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", "/wait")
    assert connection.getresponse().read() == b"ok"
    connection.close()

clients = [gevent.spawn(get) for _ in range(20)]
assert select.select([0], [], [])[0]
told.set()
gevent.joinall(clients, raise_error=True)

(runtime,) = PROCESS.runtimes()
for _ in range(2):
    pid = os.fork()
    if not pid:
        for _ in range(7):
            call_wsgi(app)
            gevent.sleep(0.01)
        # The hub must turn while an emitter waits; what is left of the parent's must not send.
        assert runtime.flush(20)
        call_wsgi(app)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    call_wsgi(app)
assert runtime.flush(20)
call_wsgi(app)
"""


@contextmanager
def script(peer: Peer, patched: str, interval_ms: int) -> Iterator[subprocess.Popen[str]]:
    environment = clean_environment() | {
        "TRIMTAB_AGENT": peer.address,
        "TRIMTAB_SERVICE": "green",
        "TRIMTAB_INTERVAL_MS": str(interval_ms),
    }
    command = [sys.executable, "-c", SCRIPT, TESTS, patched]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("patched", ["first", "after the import", "after the first request"])
def test_under_gevent_nothing_waits_for_the_emitter_and_all_is_counted(patched: str) -> None:
    with running_peer() as peer, script(peer, patched, 200) as running:
        peer.wait(
            lambda: any(
                reading.values["http.server.active_requests"] == 20
                for reading in peer.messages(Gauges)
            ),
            "20 requests in flight",
            20,
        )
        _, errors = running.communicate("go\n", timeout=50)
        assert running.returncode == 0
        # Of a thread older than the patches, threading does not find the name again.
        assert errors == "" or patched == "after the first request"
        assert counted(peer) == [8, 8, 24]
        assert len(peer.wait_for(Bye, 3)) == 3
        assert (peer.connections, peer.errors) == (3, [])
        # What the whole program takes is not what the emitter takes.
        names = {name for reading in peer.messages(Gauges) for name in reading.values}
        assert "trimtab.app.overhead" not in names or patched == "after the first request"


def test_under_gevent_an_emitter_that_waits_for_long_holds_up_nobody() -> None:
    # The first turn of an emitter is at once, the next one after 10 s: it says hello and waits.
    with running_peer() as peer, script(peer, "first", 10_000) as running:
        peer.wait_for(Hello, 1, 20)
        _, errors = running.communicate("go\n", timeout=50)
        assert (running.returncode, errors) == (0, "")
        assert counted(peer) == [8, 8, 24]


def counted(peer: Peer) -> list[int]:
    """Return how many records each process has sent, each of them once and without a gap."""
    found = Counter[bytes]()
    for process, ranges in peer.ranges().items():
        for first, count in ranges:
            assert first == found[process]
            found[process] += count
    return sorted(found.values())
