"""The app of the matrix, in Falcon on WSGI."""

from typing import Any

import falcon


class Item:
    """Items by their number."""

    def on_get(self, req: Any, resp: Any, item_id: int) -> None:
        """Answer with the item's number."""
        resp.text = f"item {item_id}"


class Users:
    """Users by their name."""

    def on_get_one(self, req: Any, resp: Any, name: str) -> None:
        """Answer with the user's name."""
        resp.text = f"user {name}"


class Boom:
    """What fails."""

    def on_get(self, req: Any, resp: Any) -> None:
        """Fail."""
        raise RuntimeError("boom")


class Stream:
    """What comes in parts."""

    def on_get(self, req: Any, resp: Any) -> None:
        """Answer in three parts."""
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = iter((b"one ", b"two ", b"three"))


app = falcon.App()
app.add_route("/items/{item_id:int}", Item())
app.add_route("/api/v1/users/{name}", Users(), suffix="one")
app.add_route("/boom", Boom())
app.add_route("/stream", Stream())
