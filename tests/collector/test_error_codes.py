"""Refusals: one table of codes, which the code, the pages and the OpenAPI document keep."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import trimtab_collector
from support.refusals import codes_of
from trimtab_collector.api.endpoint import ApiEndpoint
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.openapi import document
from trimtab_collector.contract.errors import CODES, ApiError

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
SOURCES = sorted(Path(trimtab_collector.__file__).parent.rglob("*.py"))
#: statuses that only some endpoints answer; 404 is that of every path with a name in it
OF_SOME = {401, 403, 409, 429, 503}
#: what is called could raise it, but not as it is called here
NEVER = {
    ("POST", "/auth/logout"): {401},  # a token that is no good is looked at, and ends nothing
    ("POST", "/auth/password"): {409},  # only a change of role or state leaves no admin
}


def made() -> Iterator[tuple[str, int]]:
    """Yield code and status of every refusal that is written out in the collector."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ApiError":
                status, code = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    yield str(code.value), int(str(status.value))


def test_every_refusal_in_the_code_has_the_status_of_the_table() -> None:
    found = list(made())
    assert len(found) > 60
    assert [(code, status) for code, status in found if CODES.get(code) != status] == []


def test_every_code_of_the_table_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES if path.name != "errors.py")
    named = {name.lower() for name in re.findall(r"HTTPStatus\.([A-Z_]+)", text)}
    assert named <= set(CODES)
    quoted = {code for code in CODES if f'"{code}"' in text}
    # contract/errors.py itself makes the refusal of a parameter.
    assert set(CODES) == {*quoted, *named, "bad_parameter"}


@pytest.mark.parametrize(("status", "code"), [(404, "no_such_mark"), (422, "too_many")])
def test_a_code_that_the_table_lacks_is_not_made(status: int, code: str) -> None:
    with pytest.raises(ValueError, match="expected a code of CODES"):
        ApiError(status, code, "expected something else")


def test_the_page_lists_every_code_with_its_status_once() -> None:
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = [(code, int(status)) for status, cell in rows for code in re.findall("`(.+?)`", cell)]
    assert sorted(listed) == sorted(CODES.items())


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.paths[0]}")
def test_the_document_has_every_refusal_of_an_endpoint_and_no_others(endpoint: ApiEndpoint) -> None:
    operation = document([endpoint])["paths"][endpoint.paths[0]][endpoint.method.lower()]
    documented = {int(status) for status in operation["responses"]}
    raised = {CODES[code] for code in codes_of(endpoint.read, endpoint.of)}
    raised -= NEVER.get((endpoint.method, endpoint.paths[0]), set())
    assert raised & OF_SOME <= documented, "name them in `refuses` of the row"
    assert set(endpoint.refuses) <= raised, "nothing that is called raises these"


def test_refusals_are_found_in_methods_helpers_and_work_of_other_threads() -> None:
    reads = {(each.method, each.paths[0]): each for each in ENDPOINTS}
    for path, code in (
        (("PUT", "/alert-configs/{id}"), "read_only"),
        (("POST", "/alerts/{id}/acknowledge"), "ended"),
        (("PUT", "/slos/{id}"), "read_only"),
        (("PUT", "/users/{id}"), "last_admin"),
        (("POST", "/auth/login"), "too_many_tries"),
    ):
        assert code in codes_of(reads[path].read, reads[path].of)
