"""The probe of HTTP services against real servers that answer, refuse, redirect and dawdle."""

import asyncio
import logging
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.processes.probing import gauges, read, running, until
from support.processes.servers import free_port, wait_for
from trimtab_agent.probes.http import HttpProbe
from trimtab_core.catalog import CATALOG
from trimtab_core.errors import SettingsError

PIECE = 16_384
UP = "trimtab.probe.up"
STATUS = "trimtab.probe.http.status"
DURATION = "trimtab.probe.http.duration"


class Site:
    """What a server answers, and whom it saw."""

    def __init__(self) -> None:
        #: path -> status and Location
        self.answers: dict[str, tuple[int, str]] = {}
        #: path and Authorization of each request
        self.seen: list[tuple[str, str | None]] = []
        #: a request is answered once this is set
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.url = ""
        #: of each body, a multiple of PIECE
        self.length = 0
        #: bytes of bodies that were sent, connections that ended, and those that were cut
        self.sent = 0
        self.ended = 0
        self.cut = 0


@contextmanager
def site() -> Iterator[Site]:
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.seen.append((self.path, self.headers.get("authorization")))
            found.may_answer.wait(20)
            status, location = found.answers.get(self.path, (404, ""))
            self.send_response(status)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", str(found.length))
            self.end_headers()
            try:
                for left in range(found.length // PIECE, 0, -1):
                    # Who takes the body whole is still there when its end is late.
                    if left == 1 and select.select([self.connection], [], [], 0.1)[0]:
                        raise ConnectionResetError
                    found.sent += self.wfile.write(bytes(PIECE))
            except OSError:
                found.cut += 1
            found.ended += 1

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        found.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [200, 204, 301, 404, 499])
def test_a_status_below_500_is_up(status: int) -> None:
    with site() as server:
        server.answers["/healthz"] = (status, "")
        found = read(HttpProbe(f"{server.url}/healthz"))
    assert found.fault == ""
    assert found.gauges[STATUS] == status
    assert 0 < found.gauges[DURATION] < 5
    assert set(found.gauges) <= set(CATALOG)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_a_service_without_tls_is_never_asked_through_a_proxy(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp / ".netrc").write_text("default login someone password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp / ".netrc"))
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with site() as server:
        server.answers["/healthz"] = (200, "")
        # A name that is not known to be this machine, but leads here.
        url = server.url.replace("127.0.0.1", "127.1")
        assert read(HttpProbe(f"{url}/healthz")).fault == ""
        assert server.seen == [("/healthz", None)]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [500, 503])
async def test_a_status_from_500_on_is_down_and_still_has_its_latency(status: int) -> None:
    async def scenario(url: str) -> dict[str, float]:
        async with running(probe_http=(url,)) as probes:
            return await until(lambda: gauges(probes), "a reading")

    with site() as server:
        server.answers["/"] = (status, "")
        found = await scenario(server.url + "/")
    assert (found[UP], found[STATUS]) == (0, status)
    assert found[DURATION] > 0


def test_a_short_body_is_taken_whole_and_a_long_one_is_cut_off() -> None:
    with site() as server:
        server.answers["/"] = (200, "")
        server.length = 3 * PIECE
        assert read(HttpProbe(f"{server.url}/")).gauges[STATUS] == 200
        wait_for(lambda: server.ended == 1, "the end of the connection")
        assert (server.sent, server.cut) == (3 * PIECE, 0)
        server.length = 100_000 * PIECE
        assert read(HttpProbe(f"{server.url}/")).gauges[STATUS] == 200
        wait_for(lambda: server.cut == 1, "the long answer to be cut off")
        assert server.sent < 20_000_000, "what is under way counts too"


def test_redirects_are_followed_to_the_same_server_and_to_no_other() -> None:
    with site() as server, site() as other:
        server.answers = {
            "/a": (302, "/b"),
            "/b": (307, f"{server.url}/c"),
            "/c": (200, ""),
            "/out": (302, f"{other.url}/stolen"),
            "/round": (302, "/round"),
        }
        url = server.url.replace("http://", "http://user:s3cret@")
        assert read(HttpProbe(f"{url}/a")).gauges[STATUS] == 200
        assert [path for path, _ in server.seen] == ["/a", "/b", "/c"]
        assert all(word and word.startswith("Basic ") for _, word in server.seen)
        assert read(HttpProbe(f"{url}/out")).gauges[STATUS] == 302
        assert other.seen == []
        assert read(HttpProbe(f"{url}/round")).gauges[STATUS] == 302
        assert len(server.seen) < 10


@pytest.mark.asyncio
async def test_a_service_that_goes_away_is_down_and_found_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    secret = "t0ken-in-the-path"
    url = f"http://user:s3cret@127.0.0.1:{port}/{secret}?key=k3y-in-query"

    async def scenario() -> str:
        async with running(probe_http=(url,)) as probes:
            await until(lambda: gauges(probes) == {UP: 0}, "it to be missed")
            server = await asyncio.start_server(answer, "127.0.0.1", port)
            async with server:
                await until(lambda: gauges(probes).get(UP) == 1, "it to be found")
            assert probes.gauges()[0].instance == f"http:127.0.0.1:{port}"
            return repr(probes.gauges())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    with caplog.at_level(logging.WARNING):
        shown = await scenario() + caplog.text
    assert "ConnectError" in caplog.text
    for piece in (secret, "s3cret", "k3y"):
        assert piece not in shown


def test_a_service_that_dawdles_is_down_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab_agent.probes.http.LIMIT_S", 0.3)
    with site() as server:
        server.may_answer.clear()
        with pytest.raises((TimeoutError, httpx.TimeoutException)):
            read(HttpProbe(f"{server.url}/"))


@pytest.mark.asyncio
async def test_the_end_of_the_agent_does_not_wait_for_a_service_that_dawdles() -> None:
    async def scenario(server: Site) -> None:
        async with running(probe_http=(f"{server.url}/",)):
            await until(lambda: server.seen, "the request")
        assert not server.may_answer.is_set()

    with site() as server:
        server.may_answer.clear()
        await asyncio.wait_for(scenario(server), 3)


@pytest.mark.parametrize(
    "url", ["ftp://u:s3cret@h/", "s3cret", "http://:s3cret@/", "http://u:s3cret@h:99999/"]
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="probe_http: expected http://") as caught:
        HttpProbe(url)
    assert "s3cret" not in str(caught.value)
