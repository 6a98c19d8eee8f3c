"""Route templates of Falcon, ASGI and WSGI: suffixed responders, sinks, static routes."""

import re
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from support.processes.drive import Measured, call, call_wsgi


class Things:
    def on_get(self, req: Any, resp: Any, **params: Any) -> None:
        resp.text = "thing"

    def on_get_all(self, req: Any, resp: Any) -> None:
        resp.text = "things"

    def on_post_fail(self, req: Any, resp: Any, key: str) -> None:
        raise RuntimeError(key)


class AsyncThings:
    async def on_get(self, req: Any, resp: Any, **params: Any) -> None:
        resp.text = "thing"

    async def on_get_all(self, req: Any, resp: Any) -> None:
        resp.text = "things"

    async def on_post_fail(self, req: Any, resp: Any, key: str) -> None:
        raise RuntimeError(key)


def application(kind: str, folder: Path) -> Any:
    (folder / "a.css").write_text("a {}")
    app: Any = falcon.App() if kind == "wsgi" else falcon.asgi.App()
    things: Any = Things() if kind == "wsgi" else AsyncThings()

    def sink(req: Any, resp: Any, **params: Any) -> None:
        resp.text = "sunk"

    async def async_sink(req: Any, resp: Any, **params: Any) -> None:
        resp.text = "sunk"

    app.add_route("/things/{key:int}", things)
    app.add_route("/things", things, suffix="all")
    app.add_route("/fail/{key}", things, suffix="fail")
    app.add_route("/at/{when:dt('%Y-%m-%d')}", things)
    app.add_route("/files/{rest:path}", things)
    app.add_static_route("/static", folder)
    app.add_sink(sink if kind == "wsgi" else async_sink, "/proxy")
    app.add_sink(sink if kind == "wsgi" else async_sink, re.compile(r"/of/(?P<user>[^/]+)/\d+"))
    return app


CASES = [
    ("GET", "/things/7", 200, "/things/{key:int}"),
    ("GET", "/things", 200, "/things"),
    ("DELETE", "/things/7", 405, "/things/{key:int}"),
    ("POST", "/fail/x", 500, "/fail/{key}"),
    ("GET", "/at/2030-01-02", 200, "/at/{when:dt('%Y-%m-%d')}"),
    ("GET", "/files/a/b/c", 200, "/files/{rest:path}"),
    ("GET", "/static/a.css", 200, "/static/{path}"),
    ("GET", "/static/no/such", 404, "/static/{path}"),
    ("GET", "/proxy/any/thing", 200, "/proxy/{path}"),
    ("GET", "/of/ann/12", 200, "/of/{user}/{}/{path}"),
    ("GET", "/things/x", 404, "unmatched"),
    ("GET", "/nothing", 404, "unmatched"),
]


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_each_request_has_the_template_of_its_route(
    measured: Measured, tmp: Path, kind: str
) -> None:
    app = application(kind, tmp)
    if kind == "asgi":
        wrapped: Any = measured.asgi(app)
        for method, path, status, _ in CASES:
            assert call(wrapped, path, method).status == status
    else:
        wrapped = measured.wsgi(app)
        for method, path, status, _ in CASES:
            environ = {"wsgi.input": BytesIO(), "wsgi.errors": sys.stderr}
            assert int(call_wsgi(wrapped, path, method, environ=environ).status[:3]) == status
    got = [(seen.record.status, seen.template) for seen in measured.records(len(CASES))]
    assert got == [(status, template) for _, _, status, template in CASES]


def test_what_a_dispatcher_mounts_stands_before_the_template(measured: Measured, tmp: Path) -> None:
    app = measured.wsgi(DispatcherMiddleware(lambda *_: [], {"/in": application("wsgi", tmp)}))
    environ = {"wsgi.input": BytesIO(), "wsgi.errors": sys.stderr}
    call_wsgi(app, "/in/things/7", environ=environ)
    call_wsgi(app, "/in/things/7", environ={**environ, "SCRIPT_NAME": "/server"})
    assert [seen.template for seen in measured.records(2)] == ["/in/things/{key:int}"] * 2
