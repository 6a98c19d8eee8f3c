"""The app of the matrix, in Litestar."""

from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, MediaType, Request, Router, WebSocket, get, websocket
from litestar.response import Stream


@get("/items/{item_id:int}", media_type=MediaType.TEXT)
async def item(request: Request[Any, Any, Any]) -> str:
    """Answer with the item's number."""
    return f"item {request.path_params['item_id']}"


@get("/users/{name:str}", media_type=MediaType.TEXT)
async def user(request: Request[Any, Any, Any]) -> str:
    """Answer with the user's name."""
    return f"user {request.path_params['name']}"


@get("/boom")
async def boom() -> None:
    """Fail."""
    raise RuntimeError("boom")


async def _parts() -> AsyncIterator[bytes]:
    for part in (b"one ", b"two ", b"three"):
        yield part


@get("/stream")
async def stream() -> Stream:
    """Answer in three parts."""
    return Stream(_parts(), media_type="text/plain")


@websocket("/ws")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    """Send one text back."""
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


users = Router("/v1", route_handlers=[user])
app = Litestar([item, Router("/api", route_handlers=[users]), boom, stream, echo])
