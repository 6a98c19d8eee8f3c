"""Every operation of the OpenAPI document, asked by everybody: 401 and 403 exactly where due."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from support.processes.api import TOKEN
from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from trimtab_collector.api.endpoint import ApiEndpoint
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.openapi import document
from trimtab_collector.contract.callers import Role

DOCUMENT = json.loads(msgspec.json.encode(document(ENDPOINTS)))


class Operation(NamedTuple):
    """An operation of the document, and the role that its row of the table asks for."""

    path: str
    method: str
    role: Role


def operations() -> Iterator[Operation]:
    roles = {(path, each.method): each.role for each in ENDPOINTS for path in each.paths}
    for path, item in DOCUMENT["paths"].items():
        for name, operation in item.items():
            method = name.upper()
            role = roles[path, method]
            assert bool(operation["security"]) == (role is not Role.ANYONE)
            yield Operation(path, method, role)


EVERY = list(operations())


class People(NamedTuple):
    """Clients by what they show."""

    nobody: Client
    garbage: Client
    token: Client
    planner: Client
    admin: Client


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    """A collector with an admin and a planner."""
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as collector:
        collector.start()
        admin = Client(collector.port)
        admin.login()
        admin.ask("POST", "/users", {"name": "paul", "password": PASSWORD, "role": "planner"})
        planner = Client(collector.port)
        planner.login("paul")
        # Garbage comes from an address of its own: what fails there counts for nobody else.
        yield People(
            Client(collector.port, address="127.0.0.2"),
            Client(collector.port, "eyJhbGciOiJub25lIn0.e30.", "127.0.0.2"),
            Client(collector.port, TOKEN),
            planner,
            admin,
        )


def asked(client: Client, operation: Operation, method: str = "") -> tuple[int, Any]:
    """Return how an operation is answered that is asked without what it needs to do anything."""
    path = operation.path.replace("{id}", "nobody")
    found = client.ask(method or operation.method, path)
    return found.status, found.body


@pytest.mark.parametrize("operation", EVERY, ids=lambda each: f"{each.method} {each.path}")
def test_an_operation_lets_in_whom_its_role_allows_and_nobody_else(
    people: People, operation: Operation
) -> None:
    for name, client in people._asdict().items():
        status, body = asked(client, operation)
        rank = {"token": 1, "planner": 1, "admin": 2}.get(name, 0)
        if rank >= operation.role.rank:
            assert status not in (401, 403), (name, body)
            assert status < 500, (name, body)
        else:
            assert status == (403 if rank else 401), (name, body)
            assert body["error"]["code"] == ("forbidden" if rank else "unauthorized")


@pytest.mark.parametrize(
    "operation", [each for each in EVERY if each.method == "GET"], ids=lambda each: each.path
)
def test_head_is_as_closed_as_get_and_other_methods_do_nothing(
    people: People, operation: Operation
) -> None:
    for client in people:
        status, _ = asked(client, operation)
        assert asked(client, operation, "HEAD") == (status, None)
    allowed = {each.method for each in EVERY if each.path == operation.path}
    for method in {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LINK"} - allowed:
        status, body = asked(people.admin, operation, method)
        assert (status, body["error"]["code"]) == (405, "method_not_allowed")


def test_a_row_of_the_table_that_names_no_role_is_closed() -> None:
    assert ApiEndpoint(("/x",), lambda *_: None, ()).role is Role.PLANNER


def test_what_is_open_to_anyone_is_this_and_nothing_else() -> None:
    open_ = {(each.method, each.path) for each in EVERY if each.role is Role.ANYONE}
    assert open_ == {
        ("GET", "/"),
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        ("POST", "/auth/login"),
        ("POST", "/auth/refresh"),
        ("POST", "/auth/logout"),
        ("POST", "/auth/link"),
        ("POST", "/auth/setup"),
    }


def test_a_planner_tries_rules_and_changes_nothing_but_the_own_password() -> None:
    changing = {(each.method, each.path) for each in EVERY if each.method != "GET"}
    for_planners = {(each.method, each.path) for each in EVERY if each.role is Role.PLANNER}
    assert changing & for_planners == {
        ("POST", "/auth/password"),
        ("POST", "/alert-configs/preview"),
    }


def test_a_service_token_cannot_change_a_password(people: People) -> None:
    body = {"password": PASSWORD, "newPassword": "another horse battery"}
    found = people.token.ask("POST", "/auth/password", body)
    assert (found.status, found.code) == (403, "forbidden")
