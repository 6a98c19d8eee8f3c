"""The app of the matrix without a framework, on WSGI: it says its templates itself."""

from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Route by hand."""
    path = environ.get("PATH_INFO", "")
    status = "200 OK"
    if path.startswith("/items/"):
        environ["trimtab.route"] = "/items/{item_id}"
        parts = [f"item {path[7:]}".encode()]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, parts = "405 Method Not Allowed", [b"Method Not Allowed"]
    elif path.startswith("/api/v1/users/"):
        environ["trimtab.route"] = "/api/v1/users/{name}"
        parts = [f"user {path[14:]}".encode()]
    elif path == "/boom":
        environ["trimtab.route"] = path
        raise RuntimeError("boom")
    elif path == "/stream":
        environ["trimtab.route"] = path
        parts = [b"one ", b"two ", b"three"]
    else:
        status, parts = "404 Not Found", [b"Not Found"]
    start_response(status, [("Content-Type", "text/plain")])
    return iter(parts) if path == "/stream" else parts
