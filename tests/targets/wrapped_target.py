"""A bare ASGI app that wraps itself, and knows no lifespan."""

from collections.abc import Awaitable, Callable
from typing import Any

from trimtab import Middleware


async def answer(
    scope: dict[str, Any], receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Answer every request; refuse everything else, the lifespan included."""
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"item"})


app = Middleware(answer)  # type: ignore[arg-type]
