"""The same app in every framework: alone, on a copy of its scope, and mounted in another app."""

import asyncio
import io
import random
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from support.apps.frameworks import ANSWERS, FRAMEWORKS, UNMATCHED, Framework, loaded
from support.processes.drive import Measured, Message, call, call_wsgi, request
from trimtab.templates import copies

#: Django keeps its settings for the life of a process, so each of its tests has one of its own.
HERE = [each for each in FRAMEWORKS.values() if not each.name.startswith("django")]
ELSEWHERE = [each for each in FRAMEWORKS.values() if each.name.startswith("django")]
CASES = [*ANSWERS, *reversed(ANSWERS)]
PREFIX = "/in/{tenant}"
#: They route by the whole path, also by what is mounted above them.
WHOLE = ("bare_asgi", "bare_wsgi", "falcon_asgi")


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No router is watched yet, whatever other tests have done."""
    copies._unwatch()
    monkeypatch.setattr(copies, "_watch", copies._Watch())
    yield
    copies._unwatch()


def each_of(frameworks: list[Framework]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("framework", frameworks, ids=[each.name for each in frameworks])


def served(app: Any) -> Any:
    """Return the app behind a server that says when its client is gone: after the last byte."""

    async def server(scope: Any, receive: Any, send: Any) -> None:
        done = asyncio.Event()
        asked = False

        async def receive_once() -> Message:
            nonlocal asked
            if asked:
                await done.wait()
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send_on(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                done.set()

        await app(scope, receive_once, send_on)

    return server


def ask(framework: Framework, app: Any, method: str, path: str) -> tuple[int, bytes]:
    if framework.interface == "asgi":
        answer = call(served(app), path, method, headers=[(b"host", b"localhost")])
        return answer.status or 500, answer.body
    environ = {"wsgi.input": io.BytesIO(), "HTTP_HOST": "localhost", "wsgi.errors": sys.stderr}
    try:
        started = call_wsgi(app, path, method, environ=environ)
    except RuntimeError:
        return 500, b""
    return int(started.status[:3]), b"".join(started.parts)


def copying(framework: Framework, app: Any) -> Any:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope}, receive, send)

    return asgi if framework.interface == "asgi" else lambda environ, start: app({**environ}, start)


def below(framework: Framework, app: Any) -> tuple[Any, str, str]:
    """Return an app that mounts another, the path of the mount and its template."""
    if framework.interface == "asgi":
        return Starlette(routes=[Mount(PREFIX, app)]), "/in/acme", PREFIX
    return DispatcherMiddleware(lambda environ, start: [], {"/in": app}), "/in", "/in"


def check(framework: Framework, how: str, measured: Measured) -> None:
    """Ask everything of the matrix and compare answers and templates."""
    with loaded(framework) as app:
        path, prefix = "", ""
        bare_scope = framework.name.startswith("bare")
        if how == "mounted" and framework.name not in WHOLE:
            app, path, prefix = below(framework, app)
        elif how == "copied":
            app = copying(framework, app)
        wrapped = measured.asgi(app) if framework.interface == "asgi" else measured.wsgi(app)
        if how == "copied":
            # The first answer without a route is what makes the routers suspicious.
            ask(framework, wrapped, "GET", "/items/7")
        got = [ask(framework, wrapped, method, path + each) for method, each in CASES]
    wanted = [ANSWERS[case] for case in CASES]
    assert [status for status, _ in got] == [status for status, _ in wanted]
    assert all(body in (None, found) for (_, found), (_, body) in zip(got, wanted, strict=True)), (
        got
    )
    first = 1 if how == "copied" else 0
    records = measured.records(len(CASES) + first)[first:]
    assert [seen.record.status for seen in records] == [status for status, _ in wanted]
    if how == "copied" and bare_scope:
        return  # what an app says in a copy stays there
    templates = [prefix + framework.template(each) for _, each in CASES]
    if prefix and framework.interface == "asgi":
        # The mount took it, whatever the app below made of it.
        templates = [each.replace(UNMATCHED, "/{path}") for each in templates]
    elif prefix:
        templates = [UNMATCHED if UNMATCHED in each else each for each in templates]
    assert [seen.template for seen in records] == templates


@pytest.mark.parametrize("how", ["alone", "copied", "mounted"])
@each_of(HERE)
def test_every_framework_gives_the_templates_a_person_wrote(
    measured: Measured, framework: Framework, how: str
) -> None:
    check(framework, how, measured)


@each_of(ELSEWHERE)
def test_django_gives_them_too_alone_copied_and_mounted(framework: Framework) -> None:
    code = (
        "import sys, runpy; sys.path.insert(0, sys.argv[1])\n"
        "from support.processes.drive import measuring\n"
        "for how in ('alone', 'copied', 'mounted'):\n"
        "    module = runpy.run_path(sys.argv[2])\n"
        "    with measuring() as measured:\n"
        "        module['check'](module['FRAMEWORKS'][sys.argv[3]], how, measured)\n"
    )
    tests = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-Wignore", "-c", code, str(tests), __file__, framework.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


async def talk(app: Any, path: str) -> list[Message]:
    """Open a WebSocket, send one text, leave when the app has closed; return what it sent."""
    sent: list[Message] = []
    closed = asyncio.Event()
    events = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}])

    async def receive() -> Message:
        event = next(events, None)
        if event is None:
            await closed.wait()
        return event or {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "websocket.close":
            closed.set()

    scope = {
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.3"}, "path": path,
        "http_version": "1.1", "scheme": "ws", "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "subprotocols": [], "extensions": {},
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 5)
    return sent


@pytest.mark.asyncio
@each_of([each for each in HERE if each.websocket])
@pytest.mark.parametrize("mounted", [False, True], ids=["alone", "mounted"])
async def test_a_websocket_has_the_template_of_its_route(
    measured: Measured, framework: Framework, mounted: bool
) -> None:
    mounted = mounted and framework.name not in WHOLE
    with loaded(framework) as app:
        path, prefix = "", ""
        if mounted:
            app, path, prefix = below(framework, app)
        sent = await talk(measured.asgi(app), path + "/ws")
    assert [message.get("text") for message in sent if message["type"] == "websocket.send"] == [
        "hello"
    ]
    assert measured.one().template == prefix + "/ws"


@pytest.mark.asyncio
@each_of(HERE)
async def test_thousands_of_random_paths_are_one_route(
    measured: Measured, framework: Framework
) -> None:
    rng = random.Random(6)
    letters = string.ascii_letters + string.digits + "/-_~"
    count = 2_000 if framework.name in ("flask", "quart") else 10_000
    paths = ["/x" + "".join(rng.choices(letters, k=rng.randrange(1, 30))) for _ in range(count)]
    with loaded(framework) as app:
        if framework.interface == "asgi":
            wrapped: Any = measured.asgi(app)

            async def scan() -> None:
                for path in paths:
                    await request(wrapped, path)

            await scan()
        else:
            wrapped = measured.wsgi(app)
            for path in paths:
                call_wsgi(
                    wrapped, path, environ={"wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr}
                )
    assert {seen.template for seen in measured.records(count)} == {UNMATCHED}
