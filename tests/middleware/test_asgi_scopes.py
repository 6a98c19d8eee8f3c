"""What is no plain request: lifespan, WebSockets, wrapping twice, apps that are not measured."""

import http.client
import logging
import threading
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import trimtab
from support.processes.drive import Measured, Message, call, request, served
from trimtab import Middleware
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"ok"}


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(BODY)


def lifespan(app: Any, *events: str) -> tuple[list[Message], BaseException | None]:
    answer = call(app, scope={"type": "lifespan"}, events=[{"type": event} for event in events])
    return answer.messages, answer.error


async def well_behaved(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def test_lifespan_passes_through_and_makes_no_record(measured: Measured) -> None:
    app = measured.asgi(well_behaved)
    messages, error = lifespan(app, "lifespan.startup", "lifespan.shutdown")
    assert [m["type"] for m in messages] == [
        "lifespan.startup.complete", "lifespan.shutdown.complete",
    ]  # fmt: skip
    assert error is None
    assert measured.peer.records() == []


@pytest.mark.parametrize("event", ["lifespan.startup", "lifespan.shutdown"])
def test_an_exception_in_lifespan_is_not_swallowed(measured: Measured, event: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != event:
            pass
        raise RuntimeError("no database")

    _, error = lifespan(measured.asgi(app), "lifespan.startup", "lifespan.shutdown")
    assert isinstance(error, RuntimeError)


@pytest.mark.asyncio
async def test_records_are_with_the_agent_before_the_server_hears_that_shutdown_is_done(
    measured: Measured,
) -> None:
    # An interval of ten seconds: nothing but the flush can have sent them.
    app = measured.asgi(_both, interval_ms=10_000)
    await _live(app, requests=3)
    assert len(measured.peer.wait_records(3, timeout_s=2)) == 3


async def _both(scope: Any, receive: Any, send: Any) -> None:
    await (well_behaved if scope["type"] == "lifespan" else ok)(scope, receive, send)


async def _live(app: Any, requests: int) -> None:
    start, stop = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
    for _ in range(requests):
        await request(app)
    await request(app, scope={"type": "lifespan"}, events=[start, stop])


def test_a_scope_of_an_unknown_type_passes(measured: Measured) -> None:
    kinds: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kinds.append(scope["type"])

    call(measured.asgi(app), scope={"type": "quic.datagram"})
    assert kinds == ["quic.datagram"]


def test_wrapping_twice_measures_once(measured: Measured) -> None:
    call(measured.asgi(measured.asgi(ok)))
    assert measured.one().record.status == 200


def test_requests_in_flight_are_known_and_end_with_their_exception(measured: Measured) -> None:
    recorder = runtime_for(read_settings(**measured.settings())).recorder
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(recorder.in_flight())
        raise RuntimeError

    call(measured.asgi(app))
    assert (seen, recorder.in_flight()) == ([1], 0)


def test_settings_by_position_are_refused() -> None:
    with pytest.raises(TypeError, match="given by name, got \\('shop',\\)"):
        Middleware(ok, "shop")


def test_off_means_the_app_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_ENABLED", "0")
    before = threading.active_count()
    wrapped = Middleware(ok)
    assert wrapped._call is ok
    answer = call(wrapped)
    assert answer.status == 200
    assert "trimtab" not in answer.scope
    assert threading.active_count() == before


def test_bad_settings_are_a_warning_and_the_default_and_the_request_works(
    measured: Measured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRIMTAB_ROUTES", "many")
    monkeypatch.setenv("TRIMTAB_SERVER_TIMING", "perhaps")
    monkeypatch.setenv("TRIMTAB_SERVCE", "shop")
    with caplog.at_level(logging.WARNING, "trimtab"):
        wrapped = measured.asgi(ok, buffer_kib="x", no_such=1)
    said = [record.getMessage() for record in caplog.records]
    for words in (
        "TRIMTAB_ROUTES: expected a whole number, got 'many'",
        "TRIMTAB_SERVER_TIMING: expected true or false, got 'perhaps'",
        "TRIMTAB_SERVCE is no setting of trimtab; did you mean TRIMTAB_SERVICE?",
        "--buffer-kib: expected a whole number, got 'x'",
        "no_such is not a setting of the middleware",
    ):
        assert sum(words in line for line in said) == 1, (words, said)
    assert call(wrapped).status == 200
    assert measured.one().record.status == 200


def test_an_agents_address_that_is_none_is_a_warning_and_the_request_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "trimtab"):
        wrapped = Middleware(ok, agent="unix:///" + "x" * 200, service="far")
        assert call(wrapped).status == 200
    assert "a socket path has at most 107 bytes" in caplog.text
    assert "requests go on unmeasured" in caplog.text


def test_the_app_behind_the_wrapper_can_be_reached(measured: Measured) -> None:
    inner = Starlette(routes=[Route("/", lambda _: PlainTextResponse("ok"))])
    wrapped = measured.asgi(inner)
    assert wrapped.routes is inner.routes
    assert wrapped.state is inner.state
    with pytest.raises(AttributeError):
        _ = wrapped.nothing_like_it


def test_a_server_takes_the_wrapper_for_an_app_of_today(measured: Measured) -> None:
    # uvicorn takes an object whose __call__ is no coroutine function for ASGI 2.
    with served(measured.asgi(ok)) as place:
        connection = http.client.HTTPConnection(place, timeout=10)
        for path in ("/a", "/b?x=1"):
            connection.request("GET", path)
            assert connection.getresponse().read() == b"ok"
        connection.close()
    assert [seen.record.status for seen in measured.peer.wait_records(2)] == [200, 200]


def test_what_the_face_names_is_there() -> None:
    assert all(hasattr(trimtab, name) for name in trimtab.__all__)
