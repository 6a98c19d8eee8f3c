"""The app of the matrix, in Flask."""

from collections.abc import Iterator

from flask import Blueprint, Flask, Response

app = Flask(__name__)
api = Blueprint("api", __name__, url_prefix="/api")
users = Blueprint("users", __name__, url_prefix="/v1")


@app.get("/items/<int:item_id>")
def item(item_id: int) -> str:
    """Answer with the item's number."""
    return f"item {item_id}"


@users.get("/users/<name>")
def user(name: str) -> str:
    """Answer with the user's name."""
    return f"user {name}"


@app.get("/boom")
def boom() -> str:
    """Fail."""
    raise RuntimeError("boom")


@app.get("/stream")
def stream() -> Response:
    """Answer in three parts."""

    def parts() -> Iterator[bytes]:
        yield from (b"one ", b"two ", b"three")

    return Response(parts(), mimetype="text/plain")


api.register_blueprint(users)
app.register_blueprint(api)
