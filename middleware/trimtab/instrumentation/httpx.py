"""httpx: what `Client.send` and `AsyncClient.send` take; every way to make a request ends there."""

from collections.abc import Callable
from functools import wraps
from time import monotonic_ns
from types import ModuleType
from typing import Any

from trimtab.instrumentation.calls import DEFAULT_PORTS, book_call
from trimtab.instrumentation.patching import Patches

__all__ = ["patch"]


def patch(module: ModuleType, patches: Patches) -> None:
    """Patch the module `httpx`."""
    patches.replace(module.Client, "send", _send)
    patches.replace(module.AsyncClient, "send", _send_async)


def _send(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        start_ns = monotonic_ns()
        try:
            response = original(self, *args, **kwargs)
        except BaseException as error:
            _book(args, kwargs, start_ns, None, type(error))
            raise
        _book(args, kwargs, start_ns, response, None)
        return response

    return send


def _send_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        start_ns = monotonic_ns()
        try:
            response = await original(self, *args, **kwargs)
        except BaseException as error:
            _book(args, kwargs, start_ns, None, type(error))
            raise
        _book(args, kwargs, start_ns, response, None)
        return response

    return send


def _book(
    args: Any, kwargs: Any, start_ns: int, response: Any, error: type[BaseException] | None
) -> None:
    try:
        request = args[0] if args else kwargs["request"]
        method, url = request.method, request.url
        host = url.host, url.port or DEFAULT_PORTS.get(url.scheme, 0)
        status = 0 if response is None else response.status_code
    except Exception:  # noqa: BLE001 - httpx itself has refused a malformed one
        return
    book_call(method, host, start_ns, status, error)
