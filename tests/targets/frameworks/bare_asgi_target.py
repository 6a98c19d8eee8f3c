"""The app of the matrix without a framework: it says its templates itself."""

from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Route by hand; a lifespan is taken part in."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if scope["type"] == "websocket":
        await _websocket(scope, path, receive, send)
        return
    status, parts = 200, []
    if path.startswith("/items/"):
        scope["trimtab.route"] = "/items/{item_id}"
        if scope["method"] not in ("GET", "HEAD"):
            status, parts = 405, [b"Method Not Allowed"]
        else:
            parts = [f"item {path[7:]}".encode()]
    elif path.startswith("/api/v1/users/"):
        scope["trimtab.route"] = "/api/v1/users/{name}"
        parts = [f"user {path[14:]}".encode()]
    elif path == "/boom":
        scope["trimtab.route"] = path
        raise RuntimeError("boom")
    elif path == "/stream":
        scope["trimtab.route"] = path
        parts = [b"one ", b"two ", b"three"]
    else:
        status, parts = 404, [b"Not Found"]
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"text/plain")],
        }
    )
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": part is not parts[-1]})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _websocket(scope: dict[str, Any], path: str, receive: Any, send: Any) -> None:
    await receive()
    if path == "/ws":
        scope["trimtab.route"] = path
        await send({"type": "websocket.accept"})
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})
    await send({"type": "websocket.close"})
