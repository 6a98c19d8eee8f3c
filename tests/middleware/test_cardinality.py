"""A hundred thousand paths, methods and hosts: no memory to speak of, and one series each."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.processes.drive import Measured
from support.processes.servers import clean_environment, wait_for
from support.processes.stack import stack
from trimtab_core.messages import Gauges

N = 100_000
#: Flask takes 0.2 ms for a path that it does not know: a fifth of them, each five times as long.
N_FLASK = N // 5
#: Records that wait take half of it when there is no agent, or no time for it.
MOST_BYTES = 10 * 1024 * 1024

#: Sends N requests that differ in path, method and host into an app, and says what that took.
CHILD = """
import asyncio, gc, json, os, sys
kind, n, settings = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
import trimtab.endings
from trimtab import Middleware, WSGIMiddleware
from trimtab.runtime import flush_all, runtime_for
from trimtab.settings import read_settings

# On a busy machine the processor may be lost for long after a last byte: that is no work.
trimtab.endings.BACKGROUND_NS = 3600 * 10**9
# Whoever keeps one of them for each request keeps 15 MB.
LONG = "x" * (700 if kind == "flask" else 100)

async def bare(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

def starlette():
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    return Starlette(routes=[Route("/known/{x}", lambda request: PlainTextResponse("ok"))])

def flask():
    import flask
    app = flask.Flask("many")
    app.add_url_rule("/known/<x>", view_func=lambda x: "ok", endpoint="known")
    return app

def own_templates():
    async def app(scope, receive, send):
        scope["trimtab.route"] = scope["path"]
        await bare(scope, receive, send)
    return app

async def receive():
    return {"type": "http.request", "body": b""}

async def send(message):
    pass

def asgi(app, start, count):
    async def go():
        for i in range(start, start + count):
            path = f"/known/{i}{LONG}" if i % 4 == 0 else f"/path/{i}/{LONG}"
            host = b"h%d.example.org" % i + LONG.encode()
            scope = {"type": "http", "method": f"M{i}{LONG}", "path": path,
                     "raw_path": path.encode(), "query_string": b"q=%d" % i, "root_path": "",
                     "http_version": "1.1", "scheme": "http", "headers": [(b"host", host)],
                     "server": ("localhost", 80), "client": ("127.0.0.1", 1)}
            await app(scope, receive, send)
            if i % 1000 == 0:
                await asyncio.sleep(0)
    asyncio.run(go())

def wsgi(app, start, count):
    import io
    taken = io.BytesIO()
    for i in range(start, start + count):
        environ = {"REQUEST_METHOD": f"M{i}{LONG}", "SCRIPT_NAME": "",
                   "PATH_INFO": f"/path/{i}/{LONG}",
                   "QUERY_STRING": f"q={i}", "SERVER_NAME": "x", "SERVER_PORT": "80",
                   "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": f"h{i}.{LONG}.example.org",
                   "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": taken,
                   "wsgi.errors": sys.stderr, "wsgi.multithread": True,
                   "wsgi.multiprocess": False, "wsgi.run_once": False}
        body = app(environ, lambda status, headers, exc_info=None: None)
        for part in body:
            pass
        if hasattr(body, "close"):
            body.close()

makes = {"bare": lambda: bare, "starlette": starlette, "flask": flask, "templates": own_templates}
app = makes[kind]()
drive = wsgi if kind == "flask" else asgi
app = (WSGIMiddleware if kind == "flask" else Middleware)(app, **settings)

def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")

drive(app, 0, 2000)
before = resident()
drive(app, 2000, n - 2000)
grown = resident() - before
runtime = runtime_for(read_settings(**settings))
runtime.flush(10)
found = {"grown": grown, "accounting": runtime.accounting}
flush_all()
print(json.dumps({**found, "routes": len(runtime.recorder.routes)}))
"""


def run(kind: str, settings: dict[str, Any], n: int = N) -> dict[str, Any]:
    """Run the child and return what it says."""
    words = [kind, str(n), json.dumps(settings)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *words],
        capture_output=True, text=True, check=False, timeout=120, env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("kind", "agent"),
    [("bare", True), ("bare", False), ("starlette", True), ("starlette", False), ("flask", True)],
    ids=lambda value: {True: "agent", False: "no agent"}.get(value, value),
)
def test_a_hundred_thousand_of_each_take_no_memory_and_make_one_series(
    measured: Measured, kind: str, agent: bool
) -> None:
    settings = measured.settings()
    if not agent:
        settings["agent"] += ".none"
    n = N_FLASK if kind == "flask" else N
    found = run(kind, settings, n)
    assert found["grown"] <= MOST_BYTES, found
    if agent:
        accounting = found["accounting"]
        assert (accounting["sent"] + accounting["dropped"], accounting["held"]) == (n, 0)
        known = {("/known/{x}", "_OTHER")} if kind == "starlette" else set()
        assert _series(measured) == {("unmatched", "_OTHER")} | known


def _series(measured: Measured) -> set[tuple[str, str]]:
    return {(seen.template, seen.method) for seen in measured.peer.records()}


def test_templates_over_the_cap_are_other(measured: Measured) -> None:
    found = run("templates", measured.settings(), 3000)
    assert found["routes"] == 1001
    counts: dict[str, int] = {}
    for seen in measured.peer.wait_records(3000):
        counts[seen.template] = counts.get(seen.template, 0) + 1
    assert len(counts) == 1001
    assert counts["other"] == 2000


def test_the_collector_has_one_route_of_many_paths_methods_and_hosts(tmp: Path) -> None:
    with stack(tmp) as running:
        settings = {"agent": running.agent.socket, "service": "many", "interval_ms": 50}
        run("starlette", settings, 20_000)
        running.wait_booked("many", 20_000, 30)
        wait_for(lambda: running.collector.api.counted("many") > 0, "requests of many")
        found = running.collector.api.get("/routes", service="many")
        names = {(row["route"], row.get("method")) for row in found["routes"]}
        assert {name for name, _ in names} <= {"unmatched", "/known/{x}"}, names
        assert {method for _, method in names} <= {"_OTHER", None}, names


def test_readings_come_with_no_label_of_a_request(measured: Measured) -> None:
    run("bare", measured.settings(gauges=True), 5000)
    names = {name for message in measured.peer.messages(Gauges) for name in message.values}
    assert len(names) < 40
