"""Under real servers the bytes on the wire are the same with and without the wrapper."""

import re
import socket
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import waitress.server  # type: ignore[import-untyped]

from support.apps import asgi_corpus, corpus_target, wsgi_corpus
from support.processes.commands import TARGETS
from support.processes.drive import served
from support.processes.servers import Proc, accepts, free_port, wait_for
from trimtab.runtime import flush_all


@pytest.fixture(autouse=True, scope="module")
def stopped() -> Iterator[None]:
    """The apps are wrapped when they are imported, and measure for an agent that is not there."""
    yield
    flush_all()


def fetch(port: int, path: str, method: str = "GET") -> bytes:
    """Return all bytes that a server answers with, but for the time."""
    target = urllib.parse.quote(path)
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(head.encode())
        try:
            while part := client.recv(1 << 16):
                got += part
        except ConnectionResetError:
            got += b"<reset>"
    return re.sub(rb"(?i)\r\ndate:[^\r]*", b"", bytes(got))


def check(port: int, names: Any) -> None:
    """Fetch each app as it is and wrapped, and compare."""
    differences = []
    assert fetch(port, "/bare/plain" if "plain" in names else "/bare/a list").startswith(b"HTTP/1")
    for name in names:
        for method in ("GET", "HEAD"):
            bare = fetch(port, f"/bare/{name}", method)
            wrapped = fetch(port, f"/wrapped/{name}", method)
            if wrapped != bare:
                differences.append((name, method, bare[:300], wrapped[:300]))
    assert differences == []


@pytest.mark.parametrize("protocol", ["h11", "httptools"])
def test_uvicorn_sends_the_same_bytes(protocol: str) -> None:
    with served(corpus_target.asgi, http=protocol, log_level="critical", lifespan="off") as place:
        check(int(place.rpartition(":")[2]), asgi_corpus.WIRE)


class Quiet(WSGIRequestHandler):
    """Says nothing: some apps of the corpus fail on purpose."""

    def log_message(self, *args: object) -> None:
        pass

    def get_stderr(self) -> Any:
        return Nowhere()


class Nowhere:
    """Takes what is written."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def writelines(self, lines: list[str]) -> None:
        pass


@contextmanager
def wsgiref_server() -> Iterator[int]:
    """Serve with the standard library's server."""
    with make_server("127.0.0.1", free_port(), corpus_target.wsgi, handler_class=Quiet) as server:
        # Tells its threads nothing of exceptions either.
        server.handle_error = lambda *args: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(10)


@contextmanager
def waitress_server(caplog: pytest.LogCaptureFixture) -> Iterator[int]:
    """Serve with waitress."""
    port = free_port()
    sockets: dict[Any, Any] = {}
    server: Any = waitress.server.create_server(
        corpus_target.wsgi, map=sockets, host="127.0.0.1", port=port, threads=2
    )
    thread = threading.Thread(target=server.run)
    with caplog.at_level("CRITICAL", "waitress"):
        thread.start()
        try:
            yield port
        finally:
            server.trigger.pull_trigger(server.close)
            thread.join(10)
            assert not thread.is_alive()
            server.task_dispatcher.shutdown()


def test_the_standard_librarys_server_sends_the_same_bytes() -> None:
    with wsgiref_server() as port:
        check(port, [name for name in wsgi_corpus.APPS if name not in wsgi_corpus.FATAL])


# It leaves the files of a HEAD to the garbage collector, wrapped or not.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO")
def test_waitress_sends_the_same_bytes(caplog: pytest.LogCaptureFixture) -> None:
    with waitress_server(caplog) as port:
        check(port, [name for name in wsgi_corpus.APPS if name not in wsgi_corpus.FATAL])


def test_gunicorn_sends_the_same_bytes_and_files_by_the_kernel(tmp: Path) -> None:
    port = free_port()
    command = [
        sys.executable, "-m", "gunicorn", "support.apps.corpus_target:wsgi",
        "--bind", f"127.0.0.1:{port}",
        "--chdir", str(TARGETS.parent), "--log-level", "critical",
        "-c", str(TARGETS / "sendfile_conf.py"),
    ]  # fmt: skip
    with Proc("gunicorn", command, tmp, {}).start() as proc:
        wait_for(lambda: accepts(port), "gunicorn to accept connections", 20)
        fetch(port, "/bare/a list")
        check(port, [name for name in wsgi_corpus.APPS if name not in wsgi_corpus.FATAL])
        said = [line for line in proc.output().splitlines() if line.startswith("sendfile")]
    assert "sendfile FileWrapper True" in said
    # Bare and wrapped took turns.
    assert said[0::2] == said[1::2]
