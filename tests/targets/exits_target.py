"""One app, as ASGI and as WSGI, whose paths block the process or end it."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from trimtab import WSGIMiddleware


def _do(path: str) -> bytes:
    if path == "/exit":
        os._exit(3)
    if path in ("/block", "/stuck"):
        sys.stdout.write("blocked\n")
        sys.stdout.flush()
        time.sleep(1 if path == "/block" else 600)
    return b"done"


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer every request, in the loop itself; take part in the lifespan."""
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
    scope["trimtab.route"] = "/{what}"
    body = _do(scope["path"])
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request."""
    environ["trimtab.route"] = "/{what}"
    body = _do(environ["PATH_INFO"])
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def make() -> Callable[..., Iterable[bytes]]:
    """Return the WSGI app: a factory."""
    return wsgi


#: What a server takes that is told no name, wrapped in code; nothing starts before a request.
application = WSGIMiddleware(wsgi)
