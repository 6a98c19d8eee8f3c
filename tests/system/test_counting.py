"""In calm, every request that was sent is counted at the collector, whatever runs the app."""

import signal
from pathlib import Path

import pytest

from support.processes.load import drive
from support.processes.servers import App
from support.processes.stack import Stack, gunicorn, stack, uvicorn

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
def test_sent_is_counted(tmp: Path, command: list[str]) -> None:
    with stack(tmp) as system:
        app = system.app("shop", command)
        load = drive([f"{app.url}/items/{number}" for number in range(50)], 1000, connections=8)
        assert load.failed == 0
        settled(system, "shop", load.sent)
        routes = system.collector.api.get("/routes", from_="-5m")["routes"]
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
    tmp: Path, command: list[str], number: signal.Signals
) -> None:
    with stack(tmp) as system:
        app = system.app("shop", command)
        load = drive([f"{app.url}/items/1"], 500, connections=4)
        # At once: what the app has not sent yet leaves with its last words.
        app.stop(number)
        settled(system, "shop", load.answered)


def test_a_wrapped_app_without_lifespan_loses_nothing_when_uvicorn_is_told_to_stop(
    tmp: Path,
) -> None:
    with stack(tmp) as system:
        app = App(tmp, "shop", system.agent.socket, uvicorn(target="wrapped_target:app"))
        # Not under `trimtab run`: the app wraps itself.
        app.command = app.command[app.command.index("--") + 1 :]
        with app.start():
            load = drive([f"{app.url}/items/1"], 200, connections=2)
            app.stop()
            settled(system, "shop", load.answered)


def test_recycled_workers_count_on_and_make_no_new_series(tmp: Path) -> None:
    with stack(tmp) as system:
        app = system.app("shop", gunicorn("-w", "2", "--max-requests", "40"))
        answered = 0
        for _ in range(10):
            # A connection that a recycled worker closes fails; the server never saw its request.
            answered += drive([f"{app.url}/items/1"], 40, connections=1).answered
        app.stop()
        system.wait_booked("shop", answered)
        account = system.collector.api.accounting("shop")
        assert account["requests"] == answered
        (service,) = system.collector.api.get("/services", from_="-5m")["services"]
        # Two workers, and at most one more while an old one leaves.
        assert len(service["instances"]) <= 4


def test_two_services_on_one_agent_are_counted_apart(tmp: Path) -> None:
    with stack(tmp) as system:
        shop = system.app("shop", uvicorn())
        library = system.app("library", gunicorn("-w", "2"))
        for_shop = drive([f"{shop.url}/items/1"], 300)
        for_library = drive([f"{library.url}/items/1", f"POST {library.url}/items/2"], 200)
        settled(system, "shop", for_shop.sent)
        settled(system, "library", for_library.sent)
