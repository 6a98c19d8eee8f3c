"""However a process ends, nothing is lost that could be sent, and at most a second otherwise."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from support.processes.commands import SERVERS
from support.processes.load import Load, drive
from support.processes.outcomes import Case, Outcomes, Run, chosen
from support.processes.servers import App, free_port, short_dir, wait_for
from support.processes.stack import Stack

TERM, INT = signal.SIGTERM, signal.SIGINT


def command(server: str, interface: str, *options: str) -> list[str]:
    return SERVERS[server](f"exits_target:{interface}", *options, interface=interface)


def start(system: Stack, service: str, server: str, interface: str, *options: str) -> App:
    app = system.app(service, command(server, interface, *options))
    if "--lazy-apps" in options:
        # A worker of uWSGI that is told to end while it loads the app stays.
        wait_for(lambda: app.output().count("WSGI app 0") == 2, "the app to be loaded", 20)
    return app


def uwsgi_is_idle(port: int) -> bool:
    """Ask uWSGI for its workers; one that is told to end in a request runs no exit handlers."""
    with socket.create_connection(("127.0.0.1", port), 10) as opened, opened.makefile() as text:
        workers = json.load(text)["workers"]
    return all(core["in_request"] == 0 for worker in workers for core in worker["cores"])


def told(number: int, server: str, interface: str, *options: str) -> Case:
    """A server that gets a signal right after the last answer."""

    def case(system: Stack, service: str) -> Run:
        app = start(system, service, server, interface, *options)
        load = drive([f"{app.url}/"], 200, connections=4)
        assert load.failed == 0, load.failures[:3]
        if "--stats" in options:
            wait_for(lambda: uwsgi_is_idle(int(options[-1].rpartition(":")[2])), "idle workers")
        if server == "granian":
            # A worker that still loads its app, without a thread, swallows the signal for good.
            most = 2 if "--workers" in options else 1
            wait_for(lambda: len([n for n in threads(app) if n > 1]) >= most, "all workers", 20)
        app.stop(number)
        return Run(load.answered, load.answered, app.output())

    return case


def threads(app: App) -> list[int]:
    """Return how many threads each child has."""
    return [each.num_threads() for each in psutil.Process(app.child.pid).children()]


def recycled(server: str, interface: str, *options: str, ends: bool = False) -> Case:
    """A server whose workers end after some requests; with ends, the server itself does."""

    def case(system: Stack, service: str) -> Run:
        app = start(system, service, server, interface, *options)
        answered = failed = 0
        deadline = time.monotonic() + 20
        while answered < 100 and app.alive:
            # A connection that an old worker closes fails: before the app saw the request, or
            # (hypercorn) behind it.
            load = drive([f"{app.url}/"], 20, connections=1)
            answered += load.answered
            failed += load.failed
            assert time.monotonic() < deadline, app.tail()
        if ends:
            app.wait_exit()
        else:
            app.stop()
        return Run(answered, answered + failed, app.output())

    return case


def worker_told(number: int, server: str, interface: str, *options: str) -> Case:
    """A worker that gets a signal, while its master goes on."""

    def case(system: Stack, service: str) -> Run:
        app = start(system, service, server, interface, *options)
        load = drive([f"{app.url}/"], 200, connections=1)
        (worker,) = app.children()
        os.kill(worker, number)
        wait_for(lambda: app.children() not in ([], [worker]), "another worker", 20)
        more = drive([f"{app.url}/"], 50, connections=1)
        app.stop()
        answered = load.answered + more.answered
        return Run(answered, answered, app.output())

    return case


def in_a_request(path: str, app: App) -> threading.Thread:
    """Begin a request that blocks; return its thread when the app has it."""
    thread = threading.Thread(target=drive, args=([f"{app.url}{path}"], 1))
    thread.start()
    app.wait_line("blocked")
    return thread


def told_while_blocked(number: int, server: str, interface: str, *options: str) -> Case:
    """A server that gets a signal while a request blocks its loop for a second."""

    def case(system: Stack, service: str) -> Run:
        app = start(system, service, server, interface, *options)
        load = drive([f"{app.url}/"], 200, connections=4)
        thread = in_a_request("/block", app)
        app.stop(number)
        thread.join()
        return Run(load.answered + 1, load.answered + 1, app.output())

    return case


def timed_out(stuck: int, server: str, interface: str, *options: str) -> Case:
    """A worker that its master kills because it is stuck; stuck tells whether that is recorded."""

    def case(system: Stack, service: str) -> Run:
        app = start(system, service, server, interface, "--timeout", "1", *options)
        load = drive([f"{app.url}/"], 200, connections=1)
        (worker,) = app.children()
        thread = in_a_request("/stuck", app)
        wait_for(lambda: app.children() not in ([], [worker]), "another worker", 20)
        thread.join()
        # A worker that is told to end while it starts stays for half a minute.
        more = drive([f"{app.url}/"], 10, connections=1)
        app.stop()
        answered = load.answered + more.answered + stuck
        return Run(answered, answered, app.output())

    return case


def killed(how: str, server: str, interface: str, *options: str) -> Case:
    """A process that ends without a word; what it answered until a second before must be there."""

    def case(system: Stack, service: str) -> Run:
        app = start(system, service, server, interface, *options)
        with Load([f"{app.url}/"]) as load:
            wait_for(lambda: load.answered > 100, "some answers", 20)
            before, until = load.answered, time.monotonic() + 1
            wait_for(lambda: time.monotonic() > until, "a second to pass")
        assert load.failed == 0, load.failures[:3]
        if how == "kill -9":
            app.kill9()
        elif how == "os._exit":
            drive([f"{app.url}/exit"], 1)
        else:
            app.stop(signal.Signals[how])
        return Run(before, load.answered)

    return case


def uwsgi(*options: str) -> list[str]:
    """Return options for a uWSGI whose workers can be asked about."""
    return ["--master", *options, "--stats", f"127.0.0.1:{free_port()}"]


ORDERLY: dict[str, Case] = {
    "uvicorn: TERM": told(TERM, "uvicorn", "asgi"),
    "uvicorn: INT": told(INT, "uvicorn", "asgi"),
    "uvicorn: TERM without lifespan": told(TERM, "uvicorn", "asgi", "--lifespan", "off"),
    "uvicorn: last request": recycled("uvicorn", "asgi", "--limit-max-requests", "50", ends=True),
    "uvicorn: TERM, 2 workers": told(TERM, "uvicorn", "asgi", "--workers", "2"),
    "uvicorn: INT, 2 workers": told(INT, "uvicorn", "asgi", "--workers", "2"),
    "uvicorn: TERM in a blocked loop": told_while_blocked(TERM, "uvicorn", "asgi"),
    "gunicorn: TERM": told(TERM, "gunicorn", "wsgi"),
    "gunicorn: INT": told(INT, "gunicorn", "wsgi"),
    "gunicorn: recycled": recycled("gunicorn", "wsgi", "--max-requests", "30"),
    "gunicorn: TERM to a worker": worker_told(TERM, "gunicorn", "wsgi"),
    "gunicorn: timeout": timed_out(1, "gunicorn", "wsgi"),
    "gunicorn gthread: TERM": told(TERM, "gunicorn gthread", "wsgi", "--threads", "4"),
    "gunicorn gthread: INT": told(INT, "gunicorn gthread", "wsgi", "--threads", "4"),
    "gunicorn gthread: recycled": recycled("gunicorn gthread", "wsgi", "--max-requests", "30"),
    "gunicorn gthread: TERM to a worker": worker_told(TERM, "gunicorn gthread", "wsgi"),
    "gunicorn gevent: TERM": told(TERM, "gunicorn gevent", "wsgi"),
    "gunicorn gevent: INT": told(INT, "gunicorn gevent", "wsgi"),
    "gunicorn gevent: recycled": recycled("gunicorn gevent", "wsgi", "--max-requests", "30"),
    "gunicorn asgi: TERM": told(TERM, "gunicorn asgi", "asgi"),
    "gunicorn asgi: INT": told(INT, "gunicorn asgi", "asgi"),
    "gunicorn asgi: recycled": recycled("gunicorn asgi", "asgi", "--max-requests", "30"),
    "gunicorn asgi: timeout": timed_out(0, "gunicorn asgi", "asgi"),
    "gunicorn uvicorn: TERM": told(TERM, "gunicorn uvicorn", "asgi"),
    "gunicorn uvicorn: recycled": recycled("gunicorn uvicorn", "asgi", "--max-requests", "30"),
    "gunicorn uvicorn: timeout": timed_out(0, "gunicorn uvicorn", "asgi"),
    "hypercorn: TERM": told(TERM, "hypercorn", "asgi"),
    "hypercorn: INT, WSGI": told(INT, "hypercorn", "wsgi"),
    "hypercorn: TERM, 2 workers": told(TERM, "hypercorn", "asgi", "--workers", "2"),
    "hypercorn: recycled": recycled("hypercorn", "asgi", "--max-requests", "30"),
    "granian: TERM": told(TERM, "granian", "asgi"),
    "granian: INT": told(INT, "granian", "asgi"),
    "granian: TERM, WSGI": told(TERM, "granian", "wsgi"),
    "granian: INT, 2 workers, WSGI": told(INT, "granian", "wsgi", "--workers", "2"),
    "waitress: INT": told(INT, "waitress", "wsgi"),
    "daphne: TERM": told(TERM, "daphne", "asgi"),
    "daphne: INT": told(INT, "daphne", "asgi"),
    "uwsgi: TERM": told(TERM, "uwsgi", "wsgi", *uwsgi()),
    "uwsgi: INT": told(INT, "uwsgi", "wsgi", *uwsgi()),
    "uwsgi: TERM, threads": told(TERM, "uwsgi", "wsgi", *uwsgi("--threads", "4")),
    "uwsgi: TERM, 2 forks": told(TERM, "uwsgi", "wsgi", *uwsgi("--processes", "2")),
    "uwsgi: INT, 2 loads": told(INT, "uwsgi", "wsgi", *uwsgi("--processes", "2", "--lazy-apps")),
    "uwsgi: recycled": recycled("uwsgi", "wsgi", "--master", "--max-requests", "30"),
}
KILLED: dict[str, Case] = {
    "uvicorn: kill -9": killed("kill -9", "uvicorn", "asgi"),
    "uvicorn: os._exit": killed("os._exit", "uvicorn", "asgi"),
    "gunicorn: kill -9": killed("kill -9", "gunicorn", "wsgi"),
    "gunicorn: os._exit": killed("os._exit", "gunicorn", "wsgi"),
    "granian: kill -9": killed("kill -9", "granian", "wsgi"),
    "uwsgi: kill -9": killed("kill -9", "uwsgi", "wsgi"),
    "waitress: TERM": killed("SIGTERM", "waitress", "wsgi"),
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Outcomes]:
    with short_dir() as directory:
        yield Outcomes(directory, chosen(request, ORDERLY | KILLED))


@pytest.mark.parametrize("case", ORDERLY)
def test_a_process_that_may_end_by_itself_loses_nothing(outcomes: Outcomes, case: str) -> None:
    outcome = outcomes.of(case)
    account = outcome.account
    assert outcome.run.least <= account["requests"] <= outcome.run.most
    assert (account["agentLost"], sum(account["dropped"].values())) == (0, 0)
    assert outcome.templates == {"/{what}"}


@pytest.mark.parametrize("case", KILLED)
def test_a_process_that_is_killed_loses_a_second_at_most_and_counts_nothing_twice(
    outcomes: Outcomes, case: str
) -> None:
    outcome = outcomes.of(case)
    account = outcome.account
    booked = account["requests"] + account["agentLost"] + sum(account["dropped"].values())
    assert outcome.run.least <= booked <= outcome.run.most
