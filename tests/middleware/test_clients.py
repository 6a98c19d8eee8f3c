"""Test clients of every framework work on a wrapped app, whose attributes are the app's own."""

import asyncio
import json
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import falcon
import falcon.asgi
import falcon.testing
import flask
import httpx
import litestar
import litestar.testing
import pytest
import quart
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from support.processes.drive import Measured
from trimtab import Middleware, current_context

with warnings.catch_warnings():
    # Starlette would rather have a client that is not its httpx; the wrapper has no part in it.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

FEATURES = pytest.mark.parametrize(
    "features",
    [{}, {"server_timing": True, "request_id": True, "context": True}, {"enabled": False}],
    ids=["plain", "all", "off"],
)


def statuses(measured: Measured, n: int) -> list[tuple[str, int]]:
    return [(seen.template, seen.record.status) for seen in measured.records(n)]


# ---------------------------------------------------------------- Starlette, FastAPI

done: list[str] = []


async def hello(request: Request) -> Response:
    state = {
        "state": getattr(request.state, "pool", None),
        "context": current_context() is not None,
    }
    return JSONResponse(state, background=BackgroundTask(done.append, "background"))


async def boom(request: Request) -> Response:
    raise ValueError("boom")


async def echo(socket: WebSocket) -> None:
    await socket.accept(subprotocol="chat", headers=[(b"x-own", b"1")])
    try:
        while True:
            await socket.send_text((await socket.receive_text()) + "!")
    except WebSocketDisconnect as left:
        done.append(f"left {left.code}")


async def denied(socket: WebSocket) -> None:
    await socket.send_denial_response(PlainTextResponse("no", 401))


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
    done.append("up")
    yield {"pool": "opened"}
    done.append("down")


class Passing(BaseHTTPMiddleware):
    """Runs the app in a task of its own."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-passed"] = "1"
        return response


def starlette_app() -> Starlette:
    routes = [
        Route("/hello", hello),
        Route("/boom", boom),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/denied", denied),
        Mount("/in", routes=[Route("/{x}", hello)]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.add_middleware(Passing)
    return app


@FEATURES
def test_starlettes_client_does_all_it_can(measured: Measured, features: dict[str, Any]) -> None:
    done.clear()
    app = measured.asgi(starlette_app(), **features)
    with TestClient(app) as client:
        answer = client.get("/hello")
        assert answer.json() == {"state": "opened", "context": "context" in features}
        assert answer.headers["x-passed"] == "1"
        assert ("server-timing" in answer.headers) is ("server_timing" in features)
        assert client.get("/in/7").status_code == 200
        with client.websocket_connect("/echo", subprotocols=["chat"]) as socket:
            assert socket.accepted_subprotocol == "chat"
            socket.send_text("a")
            assert socket.receive_text() == "a!"
        with pytest.raises(Exception) as refused, client.websocket_connect("/denied"):
            pass
        assert getattr(refused.value, "status_code", None) == 401
        with pytest.raises(ValueError, match="boom"):
            client.get("/boom")
    assert done == ["up", "background", "background", "left 1000", "down"]
    quiet = TestClient(app, raise_server_exceptions=False)
    assert quiet.get("/boom").status_code == 500
    if "enabled" not in features:
        seen = [each for each in measured.peer.wait_records(6) if not each.background]
        booked = sorted((each.template, each.record.status) for each in seen)
        for one in (("/hello", 200), ("/in/{x}", 200), ("/boom", 500), ("/echo", 101)):
            assert one in booked


def test_fastapis_overrides_and_state_are_the_apps(measured: Measured) -> None:
    app = FastAPI()

    def database() -> str:
        return "real"

    @app.get("/db")
    def read(request: Request, found: str = Depends(database)) -> dict[str, str]:
        return {"db": found, "state": request.app.state.name}

    wrapped: Any = measured.asgi(app)
    wrapped.include_router(FastAPI().router)
    wrapped.add_middleware(Passing)
    wrapped.state.name = "set through the wrapper"
    client = TestClient(wrapped)
    wrapped.dependency_overrides[database] = lambda: "fake"
    assert client.get("/db").json() == {"db": "fake", "state": "set through the wrapper"}
    # As suites clean up: the app's own, not a new attribute of the wrapper.
    wrapped.dependency_overrides = {}
    assert app.dependency_overrides == {}
    assert client.get("/db").json()["db"] == "real"
    with mock.patch.object(wrapped, "title", "patched"):
        assert app.title == "patched"
    assert app.title == "FastAPI"
    wrapped.own = 1
    assert app.own == 1  # type: ignore[attr-defined]
    del wrapped.own
    assert not hasattr(app, "own")
    assert wrapped.openapi() == app.openapi()
    assert [seen.template for seen in measured.records(2)] == ["/db", "/db"]


def test_add_middleware_takes_the_wrapper_for_one_of_its_own(measured: Measured) -> None:
    app = starlette_app()
    app.add_middleware(Middleware, **measured.settings())
    assert TestClient(app).get("/hello").status_code == 200
    app.mount("/below", Middleware(starlette_app(), **measured.settings()))
    assert TestClient(app).get("/below/hello").status_code == 200
    assert statuses(measured, 2) == [("/hello", 200), ("/below/hello", 200)]


@pytest.mark.asyncio
@FEATURES
async def test_httpx_calls_a_wrapped_app_of_either_kind(
    measured: Measured, features: dict[str, Any]
) -> None:
    async def ask(app: Any) -> tuple[int, str]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.get("/boom")
            return answer.status_code, (await client.get("/hello")).text

    bare = starlette_app()
    assert (await ask(bare))[0] == (await ask(measured.asgi(bare, **features)))[0] == 500

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("201 Created", [("X-Path", environ["PATH_INFO"])])
        return [b"ok"]

    transport = httpx.WSGITransport(measured.wsgi(wsgi, **features))
    with httpx.Client(transport=transport, base_url="http://x") as client:
        answer = client.post("/p", content=b"x")
    assert (answer.status_code, answer.text, answer.headers["x-path"]) == (201, "ok", "/p")


@pytest.mark.asyncio
async def test_a_lifespan_can_be_driven_by_hand(measured: Measured) -> None:
    async def drive() -> list[str]:
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        task = asyncio.create_task(measured.asgi(starlette_app())(scope, inbox.get, outbox.put))
        got = []
        for event in ("startup", "shutdown"):
            await inbox.put({"type": f"lifespan.{event}"})
            got.append((await asyncio.wait_for(outbox.get(), 5))["type"])
        await task
        assert scope["state"] == {"pool": "opened"}
        return got

    assert await drive() == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# ---------------------------------------------------------------- other frameworks


@FEATURES
def test_flasks_client_works(measured: Measured, features: dict[str, Any]) -> None:
    app = flask.Flask("tested")
    app.add_url_rule("/hello/<name>", view_func=lambda name: f"hello {name}", endpoint="hello")
    app.add_url_rule("/boom", view_func=lambda: str(1 / 0), endpoint="boom")
    app.wsgi_app = measured.wsgi(app.wsgi_app, **features)  # type: ignore[method-assign]
    client = app.test_client()
    with client:
        assert client.get("/hello/you").text == "hello you"
        assert flask.request.path == "/hello/you"
    # It leaves a body that nobody reads open.
    assert client.get("/boom", buffered=True).status_code == 500
    app.testing = True
    with pytest.raises(ZeroDivisionError):
        client.get("/boom")
    if "enabled" not in features:
        # While testing nothing answers what has failed, and only an answer tells its rule.
        expected = [("/hello/<name>", 200), ("/boom", 500), ("unmatched", 500)]
        assert statuses(measured, 3) == expected


@pytest.mark.asyncio
@FEATURES
async def test_quarts_client_works(measured: Measured, features: dict[str, Any]) -> None:
    app = quart.Quart("tested")

    @app.route("/hello")
    async def hello() -> str:
        return "hello"

    @app.websocket("/echo")
    async def echo() -> None:
        await quart.websocket.send(await quart.websocket.receive())

    app.asgi_app = measured.asgi(app.asgi_app, **features)  # type: ignore[method-assign, assignment]

    async def ask() -> str:
        async with app.test_app() as running:
            client = running.test_client()
            async with client.websocket("/echo") as socket:
                await socket.send("a")
                assert await socket.receive() == "a"
            answer = await client.get("/hello")
        return str(await answer.get_data(as_text=True))

    assert await ask() == "hello"


@FEATURES
def test_litestars_client_works(measured: Measured, features: dict[str, Any]) -> None:
    @litestar.get("/hello", sync_to_thread=False)
    def hello() -> str:
        return "hello"

    app: Any = measured.asgi(litestar.Litestar([hello]), **features)
    with litestar.testing.TestClient(app) as client:
        assert client.get("/hello").text == "hello"
        assert client.get("/none").status_code == 404


@pytest.mark.asyncio
@FEATURES
async def test_falcons_clients_work(measured: Measured, features: dict[str, Any]) -> None:
    class Sync:
        def on_get(self, request: Any, response: Any) -> None:
            response.text = "sync"

    class Async:
        async def on_get(self, request: Any, response: Any) -> None:
            response.text = "async"

    old, new = falcon.App(), falcon.asgi.App()
    old.add_route("/hello", Sync())
    new.add_route("/hello", Async())
    wrapped_old: Any = measured.wsgi(old, **features)
    wrapped_new: Any = measured.asgi(new, **features)
    assert falcon.testing.TestClient(wrapped_old).simulate_get("/hello").text == "sync"
    assert await _conduct(wrapped_new) == "async"


async def _conduct(app: Any) -> str:
    async with falcon.testing.ASGIConductor(app) as conductor:
        answer = await conductor.simulate_get("/hello")
    return str(answer.text)


DJANGO = """
import asyncio, json, sys
from django.conf import settings
settings.configure(DEBUG=False, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
import django
django.setup()
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, Client
import httpx
from trimtab import Middleware, WSGIMiddleware

def hello(request, name):
    return HttpResponse("hello " + name)

def boom(request):
    raise ValueError("boom")

urlpatterns = [path("hello/<str:name>/", hello), path("boom/", boom)]
settings_ = json.loads(sys.argv[1])
# As asgi.py and wsgi.py have it; making them hooks the handlers.
asgi, wsgi = Middleware(ASGIHandler(), **settings_), WSGIMiddleware(WSGIHandler(), **settings_)
got = []
for client in (Client(), Client(raise_request_exception=False)):
    answer = client.get("/hello/you/")
    got.append((answer.status_code, answer.content.decode(), answer.resolver_match.route))
    try:
        got.append(client.get("/boom/").status_code)
    except ValueError as error:
        got.append(str(error))

async def ask():
    answer = await AsyncClient().get("/hello/you/")
    got.append((answer.status_code, answer.content.decode(), answer.resolver_match.route))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://x") as c:
        got.append((await c.get("/hello/asgi/")).text)

asyncio.run(ask())
with httpx.Client(transport=httpx.WSGITransport(wsgi), base_url="http://x") as c:
    got.append(c.get("/hello/wsgi/").text)
print(json.dumps(got))
"""


def test_djangos_clients_work_beside_wrapped_handlers(measured: Measured) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DJANGO, json.dumps(measured.settings())],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = [200, "hello you", "hello/<str:name>/"]
    assert json.loads(done.stdout) == [page, "boom", page, 500, page, "hello asgi", "hello wsgi"]
    found = {(seen.template, seen.record.status) for seen in measured.peer.wait_records(2)}
    assert found == {("/hello/<str:name>/", 200)}
