"""The OpenAPI document: it follows the specification, and says what the API does.

    UPDATE_DOCS=1 ./dev test tests/collector/test_api_document.py

writes docs/openapi.json anew.
"""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis

from support.onetoken import access_by
from support.processes.openapi import parameters_of
from support.processes.servers import short_dir
from support.stores.apiworld import END_S, START_S, World, world
from trimtab_collector.api.endpoint import BASE, ApiEndpoint
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.executor import ReadExecutor
from trimtab_collector.api.openapi import document
from trimtab_collector.api.web import Api
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.kinds import Moment, Parameter

#: the document as it stands in the tree, for those who generate clients from it
PAGE = Path(__file__).parents[2] / "docs" / "openapi.json"
WIDTH = 100
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
TYPES = {"null", "boolean", "object", "array", "number", "string", "integer"}
#: what an endpoint cannot do without
NEEDED = {"/gauges": {"name": "process.memory.usage"}, "/measures": {"name": "*"}}


@pytest.fixture(scope="module")
def days() -> Iterator[World]:
    with short_dir() as directory, world(directory) as found:
        yield found


@pytest.fixture(scope="module")
def found() -> Any:
    """The document as a client reads it."""
    return json.loads(msgspec.json.encode(document(ENDPOINTS)))


def operations(found: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in found["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def schemas(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema below a schema, itself first."""
    yield part
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for each in part.get(word, ()):
            yield from schemas(each)
    for each in part.get("properties", {}).values():
        yield from schemas(each)
    for word in ("items", "additionalProperties"):
        if isinstance(part.get(word), dict):
            yield from schemas(part[word])


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (part["$ref"],) if "$ref" in part else ()
        for each in part.values():
            yield from references(each)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def test_it_has_the_parts_that_the_specification_asks_for(found: Any) -> None:
    assert re.fullmatch(r"3\.1\.\d+", found["openapi"])
    assert found["info"]["title"]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", found["info"]["version"])
    assert set(found) <= {"openapi", "info", "servers", "paths", "components"}
    assert all(path.startswith("/") for path in found["paths"])
    identifiers = []
    for _, method, operation in operations(found):
        assert method in METHODS
        assert operation["summary"]
        identifiers.append(operation["operationId"])
        assert "500" in operation["responses"]
        assert {"200", "201"} & set(operation["responses"])
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status)
            assert response.get("description") or response["$ref"]
        for requirement in operation["security"]:
            assert set(requirement) <= set(found["components"]["securitySchemes"])
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"[A-Za-z]+", name) for name in identifiers)


def test_it_follows_the_specification() -> None:
    schemathesis.openapi.from_dict(json.loads(PAGE.read_text(encoding="utf-8"))).validate()


def test_the_document_in_the_tree_is_that_of_the_code(found: Any) -> None:
    text = written(found) + "\n"
    if os.environ.get("UPDATE_DOCS") == "1":
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "UPDATE_DOCS=1 writes it anew"
    assert json.loads(text) == found


def written(value: Any, indent: str = "") -> str:
    """Return JSON with a line for each part that fits into one."""
    text = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(text) <= WIDTH or not isinstance(value, (dict, list)):
        return text
    inner = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {written(each, inner)}" for key, each in value.items()]
        begin, end = "{}"
    else:
        parts = [written(each, inner) for each in value]
        begin, end = "[]"
    lines = f",\n{inner}".join(parts)
    return f"{begin}\n{inner}{lines}\n{indent}{end}"


def test_every_reference_leads_somewhere(found: Any) -> None:
    targets = set(references(found))
    assert len(targets) > 20
    for target in targets:
        place: Any = found
        assert target.startswith("#/")
        for word in target.removeprefix("#/").split("/"):
            place = place[word]


def test_parameters_and_schemas_are_well_formed(found: Any) -> None:
    every = [*found["components"]["schemas"].values()]
    for path, _, operation in operations(found):
        parameters = parameters_of(found, operation)
        names = [each["name"] for each in parameters]
        assert len(set(names)) == len(names), path
        for each in parameters:
            assert each["in"] == ("path" if "{" + each["name"] + "}" in path else "query")
            assert each["required"] is True or each["in"] == "query"
            assert each["description"].endswith(".")
            assert ("style" in each) == (each["schema"].get("type") == "array")
            every.append(each["schema"])
        for response in operation["responses"].values():
            every += [each["schema"] for each in response.get("content", {}).values()]
    for schema in [part for each in every for part in schemas(each)]:
        kind = schema.get("type", [])
        assert set([kind] if isinstance(kind, str) else kind) <= TYPES
        assert set(schema.get("required", ())) <= set(schema.get("properties", ()))
        assert kind != "array" or "items" in schema


def test_it_covers_every_route_parameter_and_role(found: Any) -> None:
    with short_dir() as directory, world(directory, empty=True) as nothing:
        executor = ReadExecutor()
        try:
            routes = Api([*nothing.parts.values()], executor, access_by("x")).routes()
        finally:
            executor.close()
    served = {
        (getattr(route, "path", "").removeprefix("/api/performance"), method.lower())
        for route in routes
        for method in getattr(route, "methods", ())
        if method != "HEAD"
    }
    served -= {("", "get")}  # The index, which stands in the document under its path with a slash.
    assert served == {(path, method) for path, item in found["paths"].items() for method in item}
    assert len(served) == sum(len(endpoint.paths) for endpoint in ENDPOINTS) > 25
    for endpoint in ENDPOINTS:
        for path in endpoint.paths:
            operation = found["paths"][path][endpoint.method.lower()]
            documented = [each["name"] for each in parameters_of(found, operation)]
            assert documented == [each.name for each in endpoint.parameters]
            assert bool(operation["security"]) == (endpoint.role is not Role.ANYONE)
            assert ("requestBody" in operation) == (endpoint.takes is not None)


def test_a_default_is_a_value_that_its_parameter_takes() -> None:
    moment = Moment(0.0, UTC)
    every: dict[tuple[str, str], Parameter[Any]] = {
        (endpoint.paths[0], each.name): each
        for endpoint in ENDPOINTS
        for each in endpoint.parameters
    }
    with_default = 0
    for parameter in every.values():
        default = parameter.schema().get("default")
        if default is not None:
            text = ",".join(default) if isinstance(default, list) else str(default)
            assert parameter.read(text, moment) == parameter.absent
            with_default += 1
    assert with_default > 40


@pytest.mark.parametrize(
    "endpoint",
    [
        each
        for each in ENDPOINTS
        if each.bodies and each.method == "GET" and each.of in World.PARTS
        if "{" not in each.paths[0]
    ],
    ids=lambda each: each.paths[0],
)
def test_an_answer_has_the_form_that_is_documented(days: World, endpoint: ApiEndpoint) -> None:
    path = endpoint.paths[0]
    ranged = any(each.name == "from" for each in endpoint.parameters)
    query: dict[str, object] = {"from_": START_S, "to": END_S} if ranged else {}
    queries = [{**query, **NEEDED.get(path, {})}]
    if path == "/metrics/history":
        queries.append({**query, "groupBy": "route"})
    for body, each in zip(endpoint.bodies, queries, strict=True):
        answer = days.ask(path, **each)
        # Converted strictly, and the same again: no key is missing, unknown, or of another type.
        assert msgspec.to_builtins(msgspec.convert(answer, body, strict=True)) == answer


def sections() -> list[str]:
    """Return the sections of the pages of the documentation."""
    pages = [page.read_text(encoding="utf-8") for page in sorted(PAGE.parent.rglob("*.md"))]
    return [part for page in pages for part in page.split("\n## ")]


def test_the_pages_name_every_path_parameter_and_code() -> None:
    every = sections()
    shared = "".join(
        part for part in every if part.startswith(("Parameters of every read", "Steps"))
    )
    missing = []
    for endpoint in ENDPOINTS:
        path = endpoint.paths[0] if endpoint.paths[0] != "/" else BASE
        named = re.compile(rf"\b{endpoint.method}(, [A-Z]+)* (\S+, )*{re.escape(path)}(?![\w/{{-])")
        own = "".join(part for part in every if named.search(part))
        if not own:
            missing.append(f"{endpoint.method} {path}")
        missing += [
            f"{each.name} of {endpoint.method} {path}"
            for each in endpoint.parameters
            if own and each.place != "path"
            if not re.search(rf"`[^`\n]*\b{each.name}\b", own + shared)
        ]
    assert missing == [], "no page in docs/ names these"
    (table,) = [part for part in every if part.startswith("What there is")]
    assert {each.paths[0] for each in ENDPOINTS} <= set(re.findall(r"`(/[^`]*)`", table))
    for code in ("too_much", "bad_parameter", "unauthorized", "busy", "not_found"):
        assert any(f"`{code}`" in part for part in every)
