"""A small Flask app that servers under test run."""

from flask import Flask

app = Flask(__name__)


@app.route("/items/<int:number>", methods=["GET", "POST"])
def item(number: int) -> str:
    """Answer with the item's number."""
    return f"item {number}"
