"""The table of endpoints as routes of Starlette: who may, what was asked, what answers.

Every answer but the OpenAPI document has the envelope, and every request passes the same checks.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from trimtab_collector.api.endpoint import BASE, ApiEndpoint
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.executor import KeptAnswer, ReadExecutor
from trimtab_collector.auth.access import Access, Role
from trimtab_collector.contract.errors import JSON_HEADERS, ApiError, failure, success
from trimtab_collector.contract.parameters import RANGE, parse
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import TooMuchError

__all__ = ["Api"]


class Api:
    """The API as Starlette routes and exception handlers; loop only."""

    def __init__(
        self,
        reader: StoreReader,
        executor: ReadExecutor,
        access: Access,
        endpoints: Sequence[ApiEndpoint] = ENDPOINTS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reader = reader
        self._executor = executor
        self._access = access
        self._endpoints = endpoints
        self._clock = clock
        self._methods = {
            BASE + path: " or ".join(endpoint.methods)
            for endpoint in endpoints
            for path in endpoint.paths
        }

    def routes(self) -> list[BaseRoute]:
        """Return a route for each path of the table."""
        return [
            Route(BASE + path, self._handler(endpoint), methods=list(endpoint.methods))
            for endpoint in self._endpoints
            for path in endpoint.paths
        ]

    def exception_handlers(self) -> Mapping[Any, Any]:
        """Return what answers for requests that no route takes or that fail."""
        return {HTTPException: self._refused, Exception: self._failed}

    def _handler(self, endpoint: ApiEndpoint) -> Callable[[Request], Awaitable[Response]]:
        kept = self._kept(endpoint) if endpoint.role is Role.ANYONE else None

        async def handle(request: Request) -> Response:
            authorization = request.headers.get("authorization", "")
            if kept is not None and not self._access.is_reader(authorization):
                return _response(200, await kept.get())
            try:
                found = await self._answer(endpoint, request)
            except ApiError as error:
                return _response(error.status, failure(error), error.headers)
            except TooMuchError as error:
                return _response(422, failure(ApiError(422, "too_much", str(error))))
            return _response(200, _body(endpoint, found))

        return handle

    def _kept(self, endpoint: ApiEndpoint) -> KeptAnswer:
        """Return the answer for those without a token: it has no parameters."""

        def compute() -> bytes:
            parameters = parse(RANGE, (), self._clock())
            return _body(endpoint, endpoint.read(self._reader, parameters))

        return KeptAnswer(self._executor, compute)

    async def _answer(self, endpoint: ApiEndpoint, request: Request) -> Any:
        """Check one request and return what the endpoint computes."""
        self._access.check(endpoint.role, request.headers.get("authorization", ""))
        now_s = self._clock()
        if endpoint.parameters:
            pairs = request.query_params.multi_items()
            parameters = parse(endpoint.parameters, pairs, now_s, endpoint.back)
        else:
            parameters = parse(RANGE, (), now_s)
        return await self._executor.run(endpoint.read, self._reader, parameters)

    async def _refused(self, request: Request, error: HTTPException) -> Response:
        path, method = request.url.path, request.method
        if error.status_code == 405:
            refusal = ApiError(
                405,
                "method_not_allowed",
                f"expected {self._methods.get(path, 'GET')} on {path:.120}, got {method:.20}",
                headers=error.headers,
            )
        elif error.status_code == 404:
            refusal = ApiError(
                404, "not_found", f"expected a path under {BASE}, got {path:.120}: see docs/api"
            )
        else:
            refusal = ApiError(error.status_code, "refused", str(error.detail))
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


def _body(endpoint: ApiEndpoint, found: Any) -> bytes:
    return success(found) if endpoint.bodies else msgspec.json.encode(found)


def _response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    own = {name.decode(): value.decode() for name, value in JSON_HEADERS}
    return Response(body, status, {**own, **(headers or {})})
