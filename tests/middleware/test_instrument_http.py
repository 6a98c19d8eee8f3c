"""httpx and requests are measured, against a real server on this machine."""

import asyncio
import inspect
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import requests

from support.apps.deltas import Look, in_request, instrumented
from trimtab.instrumentation import calls, instrument

CALLS = "http.client.request.duration"
WHAT = ("http.request.method", "server.address", "http.response.status_code", "error.type")


class Handler(BaseHTTPRequestHandler):
    """Answers /status/NUMBER with it; /hops/N redirects N times; /held waits for `release`."""

    protocol_version = "HTTP/1.1"
    release = threading.Event()
    asked: list[str]

    def do_GET(self) -> None:
        kind, number = self.path.partition("?")[0].split("/")[1:3]
        body, location = b'{"a": 1}', ""
        status = 200
        if kind == "status":
            status = int(number)
        elif kind == "hops" and int(number):
            status, location = 302, f"/hops/{int(number) - 1}"
        elif kind == "held":
            self.release.wait(10)
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "slowly":
            # The headers are out; the body comes when somebody says so.
            self.wfile.flush()
            self.release.wait(10)
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    do_POST = do_PURGE = do_GET  # noqa: N815 - names that http.server looks for

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            Handler.release.set()
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def held() -> Iterator[None]:
    Handler.release.clear()
    yield
    Handler.release.set()


@pytest.fixture
def look() -> Iterator[Look]:
    with instrumented("httpx", "requests") as look:
        yield look


def by_httpx(method: str, url: str, **kwargs: Any) -> Any:
    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        return client.request(method, url, **kwargs)


def by_httpx_async(method: str, url: str, **kwargs: Any) -> Any:
    context: list[Any] = []

    async def use() -> None:
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
            context.append(await client.request(method, url, **kwargs))

    asyncio.run(use())
    return context[0]


def by_requests(method: str, url: str, **kwargs: Any) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, **kwargs)


by_any = pytest.mark.parametrize(
    "call", [by_httpx, by_httpx_async, by_requests], ids=["httpx", "httpx-async", "requests"]
)
Call = Callable[..., Any]


def measured(look: Look) -> list[tuple[int, tuple[str, ...]]]:
    return look(CALLS, *WHAT)


@by_any
def test_a_call_is_measured_and_booked_in_the_request(call: Call, server: str, look: Look) -> None:
    with in_request() as context:
        response = call("GET", f"{server}/status/200")
        assert response.json() == {"a": 1}
    assert measured(look) == [(1, ("GET", "127.0.0.1", "200", ""))]
    assert context.touched
    assert context.external_calls == 1
    assert context.spans is not None
    [(what, start_ns, ns, text)] = context.spans
    assert (what, text) == ("external", "GET 127.0.0.1")
    assert ns == context.external_ns > 0
    assert start_ns > 0


@by_any
def test_statuses_of_errors_are_types_of_errors(call: Call, server: str, look: Look) -> None:
    for status in (204, 404, 503):
        assert call("POST", f"{server}/status/{status}").status_code == status
    assert measured(look) == [
        (1, ("POST", "127.0.0.1", "204", "")),
        (1, ("POST", "127.0.0.1", "404", "404")),
        (1, ("POST", "127.0.0.1", "503", "503")),
    ]


@by_any
def test_redirects_are_part_of_the_call(call: Call, server: str, look: Look) -> None:
    with in_request() as context:
        response = call("GET", f"{server}/hops/3")
    assert len(response.history) == 3
    assert measured(look) == [(1, ("GET", "127.0.0.1", "200", ""))]
    assert context.external_calls == 1


@by_any
def test_calls_that_get_no_answer_are_booked_by_their_exception(call: Call, look: Look) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            in_request() as context,
            pytest.raises((httpx.ConnectError, requests.ConnectionError)) as caught,
        ):
            call("GET", f"http://127.0.0.1:{nobody.getsockname()[1]}/")
    assert measured(look) == [(1, ("GET", "127.0.0.1", "", type(caught.value).__name__))]
    assert context.external_calls == 1


@by_any
def test_unknown_methods_are_one(call: Call, server: str, look: Look) -> None:
    assert call("PURGE", f"{server}/status/200").status_code == 200
    assert measured(look) == [(1, ("_OTHER", "127.0.0.1", "200", ""))]


@by_any
def test_nothing_that_may_be_secret_is_kept(call: Call, server: str, look: Look) -> None:
    url = server.replace("http://", "http://user-word:pass-word@")
    with in_request() as context:
        call(
            "POST",
            f"{url}/status/200/path-word?query-word=query-word#fragment-word",
            headers={"X-Word": "header-word", "Cookie": "cookie-word"},
            data={"body-word": "body-word"},
        )
    kept = look.texts() + repr(context.spans)
    assert "-word" not in kept
    assert measured(look) == [(1, ("POST", "127.0.0.1", "200", ""))]


@pytest.mark.parametrize("call", [by_httpx, by_requests], ids=["httpx", "requests"])
def test_arguments_that_the_library_refuses_are_refused_as_before(
    call: Call, server: str, look: Look
) -> None:
    with pytest.raises((httpx.UnsupportedProtocol, requests.exceptions.InvalidURL)):
        call("GET", "http://")
    session = httpx.Client(trust_env=False) if call is by_httpx else requests.Session()
    with session, pytest.raises((TypeError, AttributeError)):
        session.send()  # type: ignore[call-arg]


def test_a_streamed_body_is_not_part_of_the_call(server: str, look: Look) -> None:
    url = f"{server}/slowly/1"
    with httpx.Client(trust_env=False) as client, client.stream("GET", url) as found:
        assert measured(look) == [(1, ("GET", "127.0.0.1", "200", ""))]
        Handler.release.set()
        assert json.loads(found.read()) == {"a": 1}
    Handler.release.clear()
    with requests.get(url, stream=True, timeout=10) as response:
        assert measured(look) == [(2, ("GET", "127.0.0.1", "200", ""))]
        Handler.release.set()
        assert response.json() == {"a": 1}
    assert measured(look) == [(2, ("GET", "127.0.0.1", "200", ""))]


@pytest.mark.asyncio
async def test_a_cancelled_call_is_cancelled_and_booked(server: str, look: Look) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with in_request() as context:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get(f"{server}/held/1"), 0.05)
            assert context.external_calls == 1
        Handler.release.set()
        assert (await client.get(f"{server}/status/200")).status_code == 200
    assert measured(look) == [
        (1, ("GET", "127.0.0.1", "", "CancelledError")),
        (1, ("GET", "127.0.0.1", "200", "")),
    ]


def test_redirects_that_the_app_follows_are_calls_of_their_own(server: str, look: Look) -> None:
    with requests.Session() as session:
        session.trust_env = False
        response = session.get(f"{server}/hops/1", allow_redirects=False)
        assert response.next is not None
        session.send(response.next)
    assert measured(look) == [
        (1, ("GET", "127.0.0.1", "200", "")),
        (1, ("GET", "127.0.0.1", "302", "")),
    ]


@by_any
def test_a_host_is_told_by_its_port_also_by_the_one_of_the_scheme(
    call: Call, server: str, look: Look
) -> None:
    call("GET", f"{server}/status/200")
    with pytest.raises((httpx.ConnectError, requests.ConnectionError)):
        call("GET", "http://127.0.0.2/")
    with pytest.raises((httpx.ConnectError, requests.ConnectionError)):
        call("GET", "https://127.0.0.2/")
    ports = {place for _, place in look(CALLS, "server.address", "server.port")}
    assert ports == {
        ("127.0.0.1", server.rpartition(":")[2]),
        ("127.0.0.2", "80"),
        ("127.0.0.2", "443"),
    }


@pytest.mark.asyncio
async def test_hosts_beyond_the_cap_are_one(look: Look) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport) as client:
        for number in range(calls.MAX_HOSTS + 50):
            await client.get(f"http://host-{number}/")
    found = {host: count for count, host in look(CALLS, "server.address", "server.port")}
    assert found["host-0", "80"] == 1
    assert found["other", "other"] >= 50
    assert len(found) <= calls.MAX_HOSTS + 1


def test_instrumenting_twice_measures_once_and_undoing_restores_the_originals(server: str) -> None:
    owners: list[Any] = [httpx.Client, httpx.AsyncClient, requests.Session]
    originals = [vars(owner)["send"] for owner in owners]
    with instrumented("httpx", "requests") as look:
        instrument()
        instrument("requests", "httpx")
        for owner, original in zip(owners, originals, strict=True):
            patched = vars(owner)["send"]
            assert patched is not original
            assert inspect.iscoroutinefunction(patched) is inspect.iscoroutinefunction(original)
            assert inspect.signature(patched) == inspect.signature(original)
        by_httpx("GET", f"{server}/status/200")
        by_requests("GET", f"{server}/status/200")
        assert measured(look) == [(2, ("GET", "127.0.0.1", "200", ""))]
    assert [vars(owner)["send"] for owner in owners] == originals
    by_httpx("GET", f"{server}/status/200")
    assert measured(look) == [(2, ("GET", "127.0.0.1", "200", ""))]


def test_libraries_that_are_imported_later_are_measured_too() -> None:
    program = """
import sys
from trimtab.instrumentation import instrument
instrument()
assert not {"httpx", "requests", "redis", "celery", "rq"} & set(sys.modules)
import httpx, requests, redis, redis.asyncio, rq.queue, rq.worker, celery.signals
for patched in (
    httpx.Client.send, httpx.AsyncClient.send, requests.Session.send,
    redis.Redis.execute_command, redis.asyncio.Redis.execute_command,
    rq.queue.Queue._enqueue_job, rq.worker.Worker.perform_job,
):
    assert hasattr(patched, "__wrapped__"), patched
assert len(celery.signals.task_prerun.receivers) == 1
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
