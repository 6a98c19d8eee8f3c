"""Route templates of Flask and Django: rules, blueprints, includes, mounts, and who has none."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import flask
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from support.processes.drive import Measured, call_wsgi


def application() -> flask.Flask:
    app = flask.Flask("tested")
    shop = flask.Blueprint("shop", "shop", url_prefix="/shop/<lang>")
    nested = flask.Blueprint("nested", "nested", url_prefix="/nested")

    @app.get("/")
    def home() -> str:
        return "home"

    @app.get("/users/<int:user_id>/files/<path:file>")
    def file(user_id: int, file: str) -> str:
        return file

    @app.get("/boom/<x>")
    def boom(x: str) -> str:
        raise RuntimeError(x)

    @app.get("/stream/<int:n>")
    def stream(n: int) -> flask.Response:
        return flask.Response(b"x" for _ in range(n))

    @app.get("/not-mine/<x>")
    def not_mine(x: str) -> str:
        flask.abort(404)

    @shop.post("/order")
    def order(lang: str) -> tuple[str, int]:
        return lang, 201

    @nested.get("/<uuid:key>")
    def key(lang: str, key: object) -> str:
        return str(key)

    shop.register_blueprint(nested)
    app.register_blueprint(shop)
    return app


UUID = "12345678-1234-5678-1234-567812345678"
CASES = [
    ("GET", "/", 200, "/"),
    ("GET", "/users/7/files/a/b/c", 200, "/users/<int:user_id>/files/<path:file>"),
    ("GET", "/users/x/files/a", 404, "unmatched"),
    ("POST", "/shop/ko/order", 201, "/shop/<lang>/order"),
    ("GET", f"/shop/ko/nested/{UUID}", 200, "/shop/<lang>/nested/<uuid:key>"),
    ("GET", "/boom/1", 500, "/boom/<x>"),
    ("GET", "/stream/3", 200, "/stream/<int:n>"),
    ("HEAD", "/stream/3", 200, "/stream/<int:n>"),
    ("GET", "/not-mine/1", 404, "/not-mine/<x>"),
    ("GET", "/nothing", 404, "unmatched"),
    ("DELETE", "/", 405, "/"),
    ("PUT", "/users/7/files/a/b", 405, "/users/<int:user_id>/files/<path:file>"),
    ("PUT", "/nothing", 404, "unmatched"),
]


@pytest.mark.parametrize(("method", "path", "status", "template"), CASES)
def test_a_flask_request_has_the_rule_of_its_view(
    measured: Measured, method: str, path: str, status: int, template: str
) -> None:
    started = call_wsgi(measured.wsgi(application()), path, method)
    assert int(started.status[:3]) == status
    seen = measured.one()
    assert (seen.template, seen.method, seen.record.status) == (template, method, status)


def test_what_a_dispatcher_mounts_stands_before_the_rule(measured: Measured) -> None:
    app = DispatcherMiddleware(application(), {"/admin": application()})
    wrapped = measured.wsgi(app)
    call_wsgi(wrapped, "/admin/shop/ko/order", "POST")
    call_wsgi(wrapped, "/shop/ko/order", "POST")
    # What the server itself has mounted is no part of it.
    call_wsgi(wrapped, "/admin/shop/ko/order", "POST", environ={"SCRIPT_NAME": "/outer"})
    assert [seen.template for seen in measured.records(3)] == [
        "/admin/shop/<lang>/order", "/shop/<lang>/order", "/admin/shop/<lang>/order",
    ]  # fmt: skip


def test_a_thousand_random_paths_are_one_route(measured: Measured) -> None:
    wrapped = measured.wsgi(application())
    for n in range(1000):
        call_wsgi(wrapped, f"/{n * 7919}/x{n}", f"M{n}")
    records = measured.records(1000)
    assert {(seen.template, seen.method) for seen in records} == {("unmatched", "_OTHER")}


#: Django keeps its settings for the life of a process, so it has one of its own.
DJANGO = """
import asyncio, json, sys
import django
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import include, path, re_path

def view(request, *args, **kwargs): return HttpResponse("ok")
async def aview(request, **kwargs): return HttpResponse("ok")
def boom(request): raise RuntimeError("boom")
def stream(request): return StreamingHttpResponse(iter([b"a", b"b"]))

inner = [path("", view), path("<int:pk>/", view), re_path(r"^old/(?P<y>[0-9]{4})/$", view)]
urlpatterns = [
    path("", view),
    path("items/", include(inner)),
    path("shops/<slug:shop>/", include([path("items/", include(inner))])),
    re_path(r"^archive/(\\d+)/$", view),
    path("async/<int:n>", aview),
    path("boom", boom),
    path("stream", stream),
]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x",
                   LOGGING_CONFIG=None, MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
django.setup()
sys.path.insert(0, sys.argv[1])
from support.processes.drive import call, call_wsgi, measuring
import logging
logging.disable(logging.CRITICAL)

PATHS = ["/", "/items/", "/items/7/", "/items/old/1999/", "/shops/a-b/items/7/", "/archive/12/",
         "/async/3", "/boom", "/stream", "/items", "/nothing/at/all"]
kind = sys.argv[2]
with measuring() as measured:
    if kind == "wsgi":
        import io
        from django.core.wsgi import get_wsgi_application
        app = measured.wsgi(get_wsgi_application())
        for each in PATHS:
            call_wsgi(app, each, environ={"wsgi.input": io.BytesIO(), "HTTP_HOST": "h"})
    else:
        from django.core.asgi import get_asgi_application
        app = measured.asgi(get_asgi_application())
        for each in PATHS:
            call(app, each, headers=[(b"host", b"h")])
    seen = measured.records(len(PATHS))
    print(json.dumps([[s.template, s.record.status, s.record.bytes] for s in seen]))
"""


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_django_request_has_the_route_of_its_view_includes_and_all(tmp: Path, kind: str) -> None:
    (tmp / "django_of_the_test.py").write_text(DJANGO)
    command = [sys.executable, "-Wignore", str(tmp / "django_of_the_test.py")]
    tests = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [*command, tests, kind], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    got: list[Any] = json.loads(done.stdout)
    assert [(template, status) for template, status, _ in got] == [
        ("/", 200),
        ("/items/", 200),
        ("/items/<int:pk>/", 200),
        ("/items/old/(?P<y>[0-9]{4})/", 200),
        ("/shops/<slug:shop>/items/<int:pk>/", 200),
        (r"/archive/(\d+)/", 200),
        ("/async/<int:n>", 200),
        ("/boom", 500),
        ("/stream", 200),
        ("unmatched", 301),
        ("unmatched", 404),
    ]
    assert got[8][2] == 2
