"""The library's pages: `gunicorn --workers 2 examples.library.app:app`.

    GET  /                                  how much there is
    GET  /books/<int:number>                one book
    GET  /books/by/<author>                 the books of an author
    GET  /shelves/<path:place>              a shelf; places have slashes
    GET  /catalogue.csv                     all books, line by line
    POST /loans/                            {"book": 7, "reader": "ann"}
    GET, DELETE /loans/<uuid:loan>          a loan; its return
    GET  /loans/overdue                     a division by zero

Each worker has loans of its own, at most 1,000: a loan made in one is unknown (404) in the other.
"""

import uuid
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

from flask import Blueprint, Flask, Response, abort, jsonify, request

__all__ = ["app"]

BOOKS = 3_000
AUTHORS = 120
MAX_LOANS = 1_000


class Book(NamedTuple):
    """A book of the library."""

    number: int
    title: str
    author: str
    place: str


class Loan(NamedTuple):
    """A book that is out."""

    book: int
    reader: str


books = {
    number: Book(
        number,
        f"Tides, volume {number}",
        f"author-{number * 7 % AUTHORS}",
        f"hall-{number % 5}/row-{number % 40}",
    )
    for number in range(1, BOOKS + 1)
}
loans: OrderedDict[uuid.UUID, Loan] = OrderedDict()

book_pages = Blueprint("books", __name__)
loan_pages = Blueprint("loans", __name__, url_prefix="/loans")


@book_pages.get("/")
def overview() -> dict[str, int]:
    return {"books": len(books), "authors": AUTHORS, "loans": len(loans)}


@book_pages.get("/books/<int:number>")
def book(number: int) -> dict[str, Any]:
    found = books.get(number) or abort(404)
    return found._asdict()


@book_pages.get("/books/by/<author>")
def by_author(author: str) -> Response:
    # A walk over all books: what a table without an index costs.
    found = [book._asdict() for book in books.values() if book.author == author]
    if not found:
        abort(404)
    return jsonify(found)


@book_pages.get("/shelves/<path:place>")
def shelf(place: str) -> Response:
    return jsonify(sorted(book.title for book in books.values() if book.place == place))


@book_pages.get("/catalogue.csv")
def catalogue() -> Response:
    return Response(_rows(), mimetype="text/csv")


def _rows() -> Iterator[str]:
    rows = [f"{book.number},{book.title},{book.author},{book.place}\n" for book in books.values()]
    for start in range(0, len(rows), 200):
        yield "".join(rows[start : start + 200])


@loan_pages.post("/")
def lend() -> tuple[dict[str, Any], int]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict) or body.get("book") not in books or not body.get("reader"):
        abort(422)
    number = uuid.uuid4()
    loans[number] = Loan(body["book"], str(body["reader"]))
    if len(loans) > MAX_LOANS:
        loans.popitem(last=False)
    return {"loan": str(number)}, 201


@loan_pages.get("/<uuid:number>")
def loan(number: uuid.UUID) -> dict[str, Any]:
    found = loans.get(number) or abort(404)
    return found._asdict()


@loan_pages.delete("/<uuid:number>")
def give_back(number: uuid.UUID) -> tuple[str, int]:
    if loans.pop(number, None) is None:
        abort(404)
    return "", 204


@loan_pages.get("/overdue")
def overdue() -> dict[str, float]:
    days = 0
    return {"mean_days": len(loans) / days}


app = Flask(__name__)
app.register_blueprint(book_pages)
app.register_blueprint(loan_pages)
