"""The app of the matrix, in FastAPI."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

app = FastAPI()
api = APIRouter(prefix="/api")
users = APIRouter(prefix="/users")


@app.get("/items/{item_id}", response_class=PlainTextResponse)
def item(item_id: int) -> str:
    """Answer with the item's number."""
    return f"item {item_id}"


@users.get("/{name}", response_class=PlainTextResponse)
async def user(name: str) -> str:
    """Answer with the user's name."""
    return f"user {name}"


@app.get("/boom")
async def boom() -> None:
    """Fail."""
    raise RuntimeError("boom")


@app.get("/stream")
async def stream() -> StreamingResponse:
    """Answer in three parts."""

    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two ", b"three"):
            yield part

    return StreamingResponse(parts(), media_type="text/plain")


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    """Send one text back."""
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


api.include_router(users, prefix="/v1")
app.include_router(api)
