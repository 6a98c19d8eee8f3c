"""WebSocket connections and event streams: counters and records of their own, and no request."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from support.clock import Clock
from support.processes.drive import Measured, Message, call, call_wsgi, served
from trimtab import Middleware
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings
from trimtab_core.messages import Gauges
from trimtab_core.records import KIND_EVENT_STREAM, KIND_REQUEST, KIND_WEBSOCKET

ACCEPT = {"type": "websocket.accept"}
WEBSOCKET = {"type": "websocket", "method": None}
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
START = {"type": "http.response.start", "status": 200, "headers": EVENTS}
MORE = {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}
LAST = {"type": "http.response.body", "body": b""}


def recorder_of(measured: Measured) -> Any:
    return runtime_for(read_settings(**measured.settings())).recorder


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


async def deny(socket: WebSocket) -> None:
    await socket.close()


async def fail(socket: WebSocket) -> None:
    await socket.accept()
    raise RuntimeError("broken")


ROUTES = [
    Mount("/rooms/{room}", routes=[WebSocketRoute("/echo", echo)]),
    WebSocketRoute("/deny", deny),
    WebSocketRoute("/fail", fail),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("protocol", ["websockets-sansio", "wsproto"])
async def test_a_websocket_over_the_wire_has_a_record_with_its_template_and_counts_its_messages(
    measured: Measured, protocol: str
) -> None:
    app = measured.asgi(Starlette(routes=ROUTES), gauges=True)

    async def talk(place: str) -> None:
        async with connect(f"ws://{place}/rooms/7/echo") as client:
            for text in ("one", "zwölf"):
                await client.send(text)
                assert await client.recv() == text
            gauges = await asyncio.to_thread(open_one)
            assert gauges["trimtab.app.websocket.received"] == 2
            assert gauges["trimtab.app.websockets"] == 1
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{place}/deny")

    def open_one() -> dict[str, float]:
        def found() -> list[dict[str, float]]:
            values = [dict(each.values) for each in measured.peer.messages(Gauges)]
            return [each for each in values if each["trimtab.app.websocket.sent"] == 2]

        return measured.peer.wait(found, "the gauges of the messages")[0]

    with served(app, ws=protocol) as place:
        await talk(place)
        found = measured.peer.wait_records(2)
    assert [(seen.template, seen.method, seen.record.status) for seen in found] == [
        ("/rooms/{room}/echo", "GET", 101),
        ("/deny", "GET", 403),
    ]
    assert {seen.record.kind for seen in found} == {KIND_WEBSOCKET}
    assert found[0].record.bytes == len("onezwölf".encode())
    assert measured.peer.records() == found


@pytest.mark.parametrize(("route", "status"), [("/fail", 500), ("/deny", 403), ("/nowhere", 403)])
def test_the_status_of_a_websocket_says_how_it_ended(
    measured: Measured, route: str, status: int
) -> None:
    app = measured.asgi(Starlette(routes=ROUTES))
    call(app, route, scope=WEBSOCKET, events=[{"type": "websocket.connect"}])
    assert measured.one().record.status == status
    assert recorder_of(measured).websockets == 0


def test_a_client_that_leaves_a_websocket_is_no_failure(measured: Measured) -> None:
    class WebSocketDisconnect(Exception):  # noqa: N818
        """Named as frameworks name it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        raise WebSocketDisconnect

    answer = call(measured.asgi(app), scope=WEBSOCKET)
    assert isinstance(answer.error, WebSocketDisconnect)
    assert measured.one().record.status == 101


def test_messages_of_a_websocket_pass_as_they_are(measured: Measured) -> None:
    received: list[Message] = []
    events: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "bytes": b"x"},
        {"type": "websocket.disconnect", "code": 1001},
    ]
    own: list[Message] = [ACCEPT, {"type": "websocket.send", "text": "x"}]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.extend([await receive() for _ in events])
        for message in own:
            await send(message)

    answer = call(measured.asgi(app), scope=WEBSOCKET, events=events)
    assert all(got is sent for got, sent in zip(received, events, strict=True))
    assert all(got is sent for got, sent in zip(answer.messages, own, strict=True))


def test_wrapping_twice_counts_a_websocket_once(measured: Measured) -> None:
    app = measured.asgi(measured.asgi(Starlette(routes=ROUTES)))
    call(app, "/deny", scope=WEBSOCKET, events=[{"type": "websocket.connect"}])
    assert measured.one().template == "/deny"


def test_an_event_stream_is_counted_while_it_is_open_and_is_no_request(
    measured: Measured, clock: Clock
) -> None:
    open_at: list[tuple[int, int]] = []
    recorder = recorder_of(measured)

    async def events() -> AsyncIterator[bytes]:
        for _ in range(3):
            open_at.append((recorder.event_streams, recorder.in_flight()))
            clock.advance_ms(3_600_000)
            yield b"data: 1\n\n"

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    call(measured.asgi(Starlette(routes=[Route("/events/{topic}", stream)])), "/events/7")
    # It is known as one from its first part on; until then it is in flight.
    assert open_at == [(0, 1), (1, 0), (1, 0)]
    assert (recorder.event_streams, recorder.in_flight()) == (0, 0)
    seen = measured.one()
    assert (seen.template, seen.record.kind) == ("/events/{topic}", KIND_EVENT_STREAM)
    assert (seen.record.status, seen.record.bytes) == (200, 27)


LEAVING = {
    "cancelled": asyncio.CancelledError(),
    "broken pipe": BrokenPipeError(),
    "returned early": None,
}


@pytest.mark.parametrize("parts", [0, 2])
@pytest.mark.parametrize("error", LEAVING.values(), ids=LEAVING)
def test_a_client_that_leaves_an_event_stream_ends_it(
    measured: Measured, error: BaseException | None, parts: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        for _ in range(parts):
            await send(MORE)
        if error is not None:
            raise error

    call(measured.asgi(app))
    record = measured.one().record
    assert (record.kind, record.status, record.flags & 1) == (KIND_EVENT_STREAM, 200, 0)
    assert recorder_of(measured).event_streams == 0


def test_an_event_stream_whose_app_fails_is_a_500(measured: Measured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(MORE)
        raise RuntimeError

    call(measured.asgi(app))
    record = measured.one().record
    assert (record.kind, record.status) == (KIND_EVENT_STREAM, 500)


def test_any_other_stream_is_a_request(measured: Measured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": scope["headers"]})
        await send(MORE)
        await send(LAST)

    wrapped = measured.asgi(app)
    call(wrapped, headers=[(b"content-type", b"text/plain")])
    call(wrapped)
    call(wrapped, headers=[(b"content-type", None)])
    assert [seen.record.kind for seen in measured.records(3)] == [KIND_REQUEST] * 3


def test_headers_that_can_be_read_once_are_the_servers(measured: Measured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": iter(EVENTS)})
        await send(MORE)
        await send(LAST)

    answer = call(measured.asgi(app))
    assert list(answer.messages[0]["headers"]) == EVENTS
    assert measured.one().record.kind == KIND_REQUEST


@pytest.mark.parametrize("take", [None, 1, 0])
def test_an_event_stream_of_a_wsgi_app_is_no_request(measured: Measured, take: int | None) -> None:
    flask = Flask(__name__)

    @flask.route("/events/<int:topic>")
    def events(topic: int) -> Response:
        def parts() -> Iterator[str]:
            yield from ("data: 1\n\n",) * 3

        return Response(parts(), content_type="text/event-stream")

    call_wsgi(measured.wsgi(flask.wsgi_app), "/events/7", take=take)
    seen = measured.one()
    assert (seen.template, seen.record.kind) == ("/events/<int:topic>", KIND_EVENT_STREAM)
    assert seen.record.status == 200
    assert recorder_of(measured).event_streams == 0


def test_a_wsgi_app_that_starts_its_event_stream_late_is_understood(measured: Measured) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield b"data: 1\n\n"

    call_wsgi(measured.wsgi(app), take=1)
    record = measured.one().record
    assert (record.kind, record.status) == (KIND_EVENT_STREAM, 200)
    assert recorder_of(measured).event_streams == 0


def test_excluded_paths_are_not_measured_at_all(measured: Measured) -> None:
    seen: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    # A wrapper inside, without the setting, must not measure them either.
    app = measured.asgi(measured.asgi(inner), exclude=("/healthz", "/static/*"))
    paths = ["/healthz", "/static/a.css", "/healthz/deep", "/stat", "/static"]
    for path in paths:
        call(app, path)
    call(app, "/healthz", root_path="/mounted")
    assert seen == [*paths, "/mounted/healthz"]
    assert len(measured.records(4)) == 4


def test_excluded_paths_of_a_wsgi_app_are_not_measured_either(measured: Measured) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    wrapped = measured.wsgi(measured.wsgi(app), exclude=("/app/healthz",))
    call_wsgi(wrapped, "/healthz", environ={"SCRIPT_NAME": "/app"})
    call_wsgi(wrapped, "/healthz")
    assert len(measured.records(1)) == 1


def test_excluded_paths_come_from_the_environment(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_EXCLUDE", "/healthz, /static/*")
    assert read_settings().exclude == ("/healthz", "/static/*")
    app = Middleware(Starlette(), **measured.settings())
    call(app, "/healthz")
    call(app, "/other")
    assert len(measured.records(1)) == 1
