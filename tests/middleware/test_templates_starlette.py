"""Route templates of Starlette: what a person wrote, never what a client asked for."""

import random
import string
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware as Use
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from support.clock import Clock
from support.processes.drive import Measured, call, request
from trimtab import Middleware, current_context


async def ok(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


class Endpoint(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")


ITEMS = [Route("/", ok), Route("/{item_id:int}", ok, methods=["GET", "DELETE"])]
SHARED = Router([Route("/list", ok), Route("/of/{name}", ok)])
DEEPEST = Mount("/deep/{level}", routes=[Route("/x/{y:path}", ok)])


def application(folder: Path) -> Starlette:
    (folder / "a.css").write_text("a {}")
    return Starlette(
        routes=[
            Route("/", ok),
            Route("/class", Endpoint),
            Route("/users/{name}/posts/{n:int}", ok),
            Mount("/items", routes=ITEMS),
            Mount("/one", SHARED),
            Mount("/two", SHARED),
            Mount("/n/{number:int}", routes=[Route("/{m:int}", ok)]),
            Mount("/t/{tenant}", routes=[Route("/", ok), Route("/report", ok), DEEPEST]),
            Mount("/outer", routes=[Mount("/inner", routes=[Route("/{leaf}", ok)])]),
            Mount("/static", StaticFiles(directory=folder)),
            Mount("/app", Starlette(routes=[Route("/home", ok)])),
            Mount("/raw", _raw),
            Host("other.example.org", Router([Mount("/in/{x}", routes=ITEMS)])),
            Host("api.example.org", Router([Route("/hosted", ok), Mount("/in/{y}", SHARED)])),
            Mount("/", Router([Route("/last/{x}", ok)])),
        ]
    )


async def _raw(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("raw")(scope, receive, send)


CASES = [
    ("GET", "/", 200, "/"),
    ("GET", "/class", 200, "/class"),
    ("PUT", "/class", 405, "/class"),
    ("GET", "/users/ann/posts/7", 200, "/users/{name}/posts/{n}"),
    ("GET", "/items/", 200, "/items/"),
    ("GET", "/items/12", 200, "/items/{item_id}"),
    ("DELETE", "/items/12", 200, "/items/{item_id}"),
    ("POST", "/items/12", 405, "/items/{item_id}"),
    ("GET", "/one/list", 200, "/one/list"),
    ("GET", "/two/list", 200, "/two/list"),
    ("GET", "/one/of/x", 200, "/one/of/{name}"),
    ("GET", "/two/of/x", 200, "/two/of/{name}"),
    ("GET", "/t/acme/report", 200, "/t/{tenant}/report"),
    ("GET", "/t/other/report", 200, "/t/{tenant}/report"),
    ("GET", "/t/acme/", 200, "/t/{tenant}/"),
    ("GET", "/t/acme/deep/3/x/a/b/c", 200, "/t/{tenant}/deep/{level}/x/{y}"),
    ("GET", "/n/12/7", 200, "/n/{number}/{m}"),
    ("GET", "/n/12/x", 404, "/n/{number}/{path}"),
    ("GET", "/outer/inner/leafy", 200, "/outer/inner/{leaf}"),
    ("GET", "/static/a.css", 200, "/static/{path}"),
    ("GET", "/static/no/such.css", 404, "/static/{path}"),
    ("GET", "/app/home", 200, "/app/home"),
    ("GET", "/app/nothing", 404, "/app/{path}"),
    ("GET", "/raw/any/thing", 200, "/raw/{path}"),
    ("GET", "/t/acme/nothing", 404, "/t/{tenant}/{path}"),
    ("GET", "/outer/inner/a/b", 404, "/outer/inner/{path}"),
    ("GET", "/last/one", 200, "/last/{x}"),
]


@pytest.mark.parametrize(("method", "path", "status", "template"), CASES)
def test_a_request_has_the_template_of_its_route(
    measured: Measured, tmp: Path, method: str, path: str, status: int, template: str
) -> None:
    answer = call(measured.asgi(application(tmp)), path, method)
    seen = measured.one()
    assert (answer.status, seen.record.status) == (status, status)
    assert (seen.template, seen.method) == (template, method)


def test_templates_are_the_same_in_any_order_and_when_they_are_remembered(
    measured: Measured, tmp: Path
) -> None:
    app = measured.asgi(application(tmp))
    cases = CASES * 4
    random.Random(4).shuffle(cases)
    for method, path, _, _ in cases:
        call(app, path, method)
    got = [
        (seen.method, seen.record.status, seen.template) for seen in measured.records(len(cases))
    ]
    assert got == [(method, status, template) for method, _, status, template in cases]


@pytest.mark.parametrize("path", ["/t/acme/report", "/one/list", "/items/12", "/static/a.css"])
def test_a_root_path_of_the_server_is_no_part_of_the_template(
    measured: Measured, tmp: Path, path: str
) -> None:
    app = measured.asgi(application(tmp))
    call(app, path)
    call(app, path, root_path="/behind/proxy")
    call(app, path)
    bare, behind, again = (seen.template for seen in measured.records(3))
    assert bare == behind == again


def test_a_host_route_keeps_its_template(measured: Measured, tmp: Path) -> None:
    app = measured.asgi(application(tmp))
    for path in ("/hosted", "/in/3/of/me"):
        assert call(app, path, headers=[(b"host", b"api.example.org:80")]).status == 200
    assert [seen.template for seen in measured.records(2)] == ["/hosted", "/in/{y}/of/{name}"]


@pytest.mark.asyncio
async def test_ten_thousand_random_paths_and_methods_are_one_route(measured: Measured) -> None:
    rng = random.Random(5)
    letters = string.ascii_letters + string.digits + "/%.-_~é가"

    async def scan(app: Any) -> None:
        for _ in range(10_000):
            path = "/" + "".join(rng.choices(letters, k=rng.randrange(1, 30)))
            method = "".join(rng.choices(string.ascii_uppercase, k=rng.randrange(1, 12)))
            await request(app, path, method)

    app = measured.asgi(Starlette(routes=[Route("/only/this/{one:int}", ok)]))

    await scan(app)
    records = measured.records(10_000)
    assert {seen.template for seen in records} == {"unmatched"}
    assert {seen.method for seen in records} == {"_OTHER"}
    assert {seen.record.status for seen in records} == {404}


@pytest.mark.parametrize("path", ["/users/ann/posts/7", "/t/acme/report", "/nothing/here"])
@pytest.mark.parametrize("place", ["outside", "inside"])
def test_base_http_middleware_hides_neither_template_nor_context(
    measured: Measured, tmp: Path, path: str, place: str
) -> None:
    async def dispatch(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-seen"] = "1"
        return response

    app: Any = application(tmp)
    if place == "inside":
        app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
        app = measured.asgi(app, context=True)
    else:
        app = BaseHTTPMiddleware(measured.asgi(app, context=True), dispatch=dispatch)
    answer = call(app, path)
    assert answer.header(b"x-seen") == [b"1"]
    seen = measured.one()
    assert seen.record.status == answer.status
    wanted = {case[1]: case[3] for case in CASES}
    assert seen.template == wanted.get(path, "/{path}")


def test_the_context_is_shared_with_an_endpoint_in_another_task_or_thread(
    measured: Measured,
) -> None:
    def in_thread(request: Request) -> PlainTextResponse:
        context = current_context()
        assert context is not None
        context.add_db(3_000_000)
        return PlainTextResponse("ok")

    async def dispatch(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    app = Starlette(
        routes=[Route("/", in_thread)], middleware=[Use(BaseHTTPMiddleware, dispatch=dispatch)]
    )
    assert call(measured.asgi(app, context=True)).status == 200
    assert measured.one().record.db_us == 3000


def test_as_a_middleware_of_the_app_it_measures_too(measured: Measured, tmp: Path) -> None:
    app = application(tmp)
    app.add_middleware(Middleware, **measured.settings())
    call(app, "/users/ann/posts/7")
    call(app, "/nothing")
    assert [seen.template for seen in measured.records(2)] == [
        "/users/{name}/posts/{n}", "/{path}",
    ]  # fmt: skip


def test_as_a_middleware_and_around_the_app_it_measures_once(measured: Measured, tmp: Path) -> None:
    app = application(tmp)
    app.add_middleware(Middleware, **measured.settings())
    call(measured.asgi(app), "/class")
    assert measured.one().template == "/class"


def test_a_measured_app_mounted_in_a_measured_app_is_measured_once(measured: Measured) -> None:
    inner = measured.asgi(Starlette(routes=[Route("/leaf/{x}", ok)]))
    call(measured.asgi(Starlette(routes=[Mount("/in", inner)])), "/in/leaf/1")
    assert measured.one().template == "/in/leaf/{x}"


def test_an_unhandled_exception_is_a_500_of_its_route(measured: Measured) -> None:
    async def boom(request: Request) -> PlainTextResponse:
        raise RuntimeError("boom")

    answer = call(measured.asgi(Starlette(routes=[Route("/boom/{x}", boom)])), "/boom/1")
    assert isinstance(answer.error, RuntimeError)
    seen = measured.one()
    assert (seen.template, seen.record.status) == ("/boom/{x}", 500)


def test_a_client_that_leaves_while_its_body_is_read_is_a_499(measured: Measured) -> None:
    async def upload(request: Request) -> PlainTextResponse:
        await request.body()
        return PlainTextResponse("never")

    part = {"type": "http.request", "body": b"half", "more_body": True}
    app = measured.asgi(Starlette(routes=[Route("/upload", upload, methods=["POST"])]))
    answer = call(app, "/upload", "POST", events=[part])
    assert isinstance(answer.error, ClientDisconnect)
    assert measured.one().record.status == 499


def test_a_client_that_leaves_a_stream_is_a_499(measured: Measured) -> None:
    async def stream(request: Request) -> StreamingResponse:
        async def forever() -> Any:
            import asyncio

            while True:
                yield b"tick"
                await asyncio.sleep(0)

        return StreamingResponse(forever())

    app = measured.asgi(Starlette(routes=[Route("/stream", stream)]))
    assert call(app, "/stream", events=[{"type": "http.disconnect"}]).status == 200
    seen = measured.one()
    assert (seen.template, seen.record.status) == ("/stream", 499)


def test_a_background_task_is_booked_apart(measured: Measured, clock: Clock) -> None:
    async def work() -> None:
        clock.advance_ms(200)

    async def view(request: Request) -> PlainTextResponse:
        clock.advance_ms(1)
        return PlainTextResponse("ok", background=BackgroundTask(work))

    call(measured.asgi(Starlette(routes=[Route("/job/{n}", view)])), "/job/1")
    request_, background = measured.records(2)
    assert (request_.record.duration_us, request_.background) == (1000, False)
    assert (background.record.duration_us, background.background) == (200_000, True)
    assert request_.template == background.template == "/job/{n}"


def test_a_template_that_cannot_be_found_out_costs_no_request(measured: Measured) -> None:
    class Evil:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = Evil()
        await PlainTextResponse("ok")(scope, receive, send)

    assert call(measured.asgi(app)).body == b"ok"
    assert measured.one().template == "unmatched"


def test_litestars_template_is_taken_from_its_scope(measured: Measured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = "/litestar/{id:int}"
        await PlainTextResponse("ok")(scope, receive, send)

    call(measured.asgi(app), "/litestar/5")
    assert measured.one().template == "/litestar/{id:int}"


def test_a_starlette_that_leaves_only_the_endpoint_is_understood(measured: Measured) -> None:
    router = Router([Route("/old/{x}", ok)])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["router"], scope["endpoint"] = router, ok
        await PlainTextResponse("ok")(scope, receive, send)

    call(measured.asgi(app), "/old/5")
    assert measured.one().template == "/old/{x}"
