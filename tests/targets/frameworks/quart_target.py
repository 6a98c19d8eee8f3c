"""The app of the matrix, in Quart."""

from collections.abc import AsyncIterator

from quart import Blueprint, Quart, Response, websocket

app = Quart(__name__)
api = Blueprint("api", __name__, url_prefix="/api")
users = Blueprint("users", __name__, url_prefix="/v1")


@app.get("/items/<int:item_id>")
async def item(item_id: int) -> str:
    """Answer with the item's number."""
    return f"item {item_id}"


@users.get("/users/<name>")
async def user(name: str) -> str:
    """Answer with the user's name."""
    return f"user {name}"


@app.get("/boom")
async def boom() -> str:
    """Fail."""
    raise RuntimeError("boom")


@app.get("/stream")
async def stream() -> Response:
    """Answer in three parts."""

    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two ", b"three"):
            yield part

    return Response(parts(), mimetype="text/plain")


@app.websocket("/ws")
async def echo() -> None:
    """Send one text back."""
    await websocket.send(await websocket.receive())


api.register_blueprint(users)
app.register_blueprint(api)
