"""requests: what `Session.send` takes; the sends of its redirects are part of the first."""

import threading
from collections.abc import Callable
from functools import wraps
from time import monotonic_ns
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from trimtab.instrumentation.calls import DEFAULT_PORTS, book_call
from trimtab.instrumentation.patching import Patches

__all__ = ["patch"]

#: whether a thread is inside a send
_sending: Final = threading.local()


def patch(module: ModuleType, patches: Patches) -> None:
    """Patch the module `requests.sessions`."""
    patches.replace(module.Session, "send", _send)


def _send(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(_sending, "is_on", False):
            return original(self, *args, **kwargs)
        _sending.is_on = True
        start_ns = monotonic_ns()
        try:
            response = original(self, *args, **kwargs)
        except BaseException as error:
            _book(args, kwargs, start_ns, None, type(error))
            raise
        finally:
            _sending.is_on = False
        _book(args, kwargs, start_ns, response, None)
        return response

    return send


def _book(
    args: Any, kwargs: Any, start_ns: int, response: Any, error: type[BaseException] | None
) -> None:
    try:
        request = args[0] if args else kwargs["request"]
        method, url = request.method, urlsplit(request.url)
        host = url.hostname or "", url.port or DEFAULT_PORTS.get(url.scheme, 0)
        status = 0 if response is None else response.status_code
    except Exception:  # noqa: BLE001 - requests itself has refused a malformed one
        return
    book_call(method, host, start_ns, status, error)
