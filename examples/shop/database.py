"""The shop's SQLite database: schema, deterministic seed, and the queries of its pages.

Every function runs in a worker thread; each thread keeps one connection. Prices are whole cents.
"""

import fcntl
import random
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Database", "OutOfStockError"]

PRODUCTS = 2_000
CUSTOMERS = 500
ORDERS = 4_000
SEED = 8620
DAYS = 60

SCHEMA = """
CREATE TABLE categories (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    category_id INTEGER NOT NULL REFERENCES categories(id),
    name TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    stock INTEGER NOT NULL
);
CREATE INDEX products_by_category ON products(category_id);
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, city TEXT NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers(id),
    day TEXT NOT NULL
);
CREATE TABLE order_lines (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders(id),
    product_id INTEGER NOT NULL REFERENCES products(id),
    quantity INTEGER NOT NULL
);
CREATE INDEX order_lines_by_order ON order_lines(order_id);
CREATE TABLE cart_items (
    user TEXT NOT NULL,
    product_id INTEGER NOT NULL REFERENCES products(id),
    quantity INTEGER NOT NULL,
    PRIMARY KEY (user, product_id)
);
CREATE TABLE confirmations (order_id INTEGER PRIMARY KEY, text TEXT NOT NULL);
"""

_CATEGORIES = ("anchors", "blocks", "cleats", "compasses", "fenders", "lines", "rudders", "sails")
_KINDS = ("racing", "classic", "coastal", "folding", "heavy", "light", "river", "spare")
_PARTS = ("bolt", "cover", "frame", "handle", "hook", "pin", "plate", "ring", "shackle", "strap")
_CITIES = ("Bergen", "Busan", "Cork", "Genoa", "Halifax", "Kiel", "Porto", "Sydney")


#: file beside the database: by how many ms its disk is slow, nothing for not at all
LAG = "lag_ms"


class OutOfStockError(Exception):
    """A cart asks for more than there is; nothing was bought."""


class Product(NamedTuple):
    """A row of the shop window."""

    id: int
    name: str
    category: str
    price_cents: int
    stock: int


class Database:
    """Access to one database file; made and seeded when it is not there yet. Thread-safe."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "shop.db"
        self._local = threading.local()
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "seed.lock").open("w") as guard:
            # Several workers start together; the first one seeds, the others wait for it.
            fcntl.flock(guard, fcntl.LOCK_EX)
            if not self.path.exists():
                half = self.path.with_suffix(".new")
                half.unlink(missing_ok=True)
                _seed(half)
                half.rename(self.path)

    def window(self) -> list[Mapping[str, Any]]:
        """Return the cheapest product of each category."""
        return self._rows(
            "SELECT c.name AS category, p.id, p.name, min(p.price_cents) AS price_cents "
            "FROM categories c JOIN products p ON p.category_id = c.id GROUP BY c.id"
        )

    def product(self, number: int) -> Product | None:
        """Return a product, None when there is none of that number."""
        rows = self._rows(
            "SELECT p.id, p.name, c.name AS category, p.price_cents, p.stock FROM products p "
            "JOIN categories c ON c.id = p.category_id WHERE p.id = ?",
            number,
        )
        return Product(**rows[0]) if rows else None

    def search(self, words: str) -> list[Mapping[str, Any]]:
        """Return up to 20 products whose name holds the words; no index can help."""
        return self._scan(
            "SELECT id, name, price_cents FROM products WHERE name LIKE ? ORDER BY price_cents "
            "LIMIT 20",
            f"%{words}%",
        )

    def order(self, number: int) -> dict[str, Any] | None:
        """Return an order with its lines: a query for each line and one for each product (N+1)."""
        orders = self._rows("SELECT id, customer_id, day FROM orders WHERE id = ?", number)
        if not orders:
            return None
        lines = []
        for row in self._rows("SELECT id FROM order_lines WHERE order_id = ?", number):
            (line,) = self._rows(
                "SELECT product_id, quantity FROM order_lines WHERE id = ?", row["id"]
            )
            product = self.product(line["product_id"])
            lines.append({"quantity": line["quantity"], "product": product and product.name})
        return {**orders[0], "lines": lines}

    def daily_report(self) -> list[Mapping[str, Any]]:
        """Return turnover by day and category: joins every order line, tens of milliseconds."""
        return self._rows(
            "SELECT o.day, c.name AS category, sum(l.quantity * p.price_cents) AS cents, "
            "count(DISTINCT o.customer_id) AS customers FROM order_lines l "
            "JOIN orders o ON o.id = l.order_id JOIN products p ON p.id = l.product_id "
            "JOIN categories c ON c.id = p.category_id GROUP BY o.day, c.name ORDER BY o.day"
        )

    def returning_report(self) -> list[Mapping[str, Any]]:
        """Return customers by day, and how many of their orders were not their first.

        Without the index of `index_customers` it reads orders from the start for each order.
        """
        return self._rows(
            "SELECT o.day, count(DISTINCT o.customer_id) AS customers, sum(EXISTS (SELECT 1 FROM "
            "orders e WHERE e.customer_id = o.customer_id AND e.day < o.day)) AS again "
            "FROM orders o GROUP BY o.day ORDER BY again DESC"
        )

    def index_customers(self, wanted: bool) -> None:
        """Make the index of orders by customer, or drop it."""
        with self._connection() as connection:
            if wanted:
                connection.execute(
                    "CREATE INDEX IF NOT EXISTS orders_by_customer ON orders(customer_id, day)"
                )
            else:
                connection.execute("DROP INDEX IF EXISTS orders_by_customer")

    def total(self, order: int) -> int:
        """Return what an order costs, in cents."""
        (row,) = self._rows(
            "SELECT sum(l.quantity * p.price_cents) AS cents FROM order_lines l "
            "JOIN products p ON p.id = l.product_id WHERE l.order_id = ?",
            order,
        )
        return int(row["cents"] or 0)

    def page(self, after: int, size: int) -> list[Mapping[str, Any]]:
        """Return the next products by number."""
        return self._rows(
            "SELECT id, name, price_cents FROM products WHERE id > ? ORDER BY id LIMIT ?",
            after,
            size,
        )

    def put_into_cart(self, user: str, product: int, quantity: int) -> int:
        """Add to a cart and return how many items are in it; KeyError for an unknown product."""
        if self.product(product) is None:
            raise KeyError(product)
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO cart_items VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET quantity = min(quantity + excluded.quantity, 99)",
                (user, product, quantity),
            )
        return int(
            self._scan("SELECT sum(quantity) AS n FROM cart_items WHERE user = ?", user)[0]["n"]
        )

    def check_out(self, user: str, day: str) -> int | None:
        """Turn a cart into an order and return its number, None for an empty cart.

        Raises OutOfStockError.
        """
        connection = self._connection()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            items = connection.execute(
                "SELECT i.product_id, i.quantity, p.stock FROM cart_items i "
                "JOIN products p ON p.id = i.product_id WHERE i.user = ?",
                (user,),
            ).fetchall()
            if not items:
                return None
            connection.execute("DELETE FROM cart_items WHERE user = ?", (user,))
            if any(item["quantity"] > item["stock"] for item in items):
                raise OutOfStockError(user)
            connection.execute(
                "INSERT INTO customers (name, city) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (user, "Kiel"),
            )
            order = connection.execute(
                "INSERT INTO orders (customer_id, day) SELECT id, ? FROM customers WHERE name = ?",
                (day, user),
            ).lastrowid
            for item in items:
                connection.execute(
                    "INSERT INTO order_lines (order_id, product_id, quantity) VALUES (?, ?, ?)",
                    (order, item["product_id"], item["quantity"]),
                )
        return order

    def confirm(self, order: int) -> None:
        """Write the confirmation of an order; done after the customer has the answer."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO confirmations VALUES (?, ?)",
                (order, f"Thank you for order {order}."),
            )

    def _scan(self, query: str, *values: object) -> list[Mapping[str, Any]]:
        """Return the rows of a query that reads much, which a slow disk delays: see `LAG`."""
        connection = self._connection()
        lag_ms = self._lag_ms()
        if not lag_ms:
            return self._rows(query, *values)
        waits = [lag_ms / 1000]

        def wait() -> None:
            if waits:
                time.sleep(waits.pop())

        # Called within the query, as a disk is read within it.
        connection.set_progress_handler(wait, 1)
        try:
            return self._rows(query, *values)
        finally:
            connection.set_progress_handler(None, 0)

    def _lag_ms(self) -> float:
        try:
            return float((self.path.parent / LAG).read_text(encoding="ascii") or 0)
        except (OSError, ValueError):
            return 0.0

    def _rows(self, query: str, *values: object) -> list[Mapping[str, Any]]:
        found: Iterable[sqlite3.Row] = self._connection().execute(query, values)
        return [dict(row) for row in found]

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _open(self.path)
            self._local.connection = connection
        return connection


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _seed(path: Path) -> None:
    chance = random.Random(SEED)
    connection = sqlite3.connect(path)
    with connection:
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO categories VALUES (?, ?)", enumerate(_CATEGORIES, 1))
        connection.executemany(
            "INSERT INTO products VALUES (?, ?, ?, ?, ?)",
            (
                (
                    number,
                    chance.randint(1, len(_CATEGORIES)),
                    f"{chance.choice(_KINDS)} {chance.choice(_PARTS)} {number}",
                    chance.randint(150, 90_000),
                    chance.randint(50, 5_000),
                )
                for number in range(1, PRODUCTS + 1)
            ),
        )
        connection.executemany(
            "INSERT INTO customers VALUES (?, ?, ?)",
            (
                (number, f"customer-{number}", chance.choice(_CITIES))
                for number in range(1, CUSTOMERS + 1)
            ),
        )
        for number in range(1, ORDERS + 1):
            day = chance.randrange(DAYS)
            connection.execute(
                "INSERT INTO orders VALUES (?, ?, ?)",
                (
                    number,
                    chance.randint(1, CUSTOMERS),
                    f"2026-{day // 30 + 1:02}-{day % 30 + 1:02}",
                ),
            )
            connection.executemany(
                "INSERT INTO order_lines (order_id, product_id, quantity) VALUES (?, ?, ?)",
                (
                    (number, chance.randint(1, PRODUCTS), chance.randint(1, 4))
                    for _ in range(chance.randint(1, 6))
                ),
            )
    connection.close()
