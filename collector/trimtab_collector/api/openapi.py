"""The API as an OpenAPI 3.1 document, made of the table of endpoints and the bodies.

It follows the OpenAPI Specification 3.1.0; schemas of bodies are those of msgspec (JSON Schema
2020-12).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, Final

import msgspec

from trimtab_collector.api.endpoint import BASE, ApiEndpoint, summary_of
from trimtab_collector.contract.body import Body
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.errors import ErrorBody
from trimtab_collector.contract.kinds import Parameter
from trimtab_collector.contract.parameters import FROM, BackBy

__all__ = ["document"]

_SCHEMAS: Final = "#/components/schemas/"
_TOKEN: Final = "bearer"  # noqa: S105 - the name of a scheme
_TIMESTAMP: Final = {"type": "string", "format": "date-time"}
#: status of a refusal -> when it comes
_REFUSALS: Final = {
    "400": "The body is not JSON.",
    "401": "Whoever asks is not known: the details say why (none, unknown, expired, revoked).",
    "403": "The caller lacks the role.",
    "404": "There is nothing of that name.",
    "409": "It cannot be so beside what there is; the message says why.",
    "413": "The body is too large.",
    "414": "Path and query are longer than 8 KiB.",
    "415": "The body is not declared as JSON.",
    "422": "A parameter or a part of the body is not understood, or the answer is over a limit.",
    "429": "Too many tries failed; Retry-After says when to ask again.",
    "500": "The collector failed; its log says why.",
    "503": "Too many reads, changes or log-ins wait; Retry-After says when to ask again.",
}


def document(endpoints: Sequence[ApiEndpoint]) -> dict[str, Any]:
    """Return the document, as built-in types."""
    bodies = dict.fromkeys(body for endpoint in endpoints for body in endpoint.bodies)
    taken = dict.fromkeys(each.takes for each in endpoints if each.takes is not None)
    _, schemas = msgspec.json.schema_components(
        [ErrorBody, *bodies, *taken], ref_template=_SCHEMAS + "{name}"
    )
    paths = _paths(endpoints)
    shared = _shared(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "trimtab",
            "version": metadata.version("trimtab"),
            "description": "Performance of Python web services. Times are milliseconds, rates per "
            "second, sizes bytes, shares 0 to 1; what was not measured is null.",
        },
        "servers": [{"url": BASE}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": shared,
            "responses": {status: _refusal(text) for status, text in _REFUSALS.items()},
            "securitySchemes": {_TOKEN: {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(endpoints: Sequence[ApiEndpoint]) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        for path in endpoint.paths:
            method = endpoint.method.lower()
            paths.setdefault(path, {})[method] = _operation(endpoint, path, method)
    return paths


def _shared(paths: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put references in the place of parameters that several operations have; return these."""
    operations = [operation for methods in paths.values() for operation in methods.values()]
    every = [each for operation in operations for each in operation["parameters"]]
    texts = [msgspec.json.encode(each) for each in every]
    keys: dict[bytes, str] = {}
    shared: dict[str, Any] = {}
    for text, each in zip(texts, every, strict=True):
        if texts.count(text) > 1 and text not in keys:
            # Parameters of one name differ in what they say, or in their default.
            alike = sum(key.partition("-")[0] == each["name"] for key in shared)
            keys[text] = f"{each['name']}-{alike + 1}" if alike else each["name"]
            shared[keys[text]] = each
    for operation in operations:
        operation["parameters"] = [
            {"$ref": f"#/components/parameters/{key}"} if key else each
            for each in operation["parameters"]
            for key in [keys.get(msgspec.json.encode(each), "")]
        ]
    return shared


def _operation(endpoint: ApiEndpoint, path: str, method: str) -> dict[str, Any]:
    words = re.split("[^a-zA-Z]+", path.removesuffix(".json") if path != "/" else "index")
    impossible = {*_impossible(endpoint)} - {*map(str, endpoint.refuses)}
    statuses = [status for status in _REFUSALS if status not in impossible]
    takes = endpoint.takes
    content = {"application/json": {"schema": {"$ref": _SCHEMAS + takes.__name__}}} if takes else {}
    return {
        **({"requestBody": {"required": True, "content": content}} if takes else {}),
        "operationId": method + "".join(map(str.capitalize, words)),
        "summary": summary_of(endpoint),
        "parameters": [_parameter(each, endpoint) for each in endpoint.parameters],
        "responses": {
            str(endpoint.status): {
                "description": _described(endpoint.bodies),
                "content": {
                    "application/json": {"schema": _answer(endpoint.bodies)},
                    **({"text/html": {"schema": {"type": "string"}}} if endpoint.html else {}),
                },
            },
            **{status: {"$ref": f"#/components/responses/{status}"} for status in statuses},
        },
        "security": [] if endpoint.role is Role.ANYONE else [{_TOKEN: []}],
    }


def _impossible(endpoint: ApiEndpoint) -> Iterable[str]:
    """Yield the refusals that an endpoint never answers."""
    if endpoint.role is Role.ANYONE:
        yield "401"
        if endpoint.takes is None:
            yield "503"
    if endpoint.role is not Role.ADMIN:
        yield "403"
    if endpoint.takes is None:
        yield from ("400", "413", "415")
    if all(each.place != "path" for each in endpoint.parameters):
        yield "404"
    # Only where a row says so.
    yield from ("409", "429")
    if not endpoint.parameters and endpoint.takes is None:
        yield "422"


def _described(bodies: Sequence[type[Body]]) -> str:
    texts = ((body.__doc__ or body.__name__).partition("\n")[0] for body in bodies)
    return " Or: ".join(texts) or "The document."


def _answer(bodies: Sequence[type[Body]]) -> dict[str, Any]:
    """Return the schema of an answer: its envelope around one of the bodies."""
    if not bodies:
        return {"type": "object"}
    references = [{"$ref": _SCHEMAS + body.__name__} for body in bodies]
    return {
        "type": "object",
        "required": ["success", "data", "timestamp"],
        "properties": {
            "success": {"const": True},
            "data": references[0] if len(references) == 1 else {"anyOf": references},
            "timestamp": _TIMESTAMP,
        },
    }


def _refusal(text: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["success", "error", "timestamp"],
        "properties": {
            "success": {"const": False},
            "error": {"$ref": _SCHEMAS + ErrorBody.__name__},
            "timestamp": _TIMESTAMP,
        },
    }
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _parameter(parameter: Parameter[Any], endpoint: ApiEndpoint) -> Mapping[str, Any]:
    schema = parameter.schema()
    about = parameter.about
    if parameter is FROM:
        if isinstance(endpoint.back, BackBy):
            backs = (f"{name} -{back_s}s" for name, back_s in endpoint.back.seconds.items())
            about += f" Without it, by {endpoint.back.parameter.name}: {', '.join(backs)}."
        else:
            about += f" Without it, {endpoint.back} seconds before the end."
    # A list that has no commas between is repeated.
    explode = parameter.between != ","
    lists = {"style": "form", "explode": explode} if parameter.is_list else {}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": about,
        "required": parameter.required,
        "schema": schema,
        **lists,
    }
