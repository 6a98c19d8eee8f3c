"""A strict ASGI server in memory: calls an app once and keeps all that a server can see of it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Played", "play", "playing", "same", "without_added"]


@dataclass
class Played:
    """All that a server can see of a call, and what the app saw of its own."""

    messages: list[Any] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    error: BaseException | None = None
    state: dict[str, Any] = field(default_factory=dict)
    scope: dict[str, Any] = field(default_factory=dict)
    received: int = 0


class Server:
    """Takes messages as a strict server does: what comes after the end or is unknown is refused."""

    def __init__(self, kind: str, events: list[Any]) -> None:
        self.kind = kind
        self.events = iter(events)
        self.played = Played()
        self.done = False
        self.sends: list[object] = []

    async def receive(self) -> Any:
        self.played.received += 1
        return next(self.events)

    async def send(self, message: Any) -> object:
        self.played.ids.append(id(message))
        self.played.messages.append(snapshot(message))
        what = message["type"]
        if self.done and what != "http.response.trailers":
            raise RuntimeError(f"unexpected {what} after the end")
        if what.endswith("no-such"):
            raise RuntimeError(f"unknown {what}")
        if what == "http.response.start":
            int(message["status"])
            for name, value in message.get("headers", ()):
                assert name + value is not None
        elif what == "http.response.body":
            memoryview(message.get("body", b""))
            self.done = not message.get("more_body", False)
        elif what == "websocket.close":
            self.done = True
        self.sends.append(sent := object())
        return sent


def snapshot(message: Any) -> Any:
    """Return a message as comparable values, the identity of its body and types included."""
    try:
        return {
            key: (id(value), type(value)) if key == "body" else _value(value)
            for key, value in message.items()
        }
    except AttributeError:
        return repr(message)


def _value(value: Any) -> Any:
    return [tuple(pair) for pair in value] if _is_headers(value) else value


def _is_headers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(p, (list, tuple)) for p in value)


EVENTS: dict[str, list[Any]] = {
    "http": [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b"},
        {"type": "http.disconnect"},
    ],
    "websocket": [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "hello"},
        {"type": "websocket.receive", "bytes": b"\x00", "text": None},
        {"type": "websocket.disconnect", "code": 1001},
    ],
    "lifespan": [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}],
    "other": [],
}


async def play(app: Any, kind: str = "http", method: str = "GET") -> Played:
    """Call an app once, as a server with a loop of its own does."""
    server = Server(kind, EVENTS[kind])
    state: dict[str, Any] = {}
    scope: dict[str, Any] = {"type": kind, "asgi": {"version": "3.0"}, "state": state}
    if kind in ("http", "websocket"):
        scope |= {
            "http_version": "1.1", "scheme": "http", "path": "/p", "raw_path": b"/p",
            "query_string": b"", "root_path": "", "headers": [(b"host", b"x")],
        }  # fmt: skip
    if kind == "http":
        scope["method"] = method
    try:
        await app(scope, server.receive, server.send)
    except BaseException as error:
        server.played.error = error
    server.played.state = state
    scope.pop("trimtab", None)
    server.played.scope = scope
    return server.played


def playing(app: Any, kind: str = "http", method: str = "GET") -> Played:
    async def alone() -> Played:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("of the server")
        return await play(app, kind, method)

    return asyncio.run(alone())


def same(bare: Played, wrapped: Played, features: dict[str, Any]) -> None:
    """Check that two calls looked the same to the server, but for the headers of features."""
    if features.get("server_timing"):
        own = [message for message in wrapped.messages if isinstance(message, dict)]
        for message in own:
            if message.get("type") == "http.response.start" and _is_headers(message.get("headers")):
                message["headers"] = without_added(message["headers"])
        for message in bare.messages:
            if isinstance(message, dict) and message.get("type") == "http.response.start":
                message.setdefault("headers", [])
    assert wrapped.messages == bare.messages
    assert type(wrapped.error) is type(bare.error)
    assert str(wrapped.error) == str(bare.error)
    assert wrapped.received == bare.received
    assert wrapped.scope.keys() == bare.scope.keys()
    for name, value in bare.state.items():
        if name != "task":
            assert wrapped.state[name] == value


def without_added(headers: Any) -> Any:
    # The app's own Server-Timing stays; ours says `total`.
    return [
        pair
        for pair in headers
        if pair[0] != b"x-request-id"
        and not (pair[0] == b"server-timing" and pair[1].startswith(b"total;"))
    ]
