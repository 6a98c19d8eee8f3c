"""Every server with every framework: the answers of the app, and each counted where it belongs.

    UPDATE_DOCS=1 ./dev test tests/system/test_matrix.py

writes the tables in docs/instrumenting.md anew; what a person wrote around them stays.
"""

import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from websockets.sync.client import connect

from support.apps.frameworks import ANSWERS, FOLDER, FRAMEWORKS, Framework
from support.processes.commands import INTERFACES, SERVERS
from support.processes.outcomes import Case, Outcome, Outcomes, Run, chosen
from support.processes.servers import App, short_dir
from support.processes.stack import Stack

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "instrumenting.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- end of matrix -->"
PAIRS: Final = {
    f"{server} {framework.name}": (server, framework)
    for framework in FRAMEWORKS.values()
    for server, interfaces in INTERFACES.items()
    if framework.interface in interfaces
}


def speaks(server: str, framework: Framework) -> bool:
    """Tell whether a pair has WebSocket connections."""
    # Quart asks for a scheme in the scope, which daphne gives to requests alone.
    return framework.websocket and (server, framework.name) != ("daphne", "quart")


def pair(server: str, framework: Framework) -> Case:
    """A server with a framework's app, asked for all that the app answers."""

    def case(system: Stack, service: str) -> Run:
        command = SERVERS[server](framework.app, interface=framework.interface, folder=FOLDER)
        app = system.app(service, command)
        # First, so that its app has long seen the end of it when the process ends.
        if speaks(server, framework):
            with connect(app.url.replace("http", "ws") + "/ws") as opened:
                opened.send("hello")
                assert opened.recv() == "hello"
        for (method, path), (status, body) in ANSWERS.items():
            try:
                got = ask(app, method, path)
            except http.client.RemoteDisconnected:
                # uWSGI says nothing to the client of an app that raises.
                assert (server, framework.raises, path) == ("uwsgi", True, "/boom"), app.tail()
                continue
            assert got[0] == status, (method, path, got, app.tail())
            assert body in (None, got[1]), (method, path, got)
        if server in ("granian", "uwsgi"):
            # uWSGI runs no exit handlers before it has come to the end of the last request, and
            # granian does not wait for what an app does behind its last byte.
            system.wait_booked(service, len(ANSWERS) + speaks(server, framework))
        app.stop(signal.SIGINT if server == "waitress" else signal.SIGTERM)
        return Run(len(ANSWERS), len(ANSWERS), app.output())

    return case


def ask(app: App, method: str, path: str) -> tuple[int, bytes]:
    """Send a request over a connection of its own; return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=20)
    try:
        connection.request(method, path, headers={"Connection": "close", "Content-Length": "0"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wrong(framework: Framework, outcome: Outcome, *, websocket: bool) -> str:
    """Return what is not as it should be in the accounts of a pair; nothing when all is well."""
    wanted: dict[str, tuple[int, int]] = {}
    for method, path in ANSWERS:
        if method == "GET":
            template = framework.template(path)
            requests, errors = wanted.get(template, (0, 0))
            wanted[template] = requests + 1, errors + (path == "/boom")
    found = {
        row["route"]: (row["requests"], row["errors"])
        for row in outcome.routes
        if row["kind"] == "request" and row["method"] == "GET"
    }
    posts = sum(
        row["requests"]
        for row in outcome.routes
        if row["kind"] == "request" and row["method"] == "POST"
    )
    account = outcome.account
    if found != wanted or posts != 1:
        return f"wanted {wanted} and 1 POST, found {found} and {posts}"
    if account["requests"] != len(ANSWERS) or account["agentLost"] or account["dropped"]:
        return f"wanted {len(ANSWERS)} requests, found {account}"
    if websocket and "/ws" not in outcome.templates:
        return f"found no WebSocket in {outcome.templates}"
    return ""


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Outcomes]:
    cases = {name: pair(server, framework) for name, (server, framework) in PAIRS.items()}
    with short_dir() as directory:
        yield Outcomes(directory, chosen(request, cases))


@pytest.mark.parametrize("name", PAIRS)
def test_a_server_with_a_framework_is_measured_whole(outcomes: Outcomes, name: str) -> None:
    server, framework = PAIRS[name]
    assert wrong(framework, outcomes.of(name), websocket=speaks(server, framework)) == ""


def tables() -> str:
    """Return a table for each interface: a row a framework, a column a server, as tested here."""
    parts = []
    for interface in ("asgi", "wsgi"):
        servers = [name for name, each in INTERFACES.items() if interface in each]
        parts.append(f"| {interface.upper()} | " + " | ".join(servers) + " |\n")
        parts.append("|---" * (len(servers) + 1) + "|\n")
        for framework in FRAMEWORKS.values():
            if framework.interface == interface:
                name = framework.name.partition("_")[0].replace("bare", "none")
                cells = [
                    "yes, WebSocket" if speaks(server, framework) else "yes" for server in servers
                ]
                parts.append(f"| {name} | " + " | ".join(cells) + " |\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def test_the_tables_of_the_page_are_those_of_what_is_tested() -> None:
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    inside, end, after = rest.partition(END)
    assert begin, f"expected {BEGIN!r} in {PAGE.name}"
    assert end, f"expected {END!r} in {PAGE.name}"
    if os.environ.get("UPDATE_DOCS") == "1" and inside != tables():
        PAGE.write_text(before + begin + tables() + end + after, encoding="utf-8")
        inside = tables()
    assert inside == tables(), "UPDATE_DOCS=1 writes it anew"
