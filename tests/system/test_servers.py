"""The harness itself: what it says when something does not come, and that it leaves nothing."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from support.processes.load import Load, drive
from support.processes.servers import Proc, free_port, wait_for

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


def python(code: str, directory: Path) -> Proc:
    return Proc("planted", [sys.executable, "-c", code], directory, {})


def test_free_ports_differ_and_stay_below_the_ephemeral_range() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
    assert all(1024 < port < 32768 for port in ports)


def test_a_wait_that_fails_names_what_did_not_come() -> None:
    with pytest.raises(AssertionError, match=r"waited 0.05 s for the tide, last seen: 0"):
        wait_for(lambda: 0, "the tide", timeout_s=0.05)


def test_a_process_that_ends_early_is_reported_with_its_last_words(tmp: Path) -> None:
    words = r"planted ended with 1(.|\n)*no such harbour"
    with (
        python("import sys; sys.exit('no such harbour')", tmp).start() as proc,
        pytest.raises(AssertionError, match=words),
    ):
        proc.wait_line("ready")


def test_leaving_the_block_ends_the_children_too(tmp: Path) -> None:
    with python(PARENT, tmp).start() as proc:
        child = psutil.Process(int(proc.wait_line("child").split()[1]))
        assert child.pid in proc.children()
        assert proc.rss_bytes() > 1_000_000
        proc.freeze()
        wait_for(lambda: child.status() == psutil.STATUS_STOPPED, "the child to stand still")
        proc.thaw()
    wait_for(
        lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE,
        "the child to end",
    )


def test_a_second_life_does_not_see_the_lines_of_the_first(tmp: Path) -> None:
    with python("print('ready')", tmp).start() as proc:
        proc.wait_line("ready")
        assert proc.wait_exit() == 0
        proc.command = [sys.executable, "-c", "pass"]
        proc.start()
        with pytest.raises(AssertionError, match="ended with 0"):
            proc.wait_line("ready")


class Counting(BaseHTTPRequestHandler):
    """Counts what arrives; `/half` breaks off in the middle of its body."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", "100" if self.path == "/half" else "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = self.path == "/half"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args: object) -> None:
        pass


def test_load_counts_what_the_server_saw_and_tells_broken_answers_apart() -> None:
    class Handler(Counting):
        seen: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", free_port()), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            done = drive([f"{url}/", f"POST {url}/form", f"{url}/missing", f"{url}/half"], 40)
            with Load([f"{url}/endless"]) as load:
                wait_for(lambda: load.sent > 10, "some requests")
        finally:
            server.shutdown()
            thread.join()
    assert (done.sent, done.failed) == (40, 10)
    assert done.statuses == {200: 20, 404: 10}
    assert len(Handler.seen) == 40 + load.sent
    assert load.failed == 0
