"""Route templates of Litestar: routers, controllers, mounted apps, static files."""

from pathlib import Path
from typing import Any

import pytest
from litestar import Controller, Litestar, Request, Router, asgi, delete, get
from litestar.static_files import create_static_files_router
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from support.processes.drive import Measured, call
from trimtab.templates import copies


@get("/")
async def home() -> str:
    return "home"


@get(["/one/{item:int}", "/other/{item:str}"])
async def item(request: Request[Any, Any, Any]) -> str:
    return "item"


@delete("/one/{item:int}", status_code=200)
async def remove(request: Request[Any, Any, Any]) -> str:
    return "gone"


@get("/files/{name:path}")
async def file(request: Request[Any, Any, Any]) -> str:
    return "file"


@get("/boom/{item:str}")
async def boom(request: Request[Any, Any, Any]) -> str:
    raise RuntimeError("boom")


class Orders(Controller):
    path = "/orders"

    @get("/{order:uuid}")
    async def order(self, request: Request[Any, Any, Any]) -> str:
        return "order"


async def inner(request: StarletteRequest) -> PlainTextResponse:
    return PlainTextResponse("inner")


below = Starlette(routes=[Route("/leaf/{x}/", inner)])


@asgi(["/mounted", "/too/mounted"], is_mount=True, copy_scope=False)
async def mounted(scope: Any, receive: Any, send: Any) -> None:
    await below(scope, receive, send)


@asgi("/raw", is_mount=True, copy_scope=False)
async def raw(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("raw")(scope, receive, send)


@asgi("/copied", is_mount=True, copy_scope=True)
async def copied(scope: Any, receive: Any, send: Any) -> None:
    await below(scope, receive, send)


def application(folder: Path) -> Litestar:
    (folder / "a.css").write_text("a {}")
    static = create_static_files_router("/static", directories=[folder])
    nested = Router("/shops/{shop:str}", route_handlers=[Orders, item])
    return Litestar(
        [home, item, remove, file, boom, Router("/v1", route_handlers=[nested, raw]), mounted, raw,
         copied, static],
        openapi_config=None,
    )  # fmt: skip


UUID = "12345678-1234-5678-1234-567812345678"
CASES = [
    ("GET", "/", 200, "/"),
    ("GET", "/one/7", 200, "/one/{item}"),
    ("GET", "/one/7/", 200, "/one/{item}"),
    ("DELETE", "/one/7", 200, "/one/{item}"),
    ("PATCH", "/one/7", 405, "/one/{item}"),
    ("POST", "/", 405, "/"),
    ("GET", "/one/x", 404, "unmatched"),
    ("GET", "/other/x", 200, "/other/{item}"),
    ("GET", "/files/a/b/c", 200, "/files/{name}"),
    ("GET", "/boom/1", 500, "/boom/{item}"),
    ("GET", f"/v1/shops/kim/orders/{UUID}", 200, "/v1/shops/{shop}/orders/{order}"),
    ("GET", "/v1/shops/kim/one/3", 200, "/v1/shops/{shop}/one/{item}"),
    ("GET", "/static/a.css", 200, "/static/{file_path}"),
    ("GET", "/static/no/such", 404, "/static/{file_path}"),
    ("GET", "/mounted/leaf/1", 200, "/mounted/leaf/{x}/"),
    ("GET", "/too/mounted/leaf/2", 200, "/too/mounted/leaf/{x}/"),
    ("GET", "/mounted/nothing", 404, "/mounted/{path}"),
    ("GET", "/raw/any/thing", 200, "/raw/{path}"),
    ("GET", "/v1/raw/any/thing", 200, "/v1/raw/{path}"),
    ("GET", "/nothing/at/all", 404, "unmatched"),
]


@pytest.mark.parametrize("root_path", ["", "/proxy"])
def test_each_request_has_its_full_template(measured: Measured, tmp: Path, root_path: str) -> None:
    app = measured.asgi(application(tmp))
    cases = [*CASES, *reversed(CASES)]
    answers = [call(app, path, method, root_path=root_path) for method, path, _, _ in cases]
    assert [answer.status for answer in answers] == [status for _, _, status, _ in cases]
    got = [(seen.record.status, seen.template) for seen in measured.records(len(cases))]
    assert got == [(status, template) for _, _, status, template in cases]


def test_a_mounted_app_that_gets_a_copy_of_the_scope_has_its_template_after_the_first(
    measured: Measured, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies._unwatch()
    monkeypatch.setattr(copies, "_watch", copies._Watch())
    app = measured.asgi(application(tmp))
    for path in ("/copied/leaf/1", "/copied/leaf/2", "/copied/leaf/3", "/mounted/leaf/1"):
        assert call(app, path).status == 200
    copies._unwatch()
    assert [seen.template for seen in measured.records(4)] == [
        "/copied/{path}", "/copied/leaf/{x}/", "/copied/leaf/{x}/", "/mounted/leaf/{x}/",
    ]  # fmt: skip
