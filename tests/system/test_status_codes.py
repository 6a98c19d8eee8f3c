"""Every request is counted under its exact status code, from the app to the API."""

import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from support.processes.load import drive
from support.processes.servers import App, short_dir, wait_for
from support.processes.stack import Stack, stack, uvicorn

STATUSES = (200, 201, 204, 301, 304, 400, 401, 404, 418, 429, 503)
LEFT = 3


@pytest.fixture(scope="module")
def system() -> Iterator[tuple[Stack, Counter[int]]]:
    """Run an app of two workers, and return the statuses that its clients got."""
    with short_dir() as directory, stack(directory) as system:
        app = system.app("codes", uvicorn("--workers", "2", target="statuses_target:app"))
        targets = [f"{app.url}/answer/{status}" for status in STATUSES]
        targets += [f"POST {app.url}/answer/{status}" for status in (200, 201, 429)]
        targets += [f"{app.url}/nowhere", f"{app.url}/fails"]
        load = drive(targets, 20 * len(targets), connections=6)
        assert load.failed == 0
        for _ in range(LEFT):
            leave(app)
        sent = load.statuses + Counter({499: LEFT})
        system.wait_booked("codes", sent.total())
        yield system, sent


def leave(app: App) -> None:
    """Announce a body and leave before it is sent."""
    with socket.create_connection(("127.0.0.1", app.port), 10) as connection:
        connection.sendall(b"POST /reads HTTP/1.1\r\nhost: here\r\ncontent-length: 9\r\n\r\n")


def shown(statuses: Counter[int]) -> dict[str, int]:
    return {str(code): count for code, count in statuses.items()}


def get(system: Stack, path: str, **query: Any) -> Any:
    return system.collector.api.get(path, service="codes", from_="-10m", **query)


def test_every_request_is_counted_under_the_status_that_its_client_got(
    system: tuple[Stack, Counter[int]],
) -> None:
    found = get(system[0], "/status-codes")
    assert found["statusCodes"] == shown(system[1])
    assert found["requests"] == system[1].total()


def test_codes_add_up_to_classes_exactly(system: tuple[Stack, Counter[int]]) -> None:
    classes = get(system[0], "/response-time")["byStatusClass"]
    assert classes.keys() == {"2xx", "3xx", "4xx", "5xx"}
    for name, stats in classes.items():
        assert sum(stats["statusCodes"].values()) == stats["requests"]
        assert {code[0] for code in stats["statusCodes"]} == {name[0]}
    groups = get(system[0], "/status-codes", groupBy="statusClass")["groups"]
    assert {each["group"]["statusClass"]: each["statusCodes"] for each in groups} == {
        name: stats["statusCodes"] for name, stats in classes.items()
    }


def test_codes_are_told_apart_by_route_method_and_instance(
    system: tuple[Stack, Counter[int]],
) -> None:
    answer = get(system[0], "/status-codes", code=429, groupBy="route,method")
    assert [(each["group"], each["statusCodes"]) for each in answer["groups"]] == [
        ({"route": "/answer/{status}", "method": method}, {"429": 20}) for method in ("GET", "POST")
    ]
    (reads,) = [each for each in get(system[0], "/routes")["routes"] if each["route"] == "/reads"]
    assert reads["statusCodes"] == {"499": LEFT}
    instances = get(system[0], "/status-codes", groupBy="instance")["groups"]
    whole: Counter[str] = Counter()
    for each in instances:
        whole.update(each["statusCodes"])
    assert whole == shown(system[1])


def test_steps_of_history_have_their_codes(system: tuple[Stack, Counter[int]]) -> None:
    rows = get(system[0], "/metrics/history", step=10)["series"]
    whole: Counter[str] = Counter()
    for row in rows:
        assert sum(row["statusCodes"].values()) == row["requests"]
        whole.update(row["statusCodes"])
    assert whole == shown(system[1])


def test_codes_are_live_while_somebody_watches(system: tuple[Stack, Counter[int]]) -> None:
    app = system[0].apps["codes"]

    def seen() -> bool:
        assert drive([f"{app.url}/answer/401"], 1).failed == 0
        found = system[0].collector.api.get("/status-codes", service="codes", from_="-10s")
        return found["resolution"] == 1 and "401" in found["statusCodes"]

    wait_for(seen, "a live answer with the code", 20)
