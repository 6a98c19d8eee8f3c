"""httpx: what `Client.send` and `AsyncClient.send` take; every way to make a request ends there.

Besides, how clients are made: how many, and with which limits. A client of one call has nobody to
share its connections with.
"""

import weakref
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice
from time import monotonic_ns
from types import ModuleType
from typing import Any, Final

from trimtab.instrumentation.calls import DEFAULT_PORTS, book_call
from trimtab.instrumentation.patching import Patches
from trimtab.runtime import PROCESS
from trimtab_core.logs import app_logger
from trimtab_core.measures import COUNTER, GAUGE

__all__ = ["gauges", "patch"]

log = app_logger("trimtab.instrument")

#: clients whose settings are looked at
_MOST_CLIENTS: Final = 100
#: a larger limit is none: httpcore takes sys.maxsize for it
_NO_LIMIT: Final = 2**31
_CREATED: Final = PROCESS.measures.family("trimtab.http.client.created", COUNTER, "{client}")
_SETTINGS: Final = {
    name: PROCESS.measures.family(f"trimtab.http.client.{name}", GAUGE, unit)
    for name, unit in {
        "timeout": "s",
        "max_connections": "{connection}",
        "max_keepalive": "{connection}",
        "keepalive_expiry": "s",
    }.items()
}

#: clients that live; and the settings of those that were made since gauges were read
_clients: "weakref.WeakSet[Any]" = weakref.WeakSet()
_recent: set[tuple[tuple[str, float], ...]] = set()


def patch(module: ModuleType, patches: Patches) -> None:
    """Patch the module `httpx`."""
    patches.replace(module.Client, "send", _send)
    patches.replace(module.AsyncClient, "send", _send_async)
    for client in (module.Client, module.AsyncClient):
        patches.replace(client, "__init__", _made)


def _made(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        try:
            _CREATED.at().add(1)
            _clients.add(self)
            if len(_recent) < _MOST_CLIENTS:
                _recent.add(tuple(_settings(self)))
        except Exception:
            log.debug("a client of httpx is not looked at", exc_info=True)

    return __init__


def _settings(client: Any) -> Iterator[tuple[str, float]]:
    """Yield time-out and limits of a client; -1 for none."""
    timeout = client.timeout
    times = (timeout.connect, timeout.read, timeout.write, timeout.pool)
    yield "timeout", -1.0 if None in times else float(max(times))
    # A transport of somebody else's making may have no pool.
    pool = getattr(getattr(client, "_transport", None), "_pool", None)
    for name, attribute in {
        "max_connections": "_max_connections",
        "max_keepalive": "_max_keepalive_connections",
        "keepalive_expiry": "_keepalive_expiry",
    }.items():
        if hasattr(pool, attribute):
            value = getattr(pool, attribute)
            yield name, -1.0 if value is None or value > _NO_LIMIT else float(value)


def gauges() -> None:
    """Add the settings of clients to their gauges; once per second, from any thread."""
    found = {tuple(_settings(each)) for each in islice(list(_clients), _MOST_CLIENTS)}
    found |= set(_recent)
    _recent.clear()
    for settings in found:
        for name, value in settings:
            _SETTINGS[name].at().add(value)


PROCESS.measures.before(gauges)


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
