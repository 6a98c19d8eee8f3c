"""The table of endpoints as routes of Starlette: who may, what was asked, what answers.

Every answer but the OpenAPI document has the envelope, and every request passes the same checks.
"""

import inspect
import logging
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from trimtab_collector.api.encodings import PACKINGS, best_coding, packed
from trimtab_collector.api.endpoint import BASE, ApiEndpoint
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.executor import ReadExecutor
from trimtab_collector.api.lost import no_such_path
from trimtab_collector.api.shared import SharedAnswers
from trimtab_collector.api.taking import Bodies
from trimtab_collector.auth.access import Access
from trimtab_collector.contract.callers import NOBODY, Page, Reply, Role, vouch
from trimtab_collector.contract.errors import JSON_HEADERS, ApiError, failure, success
from trimtab_collector.contract.languages import LANG, accepted
from trimtab_collector.contract.parameters import RANGE, Parameters, parse
from trimtab_collector.storage.store import TooMuchError
from trimtab_core.logs import RateLimited

__all__ = ["Api"]

logger = logging.getLogger("trimtab.api")

#: shorter ranges are not shared: their answers change without a commit
_LIVE_S: Final = 60
#: the oldest answer that is shared with those who take one
_OLDEST_S: Final = 60.0
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?![^\s,])", re.IGNORECASE)


class _Packed(NamedTuple):
    """A body, and the content coding that it is in, if any."""

    body: bytes
    coding: str

    @property
    def headers(self) -> dict[str, str]:
        coded = {"content-encoding": self.coding} if self.coding else {}
        return {"vary": "accept-encoding", **coded}


class Api:
    """The API as Starlette routes and exception handlers; loop only."""

    def __init__(
        self,
        parts: Sequence[Any],
        executor: ReadExecutor,
        access: Access,
        endpoints: Sequence[ApiEndpoint] = ENDPOINTS,
        clock: Callable[[], float] = time.time,
        shared: SharedAnswers | None = None,
    ) -> None:
        """Ask parts by their class, which `of` names in a row of the table.

        Without shared, every answer is computed for itself.
        """
        self._parts = {type(part): part for part in parts}
        self._executor = executor
        self._access = access
        self._clock = clock
        self._shared = shared
        #: answers for those without a token, which have no parameters
        self._for_anyone = SharedAnswers(executor, apart=True)
        self._log = RateLimited(logger)
        self._bodies = Bodies()
        self._bodies_of_anyone = Bodies.of_anyone()
        #: path -> method -> what answers
        self._table: dict[str, dict[str, ApiEndpoint]] = {}
        for endpoint in endpoints:
            for path in endpoint.paths:
                self._table.setdefault(BASE + path, {})[endpoint.method] = endpoint

    def routes(self) -> list[BaseRoute]:
        """Return a route for each path of the table; its index is also at the root."""
        index = self._table.get(f"{BASE}/", {})
        table = {**self._table, BASE: index, "/": index} if index else self._table
        return [
            Route(path, self._dispatch(methods), methods=list(methods))
            for path, methods in table.items()
        ]

    def exception_handlers(self) -> Mapping[Any, Any]:
        """Return what answers for requests that no route takes or that fail."""
        return {HTTPException: self._refused, Exception: self._failed}

    def _dispatch(
        self, methods: Mapping[str, ApiEndpoint]
    ) -> Callable[[Request], Awaitable[Response]]:
        handlers = {method: self._handler(endpoint) for method, endpoint in methods.items()}

        async def handle(request: Request) -> Response:
            # Starlette answers HEAD wherever GET is.
            return await handlers["GET" if request.method == "HEAD" else request.method](request)

        return handle

    def _handler(self, endpoint: ApiEndpoint) -> Callable[[Request], Awaitable[Response]]:
        anyone = endpoint.role is Role.ANYONE and endpoint.method == "GET"

        async def handle(request: Request) -> Response:
            authorization = request.headers.get("authorization", "")
            if anyone and self._access.known(authorization) is None:
                compute = partial(self._of_anyone, endpoint)
                return _response(200, await self._for_anyone.get(endpoint.paths[0], compute, by=""))
            try:
                found = await self._answer(endpoint, request)
            except ApiError as error:
                return _response(error.status, failure(error), error.headers)
            except sqlite3.OperationalError as error:
                refusal = self._unavailable(error)
                return _response(503, failure(refusal), refusal.headers)
            except TooMuchError as error:
                return _response(422, failure(ApiError(422, "too_much", str(error))))
            if isinstance(found, _Packed):
                return _response(endpoint.status, found.body, found.headers)
            if isinstance(found, Page):
                return _page(found)
            if isinstance(found, Reply):
                return _response(found.status, _body(endpoint, found.data), found.headers)
            return _response(endpoint.status, _body(endpoint, found))

        return handle

    def _of_anyone(self, endpoint: ApiEndpoint) -> bytes:
        part = self._parts[endpoint.of]
        return _body(endpoint, endpoint.read(part, parse(RANGE, (), self._clock())))

    async def _answer(self, endpoint: ApiEndpoint, request: Request) -> Any:
        """Check one request and return what the endpoint computes."""
        caller = self._access.check(endpoint.role, request.headers.get("authorization", ""))
        if caller is not NOBODY:
            vouch(request.scope, caller.id)
        bodies = self._bodies_of_anyone if endpoint.role is Role.ANYONE else self._bodies
        parameters = replace(
            self._parameters(endpoint, request),
            body=None if endpoint.takes is None else await bodies.read(request, endpoint.takes),
            caller=caller,
            address=request.client.host if request.client else "",
            secure=request.url.scheme == "https",
            headers=dict(request.headers),
        )
        part = self._parts[endpoint.of]
        if self._shared is not None and endpoint.is_shared and not _is_live(parameters):
            return await self._share(self._shared, endpoint, parameters, caller.id)
        if inspect.iscoroutinefunction(endpoint.read):
            return await endpoint.read(part, parameters)
        if endpoint.method == "GET" or endpoint.computes:
            return await self._executor.run(endpoint.read, part, parameters, by=caller.id)
        try:
            return await self._executor.change(endpoint.read, part, parameters)
        finally:
            # Who changes something sees it with the next answer.
            if self._shared is not None:
                self._shared.renew()

    async def _share(
        self, shared: SharedAnswers, endpoint: ApiEndpoint, parameters: Parameters, caller: str
    ) -> "_Packed":
        """Return an answer that others may have asked for, packed as the client takes it."""
        headers = parameters.headers
        coding = best_coding(headers.get("accept-encoding", ""), PACKINGS)
        key = (endpoint.paths[0], coding, *sorted(parameters.given.items()))
        # What is not in the key is not there to depend on.
        alike = replace(parameters, headers={}, caller=NOBODY, address="", secure=False)
        compute = partial(_encoded, endpoint, self._parts[endpoint.of], alike, coding)
        oldest_s = _oldest_s(headers.get("cache-control", ""))
        return _Packed(await shared.get(key, compute, caller, oldest_s), coding)

    def _parameters(self, endpoint: ApiEndpoint, request: Request) -> Parameters:
        now_s = self._clock()
        if not endpoint.parameters:
            return parse(RANGE, (), now_s)
        pairs = [*request.path_params.items(), *request.query_params.multi_items()]
        if LANG in endpoint.parameters and LANG.name not in request.query_params:
            # From here on it is a parameter like the others, and in the key of what is shared.
            pairs.append((LANG.name, accepted(request.headers.get("accept-language", ""))))
        # Of endpoints that have no range there is none to choose.
        declared = endpoint.parameters
        declared = declared if RANGE[0] in declared else (*declared, *RANGE)
        return parse(declared, pairs, now_s, endpoint.back)

    def _unavailable(self, error: sqlite3.OperationalError) -> ApiError:
        """Return the refusal where the disk is full or the state is locked; raises others again."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL):
            raise error
        self._log.warning("state", "a request was not carried out: %s", error)
        return ApiError(
            503,
            "unavailable",
            f"the collector cannot store anything now ({error}): try again",
            headers={"Retry-After": "5"},
        )

    async def _refused(self, request: Request, error: HTTPException) -> Response:
        path, method = request.url.path, request.method
        if error.status_code == 405:
            allowed = ", ".join(sorted((error.headers or {}).get("Allow", "GET").split(", ")))
            refusal = ApiError(
                405,
                "method_not_allowed",
                f"expected {allowed} on {path:.120}, got {method:.20}",
                headers={"Allow": allowed},
            )
        elif error.status_code == 404:
            refusal = no_such_path(path, self._table)
        else:
            refusal = ApiError(400, "bad_request", str(error.detail))
        return _response(refusal.status, failure(refusal), refusal.headers)

    async def _failed(self, request: Request, error: Exception) -> Response:
        # The server logs the error with its traceback; the answer keeps it to itself.
        refusal = ApiError(
            500,
            "internal",
            "the collector failed at this: its log says why",
            {"path": request.url.path},
        )
        return _response(500, failure(refusal))


def _is_live(parameters: Parameters) -> bool:
    """Return whether a range may be answered from summaries of the last seconds."""
    return parameters.to_s - parameters.from_s <= _LIVE_S


def _oldest_s(cache_control: str) -> float:
    """Return how old an answer may be that a client takes (RFC 9111, section 5.2.1.1)."""
    match = _MAX_AGE.search(cache_control[:200])
    return min(float(match[1]), _OLDEST_S) if match else 0.0


def _encoded(endpoint: ApiEndpoint, part: Any, parameters: Parameters, coding: str) -> bytes:
    return packed(_body(endpoint, endpoint.read(part, parameters)), coding)


def _body(endpoint: ApiEndpoint, found: Any) -> bytes:
    return success(found) if endpoint.bodies else msgspec.json.encode(found)


def _page(page: Page) -> Response:
    policy = f"{page.policy}; frame-ancestors 'none'"
    headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": policy}
    return _response(200, page.html.encode(), headers)


def _response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    own = {name.decode(): value.decode() for name, value in JSON_HEADERS}
    return Response(body, status, {**own, **(headers or {})})
