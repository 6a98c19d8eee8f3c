"""`trimtab run` in front of servers, in every way they are started: each request counted once.

Each server as it is started most plainly stands in test_matrix.py.
"""

import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence

import psutil
import pytest

from support.apps.frameworks import FOLDER
from support.processes.commands import SERVERS, TARGETS
from support.processes.load import drive
from support.processes.outcomes import Case, Outcomes, Run, chosen
from support.processes.servers import App, short_dir, wait_for
from support.processes.stack import Stack

ASGI, WSGI = "bare_asgi_target:app", "bare_wsgi_target:app"
TEMPLATES = frozenset({"/items/{item_id}", "/api/v1/users/{name}"})
FLASK_TEMPLATES = frozenset({"/items/<int:item_id>", "/api/v1/users/<name>"})


def answers(command: Sequence[str], templates: frozenset[str] = TEMPLATES) -> Case:
    """A server that answers forty requests and is told to end."""

    def case(system: Stack, service: str) -> Run:
        return forty(system, system.app(service, command), templates)

    return case


def forty(system: Stack, app: App, templates: frozenset[str] = TEMPLATES) -> Run:
    load = drive([f"{app.url}/items/7", f"{app.url}/api/v1/users/ann"], 40, connections=2)
    assert load.failed == 0, load.failures[:3]
    if "uwsgi" in app.command:
        # It would run no exit handlers if it had not yet come to the end of the last request.
        system.wait_booked(app.service, 40)
    if "granian" in app.command:
        # A worker that still loads its app swallows the signal, and granian waits for it for ever;
        # one answers for all while the other is not even there.
        number = 2 if "--workers" in app.command else 1
        wait_for(lambda: len(running(app)) >= number, "all workers to run", 20)
    app.stop(signal.SIGINT)
    return Run(40, 40, app.output(), templates)


def running(app: App) -> list[psutil.Process]:
    """Return the workers that have loaded their app: only then they have threads."""
    return [each for each in psutil.Process(app.child.pid).children() if each.num_threads() > 1]


def script(code: str) -> Case:
    """A program that serves an app object by itself."""

    def case(system: Stack, service: str) -> Run:
        path = system.directory / f"{service}.py"
        path.write_text(f"PORT = {{port}}\nimport sys\nsys.path.insert(0, {str(FOLDER)!r})\n{code}")
        app = App(system.directory, service, system.agent.socket, [sys.executable, str(path)])
        path.write_text(path.read_text().replace("{port}", str(app.port)))
        system.apps[service] = system.exits.enter_context(app.start())
        return forty(system, app)

    return case


def get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.read())
    except (OSError, urllib.error.URLError):
        return None


APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("none here")
    scope["trimtab.route"] = "/version"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"1"})
"""


def reloaded(server: str, *options: str) -> Case:
    """A server that reloads its app after a change of its file, and counts on."""

    def case(system: Stack, service: str) -> Run:
        folder = system.directory / service
        folder.mkdir()
        (folder / "reloaded_target.py").write_text(APP)
        words = [option.replace("{folder}", str(folder)) for option in options]
        command = SERVERS[server]("reloaded_target:app", *words, folder=folder)
        app = system.app(service, command, PYTHONDONTWRITEBYTECODE="1")
        bodies = []

        def answered(body: bytes) -> bool:
            bodies.append(get(app.url))
            return bodies[-1] == body

        wait_for(lambda: answered(b"1"), "the first version", 20)
        due = 0.0

        def saved_and_answered() -> bool:
            # Servers begin to watch some time after they have started the app: on a busy machine
            # the first save may come before that, and only the next one counts.
            nonlocal due
            if time.monotonic() >= due:
                (folder / "reloaded_target.py").write_text(APP.replace('b"1"', 'b"2"'))
                due = time.monotonic() + 5
            return answered(b"2")

        wait_for(saved_and_answered, "the second version", 30)
        app.stop()
        done = sum(body is not None for body in bodies)
        return Run(done, len(bodies), app.output(), frozenset({"/version"}))

    return case


def run(server: str, target: str, *options: str, interface: str = "asgi") -> Case:
    return answers(SERVERS[server](target, *options, interface=interface, folder=FOLDER))


CODED = """
from bare_asgi_target import app as bare
import uvicorn
from trimtab import Middleware
uvicorn.run(Middleware(bare, service="coded"), port=PORT)
"""


def wrapped_in_code(system: Stack, service: str) -> Run:
    """An app that has wrapped itself, with a service of its own."""
    script(CODED)(system, service)
    system.wait_booked("coded", 40)
    return Run(0, 0)


RSGI = "async def app(scope, protocol):\n    protocol.response_empty(204, [])\n"


def rsgi(system: Stack, service: str) -> Run:
    """An app of the one interface that is not measured."""
    (system.directory / "rsgi_target.py").write_text(RSGI)
    command = SERVERS["granian"]("rsgi_target:app", interface="rsgi", folder=system.directory)
    app = system.app(service, command)
    assert drive([app.url], 10).statuses == {204: 10}
    app.stop()
    assert app.output().count("RSGI is not measured") == 1
    return Run(0, 0)


def uwsgi(*options: str, templates: frozenset[str] = TEMPLATES) -> Case:
    """A uWSGI that is told in its own way where the app is."""
    words = SERVERS["uwsgi"]("", folder=FOLDER)
    at = words.index("--module")
    return answers([*words[:at], *words[at + 2 :], *options], templates)


CASES: dict[str, Case] = {
    "uvicorn, its own program": answers(
        ["uvicorn", ASGI, "--app-dir", str(FOLDER), "--port", "{port}"]
    ),
    "uvicorn, 2 workers": run("uvicorn", ASGI, "--workers", "2"),
    "uvicorn, uvloop and httptools": run(
        "uvicorn", ASGI, "--loop", "uvloop", "--http", "httptools"
    ),
    "uvicorn, asyncio and h11": run("uvicorn", ASGI, "--loop", "asyncio", "--http", "h11"),
    "uvicorn, reload": reloaded("uvicorn", "--reload", "--reload-dir", "{folder}"),
    "uvicorn, an object": script(
        "import uvicorn\nfrom bare_asgi_target import app\nuvicorn.run(app, port=PORT)\n"
    ),
    "uvicorn, a name": script(
        "import uvicorn\nuvicorn.run('bare_asgi_target:app', port=PORT, log_level='trace')\n"
    ),
    "uvicorn, WSGI": answers(
        SERVERS["uvicorn"]("flask_target:app", interface="wsgi", folder=FOLDER), FLASK_TEMPLATES
    ),
    "uvicorn, wrapped in code": wrapped_in_code,
    "gunicorn, preload": run("gunicorn", WSGI, "--preload", interface="wsgi"),
    "gunicorn gevent, preload": run("gunicorn gevent", WSGI, "--preload", interface="wsgi"),
    "hypercorn, 2 workers": run("hypercorn", ASGI, "--workers", "2"),
    "hypercorn, uvloop": run("hypercorn", ASGI, "--worker-class", "uvloop"),
    "hypercorn, reload": reloaded("hypercorn", "--reload"),
    "hypercorn, an object": script(
        "import asyncio\nfrom bare_asgi_target import app\n"
        "from hypercorn.asyncio import serve\nfrom hypercorn.config import Config\n"
        "config = Config()\nconfig.bind = [f'127.0.0.1:{PORT}']\nasyncio.run(serve(app, config))\n"
    ),
    "granian, without lifespan": run("granian", ASGI, interface="asginl"),
    "granian, 2 workers": run("granian", ASGI, "--workers", "2"),
    "granian, RSGI": rsgi,
    "granian, reload": reloaded("granian", "--reload", "--reload-paths", "{folder}"),
    "waitress, two sockets": run("waitress", WSGI, "--listen", "127.0.0.1:0", interface="wsgi"),
    "waitress, an object": script(
        "import waitress\nfrom bare_wsgi_target import app\n"
        "waitress.serve(app, listen=f'127.0.0.1:{PORT}')\n"
    ),
    "uwsgi, threads": run("uwsgi", WSGI, "--threads", "4", interface="wsgi"),
    "uwsgi, lazy": run("uwsgi", WSGI, "--master", "--lazy-apps", interface="wsgi"),
    "uwsgi, mounted": uwsgi("--mount", f"/={WSGI}", "--manage-script-name"),
    "uwsgi, callable": uwsgi("--wsgi", "bare_wsgi_target", "--callable", "app"),
    "uwsgi, factory": uwsgi(
        "--pythonpath",
        str(TARGETS),
        "--module",
        "exits_target:make()",
        templates=frozenset({"/{what}"}),
    ),
    "uwsgi, file": uwsgi(
        "--wsgi-file",
        str(FOLDER / "flask_target.py"),
        "--callable",
        "app",
        templates=FLASK_TEMPLATES,
    ),
    "uwsgi, file wrapped in code": uwsgi(
        "--wsgi-file", str(TARGETS / "exits_target.py"), templates=frozenset({"/{what}"})
    ),
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Outcomes]:
    with short_dir() as directory:
        yield Outcomes(directory, chosen(request, CASES))


@pytest.mark.parametrize("case", CASES)
def test_each_request_is_counted_once_under_its_template(outcomes: Outcomes, case: str) -> None:
    outcome = outcomes.of(case)
    account = outcome.account
    assert outcome.run.least <= account["requests"] <= outcome.run.most
    assert (account["agentLost"], sum(account["dropped"].values())) == (0, 0)
    assert outcome.templates == outcome.run.templates
    assert "trimtab run:" not in outcome.run.output
