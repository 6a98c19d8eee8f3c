"""In calm, every request that was sent is counted at the collector, whatever runs the app."""

import signal
from pathlib import Path

import pytest

from support.processes.load import drive
from support.processes.servers import App
from support.processes.stack import Stack, gunicorn, uvicorn

SERVERS = {
    "uvicorn, 1 worker": uvicorn(),
    "uvicorn, 2 workers": uvicorn("--workers", "2"),
    "gunicorn, 4 workers": gunicorn("--workers", "4"),
    "gunicorn, 4 workers, preload": gunicorn("--workers", "4", "--preload"),
    "gunicorn, 2 workers with 4 threads": gunicorn("--workers", "2", "--threads", "4"),
    "gunicorn, ASGI worker": gunicorn(
        "--workers", "2", "--worker-class", "asgi", target="asgi_target:app"
    ),
}


def settled(system: Stack, service: str, sent: int) -> None:
    system.wait_booked(service, sent)
    account = system.collector.api.accounting(service)
    assert account["requests"] == sent
    assert account["agentLost"] == 0
    assert sum(account["dropped"].values()) == 0


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS.keys())
def test_sent_is_counted(system: Stack, service: str, command: list[str]) -> None:
    app = system.app(service, command)
    load = drive([f"{app.url}/items/{number}" for number in range(50)], 1000, connections=8)
    assert load.failed == 0
    settled(system, service, load.sent)
    routes = system.collector.api.get("/routes", from_="-5m", service=service)["routes"]
    assert {row["route"].replace("<int:", "{").strip() for row in routes} <= {
        "/items/{number}",
        "/items/{number>",
    }
    assert all(row["p99"] > 0 for row in routes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize(
    "command",
    [uvicorn(), uvicorn("--workers", "2"), uvicorn("--lifespan", "off"), gunicorn("-w", "2")],
    ids=["uvicorn", "uvicorn, 2 workers", "uvicorn without lifespan", "gunicorn"],
)
def test_an_app_that_is_told_to_stop_loses_nothing(
    system: Stack, service: str, command: list[str], number: signal.Signals
) -> None:
    app = system.app(service, command)
    load = drive([f"{app.url}/items/1"], 500, connections=4)
    # At once: what the app has not sent yet leaves with its last words.
    app.stop(number)
    settled(system, service, load.answered)


def test_a_wrapped_app_without_lifespan_loses_nothing_when_uvicorn_is_told_to_stop(
    system: Stack, service: str, tmp: Path
) -> None:
    app = App(tmp, service, system.agent.socket, uvicorn(target="wrapped_target:app"))
    # Not under `trimtab run`: the app wraps itself.
    app.command = app.command[app.command.index("--") + 1 :]
    with app.start():
        load = drive([f"{app.url}/items/1"], 200, connections=2)
        app.stop()
        settled(system, service, load.answered)


def test_recycled_workers_count_on_and_make_no_new_series(system: Stack, service: str) -> None:
    app = system.app(service, gunicorn("-w", "2", "--max-requests", "40"))
    answered = 0
    for _ in range(10):
        # A connection that a recycled worker closes fails; the server never saw its request.
        answered += drive([f"{app.url}/items/1"], 40, connections=1).answered
    app.stop()
    system.wait_booked(service, answered)
    account = system.collector.api.accounting(service)
    assert account["requests"] == answered
    (row,) = system.collector.api.get("/services", from_="-5m", service=service)["services"]
    # Two workers, and at most one more while an old one leaves.
    assert len(row["instances"]) <= 4


def test_two_services_on_one_agent_are_counted_apart(system: Stack, service: str) -> None:
    other = f"{service}-other"
    shop = system.app(service, uvicorn())
    with system.app(other, gunicorn("-w", "2")) as library:
        for_shop = drive([f"{shop.url}/items/1"], 300)
        for_library = drive([f"{library.url}/items/1", f"POST {library.url}/items/2"], 200)
        settled(system, service, for_shop.sent)
        settled(system, other, for_library.sent)
