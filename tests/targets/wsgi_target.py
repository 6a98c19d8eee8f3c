"""A small Flask app that servers under test run."""

from flask import Flask

import trimtab.endings

# On a busy machine a thread may lose the processor behind a last byte. That is a record of work of
# its own, and tests count records exactly.
vars(trimtab.endings)["BACKGROUND_NS"] = 3600 * 10**9

app = Flask(__name__)


@app.route("/items/<int:number>", methods=["GET", "POST"])
def item(number: int) -> str:
    """Answer with the item's number."""
    return f"item {number}"
