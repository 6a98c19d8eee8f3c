"""Paths that are not measured at all, such as health checks: setting `exclude`.

A pattern is a path (`/healthz`) or the beginning of one (`/static/*`). The look costs only apps
that have set some; it sees the path as the client sent it, with what the server mounted before it.
"""

# Inner functions are made for each request: their annotations must not be evaluated there.
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from trimtab.templates import CELL_KEY, ENVIRON_KEY
from trimtab.types import ASGIApp, Environ, Receive, Scope, Send, StartResponse, WSGIApp

__all__ = ["excluding", "excluding_wsgi"]


def excluding(patterns: Sequence[str], app: ASGIApp, measured: ASGIApp) -> ASGIApp:
    """Return an app that hands excluded paths to app, all others to measured."""
    is_excluded = _matcher(patterns)

    async def trimtab_asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if "path" in scope and is_excluded(scope["path"]):
            # A wrapper inside must not measure it either.
            scope[CELL_KEY] = []
            await app(scope, receive, send)
        else:
            await measured(scope, receive, send)

    return trimtab_asgi


def excluding_wsgi(patterns: Sequence[str], app: WSGIApp, measured: WSGIApp) -> WSGIApp:
    """Return the same for WSGI."""
    is_excluded = _matcher(patterns)

    def trimtab_wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if is_excluded(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")):
            # A wrapper inside must not measure it either.
            environ[ENVIRON_KEY] = True
            return app(environ, start_response)
        return measured(environ, start_response)

    return trimtab_wsgi


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    whole = {pattern for pattern in patterns if not pattern.endswith("*")}
    beginnings = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))

    def is_excluded(path: str) -> bool:
        return path in whole or path.startswith(beginnings)

    return is_excluded
