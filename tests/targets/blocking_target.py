"""A bare ASGI app, one of whose handlers holds up the event loop."""

import time
from typing import Any

#: Long enough that a reading a second shows 2.5 s of it while it lasts, on a busy machine, too.
BLOCK_S = 5.8


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once, `/block` after it has slept where it must not."""
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    if scope["path"] == "/block":
        time.sleep(BLOCK_S)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
