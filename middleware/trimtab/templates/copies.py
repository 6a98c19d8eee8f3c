"""Scopes that were copied on their way to the router, so that what it leaves there is not seen.

The list under `CELL_KEY` is the same one in every copy. To leave the router's scope in it would
cost every request, so a router is watched only when a request ended without a route and no router
had seen its scope: for a few requests, and for good once one of them proves that there are copies.
Each watch that proves nothing doubles the number of such requests before the next.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from trimtab.templates.places import CELL_KEY, ENVIRON_KEY

__all__ = ["prove_copies", "suspect_copies"]

#: requests that a watch lasts without a proof
_LOOKS: Final = 100
#: Module, class and method that gets the scope or environ of a request.
_ROUTERS: Final = (
    ("starlette.routing", "Router", "__call__"),
    ("litestar._asgi.asgi_router", "ASGIRouter", "__call__"),
    ("flask.app", "Flask", "request_context"),
)


class _Watch:
    """State of the process; threads may race for it at the price of a look more or less."""

    def __init__(self) -> None:
        self.proven = False
        self.looks = 0
        self.skip = 0
        self.next_skip = 1
        self.watched: list[tuple[Any, str, Any, Any]] = []


_watch = _Watch()


def suspect_copies() -> None:
    """Watch the routers for a while: a request has ended and none of them has left its route."""
    if _watch.proven or _watch.looks > 0:
        return
    if _watch.skip > 0:
        _watch.skip -= 1
        return
    _watch.skip, _watch.next_skip = _watch.next_skip, _watch.next_skip * 2
    _watch.looks = _LOOKS
    for module, owner, name in _ROUTERS:
        router = getattr(sys.modules.get(module), owner, None)
        original = vars(router).get(name) if isinstance(router, type) else None
        if original is not None and not hasattr(original, "trimtab"):
            replacement = (_asgi if name == "__call__" else _wsgi)(original)
            replacement.trimtab = True  # type: ignore[attr-defined]
            setattr(router, name, replacement)
            _watch.watched.append((router, name, original, replacement))


def prove_copies() -> None:
    """Keep watching: a copy has been seen."""
    _watch.proven = True


def _asgi(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def watched(self: Any, scope: Any, receive: Any, send: Any) -> None:
        _note(scope, scope.get(CELL_KEY))
        await original(self, scope, receive, send)

    return watched


def _wsgi(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def watched(self: Any, environ: Any) -> Any:
        _note(environ, environ.get(ENVIRON_KEY))
        return original(self, environ)

    return watched


def _note(place: Any, cell: Any) -> None:
    if type(cell) is list:
        cell.append(place)
    if not _watch.proven:
        _watch.looks -= 1
        if _watch.looks <= 0:
            _unwatch()


def _unwatch() -> None:
    while _watch.watched:
        router, name, original, replacement = _watch.watched.pop()
        # Code that has replaced it in the meantime goes on calling ours, which then costs little.
        if vars(router).get(name) is replacement:
            setattr(router, name, original)
