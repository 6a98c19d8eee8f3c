"""Calls to other services over HTTP: as measures, and in the request that waits for them.

One call of the library is one call here, redirects and retries of its own included: that is what
the app waited for. It ends when the library hands the response over, so that a streamed body does
not count, and any other does. Method, host, port and status are all that is kept of it.
"""

from time import monotonic_ns
from typing import Final

from trimtab.context import context_variable
from trimtab.metrics.measures import Measure
from trimtab.runtime import PROCESS
from trimtab.tables import NameTable
from trimtab_core.logs import app_logger
from trimtab_core.measures import HISTOGRAM, OTHER

__all__ = ["DEFAULT_PORTS", "book_call", "error_type"]

log = app_logger("trimtab.instrument")

#: ports that a URL does not name
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: hosts and ports kept apart in a process; where all of them are in use, further ones are `other`
MAX_HOSTS: Final = 200
#: measures at hand for a host; beyond it they are found again by their attributes
_MAX_KEPT: Final = 100
#: what HTTP calls a method; anything else could be any text
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)

_durations: Final = PROCESS.measures.family("http.client.request.duration", HISTOGRAM, "s")


class _Host:
    """A host and port that were called, and what their calls add to."""

    __slots__ = ("address", "kept", "port")

    def __init__(self, address: str, port: str) -> None:
        self.address = address
        self.port = port
        #: by method, status and class of the exception: the measure, and the text of a span
        self.kept: dict[tuple[str, int, type | None], tuple[Measure, str]] = {}


_hosts: Final[NameTable[tuple[str, int], _Host]] = NameTable(MAX_HOSTS)
_others: Final = _Host(OTHER, OTHER)
PROCESS.join(_hosts)


def error_type(error: type[BaseException]) -> str:
    """Return what a measure says of an exception's class."""
    return error.__name__


def book_call(
    method: str,
    host: tuple[str, int],
    start_ns: int,
    status: int = 0,
    error: type[BaseException] | None = None,
) -> None:
    """Book a call that began at start_ns of the monotonic clock and has just ended; about 1 us.

    host is its address and port, the port 0 where nobody can tell it; status is 0 when an exception
    of the class `error` came instead of a response. Never raises.
    """
    duration_ns = monotonic_ns() - start_ns
    try:
        called = _hosts.get(host) or _hosts.add(host, lambda: _host(*host)) or _others
        kept = called.kept.get((method, status, error))
        measure, text = kept or _new(called, method, status, error)
        measure.add(duration_ns / 1e9)
        context = context_variable.get()
        if context is not None:
            context.add_external(duration_ns)
            context.add_span("external", start_ns, duration_ns, text)
    except Exception:
        log.debug("a call over HTTP is not measured", exc_info=True)


def _host(address: str, port: int) -> _Host:
    return _Host(address, str(port) if port else "")


def _new(
    host: _Host, method: str, status: int, error: type[BaseException] | None
) -> tuple[Measure, str]:
    verb = method if method in _METHODS else "_OTHER"
    attributes = [("http.request.method", verb), ("server.address", host.address)]
    if host.port:
        attributes.append(("server.port", host.port))
    if status:
        attributes.append(("http.response.status_code", str(status)))
    if error is not None:
        attributes.append(("error.type", error_type(error)))
    elif status >= 400:
        attributes.append(("error.type", str(status)))
    found = _durations.at(tuple(sorted(attributes))), f"{verb} {host.address}"
    if not found[0].is_other:
        if len(host.kept) >= _MAX_KEPT:
            host.kept.clear()
        host.kept[method, status, error] = found
    return found
