"""The app of the matrix, in Falcon on ASGI."""

from collections.abc import AsyncIterator
from typing import Any

import falcon
import falcon.asgi


class Item:
    """Items by their number."""

    async def on_get(self, req: Any, resp: Any, item_id: int) -> None:
        """Answer with the item's number."""
        resp.text = f"item {item_id}"


class Users:
    """Users by their name."""

    async def on_get_one(self, req: Any, resp: Any, name: str) -> None:
        """Answer with the user's name."""
        resp.text = f"user {name}"


class Boom:
    """What fails."""

    async def on_get(self, req: Any, resp: Any) -> None:
        """Fail."""
        raise RuntimeError("boom")


class Stream:
    """What comes in parts."""

    async def on_get(self, req: Any, resp: Any) -> None:
        """Answer in three parts."""

        async def parts() -> AsyncIterator[bytes]:
            for part in (b"one ", b"two ", b"three"):
                yield part

        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = parts()


class Echo:
    """What speaks WebSocket."""

    async def on_websocket(self, req: Any, ws: Any) -> None:
        """Send one text back."""
        await ws.accept()
        await ws.send_text(await ws.receive_text())
        await ws.close()


app = falcon.asgi.App()
app.add_route("/items/{item_id:int}", Item())
app.add_route("/api/v1/users/{name}", Users(), suffix="one")
app.add_route("/boom", Boom())
app.add_route("/stream", Stream())
app.add_route("/ws", Echo())
