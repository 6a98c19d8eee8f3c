"""The app of the matrix, in Starlette."""

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket


async def item(request: Request) -> PlainTextResponse:
    """Answer with the item's number."""
    return PlainTextResponse(f"item {request.path_params['item_id']}")


async def user(request: Request) -> PlainTextResponse:
    """Answer with the user's name."""
    return PlainTextResponse(f"user {request.path_params['name']}")


async def boom(request: Request) -> PlainTextResponse:
    """Fail."""
    raise RuntimeError("boom")


async def stream(request: Request) -> StreamingResponse:
    """Answer in three parts."""

    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two ", b"three"):
            yield part

    return StreamingResponse(parts(), media_type="text/plain")


async def echo(websocket: WebSocket) -> None:
    """Send one text back."""
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


users = Router([Route("/users/{name}", user)])
app = Starlette(
    routes=[
        Route("/items/{item_id:int}", item),
        Mount("/api", Router([Mount("/v1", users)])),
        Route("/boom", boom),
        Route("/stream", stream),
        WebSocketRoute("/ws", echo),
    ]
)
