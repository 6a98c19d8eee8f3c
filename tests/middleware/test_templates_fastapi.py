"""Route templates of FastAPI: included routers, included again, mounted, behind a root path."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from support.processes.drive import Measured, call


async def ok(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def mixed() -> APIRouter:
    """A router with all that is no path operation."""
    leaves = Router([Route("/leaf/{y}", ok), Mount("/deeper", routes=[Route("/{z}", ok)])])
    router = APIRouter()
    router.add_route("/plain/{x}", ok)
    router.mount("/under/{k}", leaves)
    router.routes.append(Host("leaf.example.org", leaves))
    nested = APIRouter()
    nested.include_router(router, prefix="/in")
    return nested


def application() -> FastAPI:
    users = APIRouter(prefix="/users")

    @users.get("/{user_id}")
    async def user(user_id: int) -> dict[str, int]:
        return {"id": user_id}

    @users.get("")
    async def all_users() -> list[int]:
        return []

    @users.get("/{user_id}/broken")
    async def broken(user_id: int) -> None:
        raise HTTPException(418)

    version = APIRouter()
    version.include_router(users)
    app = FastAPI()

    @app.get("/top/{name}")
    def top(name: str, q: int = Depends(lambda: 1)) -> str:
        return name

    app.include_router(users)
    app.include_router(version, prefix="/v1")
    app.include_router(version, prefix="/{lang}/v2")
    sub = FastAPI()
    sub.include_router(users, prefix="/in")
    app.mount("/sub", sub)
    app.mount("/direct", users)
    app.include_router(mixed(), prefix="/mixed/{area}")
    app.add_route("/plain/{x}", ok)
    app.mount("/files/{kind}", StaticFiles(directory=Path(__file__).parent))
    return app


CASES = [
    ("/top/a", 200, "/top/{name}"),
    ("/users", 200, "/users"),
    ("/users/7", 200, "/users/{user_id}"),
    ("/users/x", 422, "/users/{user_id}"),
    ("/users/7/broken", 418, "/users/{user_id}/broken"),
    ("/v1/users", 200, "/v1/users"),
    ("/v1/users/7", 200, "/v1/users/{user_id}"),
    ("/ko/v2/users/7", 200, "/{lang}/v2/users/{user_id}"),
    ("/en/v2/users/7", 200, "/{lang}/v2/users/{user_id}"),
    ("/sub/in/users/7", 200, "/sub/in/users/{user_id}"),
    ("/sub/in/users/7/broken", 418, "/sub/in/users/{user_id}/broken"),
    ("/direct/users/7", 200, "/direct/users/{user_id}"),
    ("/sub/nothing", 404, "/sub/{path}"),
    ("/openapi.json", 200, "/openapi.json"),
    ("/sub/openapi.json", 200, "/sub/openapi.json"),
    ("/files/tests/no/such", 404, "/files/{kind}/{path}"),
    (f"/files/tests/{Path(__file__).name}", 200, "/files/{kind}/{path}"),
    ("/plain/1", 200, "/plain/{x}"),
    ("/mixed/north/in/plain/1", 200, "/mixed/{area}/in/plain/{x}"),
    ("/mixed/north/in/under/7/leaf/1", 200, "/mixed/{area}/in/under/{k}/leaf/{y}"),
    ("/mixed/north/in/under/7/deeper/1", 200, "/mixed/{area}/in/under/{k}/deeper/{z}"),
    ("/mixed/north/in/under/7/nothing", 404, "/mixed/{area}/in/under/{k}/{path}"),
    ("/nothing", 404, "unmatched"),
]


def test_each_request_has_its_full_template_whatever_came_before(measured: Measured) -> None:
    app = measured.asgi(application())
    cases = [*CASES, *reversed(CASES), *CASES]
    for path, _, _ in cases:
        call(app, path)
    got = [(seen.record.status, seen.template) for seen in measured.records(len(cases))]
    assert got == [(status, template) for _, status, template in cases]


@pytest.mark.parametrize("path", ["/top/a", "/v1/users/7", "/sub/in/users/7", "/ko/v2/users"])
@pytest.mark.parametrize("given_by", ["server", "app"])
def test_a_root_path_is_no_part_of_the_template(
    measured: Measured, path: str, given_by: str
) -> None:
    app: Any = application()
    if given_by == "server":
        answer = call(measured.asgi(app), path, root_path="/proxy")
    else:
        app.root_path = "/proxy"
        answer = call(measured.asgi(app), "/proxy" + path)
    assert answer.status == 200
    bare = {case: template for case, _, template in CASES}
    assert measured.one().template == bare.get(path, "/{lang}/v2/users")


def test_a_method_that_is_not_allowed_keeps_the_template(measured: Measured) -> None:
    call(measured.asgi(application()), "/top/a", "DELETE")
    seen = measured.one()
    assert (seen.record.status, seen.template, seen.method) == (405, "/top/{name}", "DELETE")


def test_a_host_in_an_included_router_keeps_the_whole_template(measured: Measured) -> None:
    app = measured.asgi(application())
    for path in ("/mixed/north/in/leaf/1", "/mixed/north/in/deeper/2"):
        assert call(app, path, headers=[(b"host", b"leaf.example.org:80")]).status == 200
    assert [seen.template for seen in measured.records(2)] == [
        "/mixed/{area}/in/leaf/{y}", "/mixed/{area}/in/deeper/{z}",
    ]  # fmt: skip


def test_a_frontend_is_one_route(measured: Measured, tmp: Path) -> None:
    app = FastAPI()
    if not hasattr(app, "frontend"):
        return  # older FastAPI has no frontends
    (tmp / "index.html").write_text("index")
    app.frontend("/shop", directory=tmp)
    wrapped = measured.asgi(app)
    for path in ("/shop", "/shop/index.html", "/shop/any/thing"):
        call(wrapped, path, headers=[(b"accept", b"text/html")])
    assert {seen.template for seen in measured.records(3)} == {"/shop/{path}"}
