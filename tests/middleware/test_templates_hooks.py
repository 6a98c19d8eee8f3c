"""Hooks into frameworks and watches on routers: set once, late if need be, and never felt."""

import sqlite3
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import falcon
import pytest
import quart.ctx
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router

from support.processes.drive import Measured, call, call_wsgi
from trimtab.tables import NameTable
from trimtab.templates import copies, hooks, places
from trimtab.templates.patterns import readable

CALL = vars(Router)["__call__"]


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No router is watched, and what the test watches is not for others."""
    copies._unwatch()
    monkeypatch.setattr(copies, "_watch", copies._Watch())
    yield
    copies._unwatch()


async def ok(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def watched() -> bool:
    return hasattr(vars(Router)["__call__"], "trimtab")


def copying(app: Any) -> Any:
    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/own":
            await PlainTextResponse("own")(scope, receive, send)
        else:
            await app({**scope}, receive, send)

    return middleware


# ---------------------------------------------------------------- hooks


def test_hooking_again_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks.hook_frameworks()
    methods = [vars(falcon.App)["_get_responder"], _match_request()]
    assert all(hasattr(method, "trimtab") for method in methods)
    monkeypatch.setattr(hooks, "_modules", 0)
    hooks.hook_frameworks()
    assert [vars(falcon.App)["_get_responder"], _match_request()] == methods


def _match_request() -> Any:
    return vars(quart.ctx._BaseRequestWebsocketContext)["match_request"]


def test_a_hooked_framework_works_without_a_wrapper() -> None:
    hooks.hook_frameworks()
    environ = {"wsgi.input": BytesIO(), "wsgi.errors": sys.stderr}
    app = falcon.App()
    app.add_route("/x/{y}", SimpleNamespace(on_get=lambda req, resp, y: None))
    assert call_wsgi(app, "/x/1", environ=environ).status == "200 OK"
    # An outer app excluded this path: what is there is no list.
    environ["trimtab.seen"] = True
    assert call_wsgi(app, "/x/1", environ=environ).status == "200 OK"


def test_a_framework_that_is_imported_late_is_hooked_by_the_first_request_without_a_route(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    class App:
        _sink_and_static_routes = ()

        def _get_responder(self, request: Any) -> Any:
            return None, {}, None, "/late/{x}"

    module = ModuleType("falcon.app")
    vars(module)["App"] = App
    monkeypatch.delitem(sys.modules, "falcon.app")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if "falcon.app" not in sys.modules:
            monkeypatch.setitem(sys.modules, "falcon.app", module)
        App()._get_responder(SimpleNamespace(scope=scope))
        await PlainTextResponse("ok")(scope, receive, send)

    wrapped = measured.asgi(app)
    for path in ("/late/1", "/late/2", "/late/3"):
        assert call(wrapped, path).status == 200
    assert [seen.template for seen in measured.records(3)] == [
        "unmatched", "/late/{x}", "/late/{x}",
    ]  # fmt: skip


class Hostile:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "result",
    [None, Hostile(), (), (1, 2, 3, Hostile())],
    ids=["none", "hostile", "short", "hostile template"],
)
def test_a_hook_that_fails_costs_no_request(
    measured: Measured, monkeypatch: pytest.MonkeyPatch, result: Any
) -> None:
    class App:
        def _get_responder(self, request: Any) -> Any:
            return result

    module = ModuleType("falcon.app")
    vars(module)["App"] = App
    monkeypatch.setitem(sys.modules, "falcon.app", module)
    monkeypatch.setitem(sys.modules, "quart.ctx", Hostile())
    monkeypatch.setattr(hooks, "_modules", 0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert App()._get_responder(SimpleNamespace(scope=scope)) is result
        await PlainTextResponse("ok")(scope, receive, send)

    wrapped = measured.asgi(app)
    assert hasattr(App._get_responder, "trimtab")
    assert call(wrapped).body == b"ok"
    assert measured.one().template == "unmatched"


def test_the_exception_of_a_hooked_method_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class App:
        def _get_responder(self, request: Any) -> Any:
            raise LookupError(request)

    module = ModuleType("falcon.app")
    vars(module)["App"] = App
    monkeypatch.setitem(sys.modules, "falcon.app", module)
    monkeypatch.setattr(hooks, "_modules", 0)
    hooks.hook_frameworks()
    with pytest.raises(LookupError, match="seven"):
        App()._get_responder("seven")


@pytest.mark.parametrize("key", ["path_template", "litestar_app", "fastapi", "router", "endpoint"])
def test_a_scope_that_a_framework_fills_with_anything_costs_no_request(
    measured: Measured, key: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope[key] = {"effective_route_context": Hostile()} if key == "fastapi" else Hostile()
        await PlainTextResponse("ok")(scope, receive, send)

    assert call(measured.asgi(app)).body == b"ok"
    assert measured.one().template == "unmatched"


# ---------------------------------------------------------------- copies


def test_without_a_suspicion_no_router_is_watched(measured: Measured) -> None:
    app = measured.asgi(Starlette(routes=[Route("/x/{y}", ok), Mount("/m", Router([]))]))
    for path in ("/x/1", "/nothing", "/x/2", "/x/2/"):
        call(app, path)
    assert vars(Router)["__call__"] is CALL
    measured.records(4)


def test_the_second_request_on_a_copied_scope_has_its_template(measured: Measured) -> None:
    app = measured.asgi(copying(Starlette(routes=[Route("/x/{y}", ok)])))
    for path in ("/x/1", "/x/2", "/nothing", "/own", "/x/3"):
        call(app, path)
    assert watched()
    assert [seen.template for seen in measured.records(5)] == [
        "unmatched", "/x/{y}", "unmatched", "unmatched", "/x/{y}",
    ]  # fmt: skip


def test_once_proven_the_routers_are_watched_for_good(measured: Measured) -> None:
    count = 2 * copies._LOOKS
    app = measured.asgi(copying(Starlette(routes=[Route("/x/{y}", ok)])))
    for n in range(count):
        call(app, f"/x/{n}")
    templates = [seen.template for seen in measured.records(count)]
    assert templates == ["unmatched"] + ["/x/{y}"] * (count - 1)


def test_once_proven_flask_is_watched_for_good(measured: Measured) -> None:
    count = 2 * copies._LOOKS
    flask = Flask("tested")
    flask.add_url_rule("/x/<y>", view_func=lambda y: y)
    app = measured.wsgi(lambda environ, start: flask({**environ}, start))
    for n in range(count):
        call_wsgi(app, f"/x/{n}")
    templates = [seen.template for seen in measured.records(count)]
    assert templates == ["unmatched"] + ["/x/<y>"] * (count - 1)


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_a_copy_between_a_mount_and_its_app_hides_nothing_either(
    measured: Measured, kind: Any
) -> None:
    inner = Router([Route("/x/{y}", ok)])
    outer = kind(routes=[Mount("/in/{z}", copying(inner)), Route("/a", ok)])
    app = measured.asgi(outer)
    for path in ("/in/1/x/2", "/in/1/x/2", "/in/1/own", "/in/3/x/4", "/a"):
        call(app, path)
    assert [seen.template for seen in measured.records(5)] == [
        "/in/{z}/{path}", "/in/{z}/x/{y}", "/in/{z}/{path}", "/in/{z}/x/{y}", "/a",
    ]  # fmt: skip


def test_a_watch_that_proves_nothing_ends_and_the_next_one_waits_longer(
    measured: Measured,
) -> None:
    own = Starlette(routes=[Route("/x", ok)])

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        # Answers some paths itself, before any router: that looks like a copy.
        if scope["path"] == "/own":
            await PlainTextResponse("own")(scope, receive, send)
        else:
            await own(scope, receive, send)

    app = measured.asgi(outer)
    waits = []
    asked = 0
    for _ in range(4):
        wait = 0
        while not watched():
            call(app, "/own")
            wait += 1
        waits.append(wait)
        for _ in range(copies._LOOKS):
            assert watched()
            call(app, "/x")
        assert vars(Router)["__call__"] is CALL
        asked += wait + copies._LOOKS
    assert waits == [1, 2, 3, 5]
    templates = [seen.template for seen in measured.records(asked)]
    assert templates.count("/x") == 4 * copies._LOOKS


def test_a_scope_is_left_in_no_cycle_once_copies_are_proven(measured: Measured) -> None:
    app = measured.asgi(copying(Starlette(routes=[Route("/x/{y}", ok)])))
    answers = [call(app, f"/x/{n}") for n in range(3)]
    cells = [answer.scope["trimtab"] for answer in answers]
    assert cells[0] == []
    assert [[type(left) for left in cell] for cell in cells[1:]] == [[int], [int]]
    measured.records(3)


def test_flask_on_a_copied_environ_has_its_rule_from_the_second_request_on(
    measured: Measured,
) -> None:
    flask = Flask("tested")
    flask.add_url_rule("/x/<y>", view_func=lambda y: y, methods=["GET"])
    app = measured.wsgi(lambda environ, start: flask({**environ}, start))
    for method, path in [("GET", "/x/1"), ("GET", "/x/2"), ("POST", "/x/3"), ("GET", "/nothing")]:
        call_wsgi(app, path, method)
    assert [seen.template for seen in measured.records(4)] == [
        "unmatched", "/x/<y>", "/x/<y>", "unmatched",
    ]  # fmt: skip


def test_mount_points_that_vary_become_one(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_mounts", NameTable(places._MAX_MOUNTS))
    flask = Flask("tested")
    flask.add_url_rule("/x/<y>", view_func=lambda y: y)

    def tenants(environ: Any, start: Any) -> Any:
        _, tenant, rest = environ["PATH_INFO"].split("/", 2)
        environ.update(SCRIPT_NAME="/" + tenant, PATH_INFO="/" + rest)
        return flask(environ, start)

    app = measured.wsgi(tenants)
    for n in range(1000):
        call_wsgi(app, f"/tenant{n}/x/1")
    templates = {seen.template for seen in measured.records(1000)}
    assert len(templates) == places._MAX_MOUNTS + 1
    assert "/{mount}/x/<y>" in templates


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("pattern", "template"),
    [
        ("/plain", "/plain"),
        (r"^/(?P<db>[^\/\.]+)/(?P<table>[^\/\.]+)(\.(?P<format>\w+))?$", "/{db}/{table}"),
        (r"/-/versions(\.(?P<format>json))?$", "/-/versions"),
        (r"/-/config.json", "/-/config.json"),
        (r"/x\.y/(?:a|b)/\d+/[^]]+", "/x.y/a|b/{}/{}"),
        (r"/(?P<y>(19|20)\d\d)\Z", "/{y}"),
        (r"/(a(b)c)+/.*", "/{}/"),
        (r"/unclosed(", None),
        (r"/unclosed[a", None),
        ("/ends\\", None),
    ],
)
def test_a_pattern_becomes_a_template(pattern: str, template: str | None) -> None:
    found = readable(pattern)
    assert template is None or found == template


def test_datasette_routes_by_patterns_and_has_templates_of_them(
    measured: Measured, tmp: Path
) -> None:
    datasette = pytest.importorskip("datasette.app")
    database = sqlite3.connect(tmp / "shop.db")
    database.executescript(
        "create table items(id integer primary key); insert into items values(1)"
    )
    database.close()
    app = datasette.Datasette(files=[str(tmp / "shop.db")], settings={"num_sql_threads": 0}).app()
    wrapped = measured.asgi(app)
    cases = {
        "/": "/",
        "/shop/items": "/{database}/{table}",
        "/shop/items/1.json": "/{database}/{table}/{pks}",
    }
    for path in cases:
        assert call(wrapped, path, headers=[(b"host", b"h")]).status == 200
    assert [seen.template for seen in measured.records(3)] == list(cases.values())
