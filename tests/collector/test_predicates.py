"""Which index a statement would need, read from its text; and of what nothing is said."""

import pytest

from trimtab_collector.reads.judging.predicates import TableAccess, access_of, same_table


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT * FROM orders WHERE customer_id = $1", ("orders", ("customer_id",), ())),
        ("select o.id from shop.orders o where o.customer_id = ? order by o.at desc limit ?",
         ("shop.orders", ("customer_id",), ())),
        ("SELECT count(*) FROM orders AS o WHERE o.at > $1 AND o.state = $2",
         ("orders", ("state", "at"), ())),
        ("UPDATE orders SET state = $1, at = now() WHERE id = $2", ("orders", ("id",), ())),
        ("DELETE FROM carts WHERE touched < ?", ("carts", ("touched",), ())),
        ("SELECT * FROM orders WHERE id IN (?)", ("orders", ("id",), ())),
        ("SELECT * FROM orders WHERE id = ANY($1)", ("orders", ("id",), ())),
        ("SELECT * FROM orders WHERE at BETWEEN $1 AND $2 AND kind = $3",
         ("orders", ("kind", "at"), ())),
        ('SELECT * FROM "Orders" WHERE "Customer" = %s', ('"Orders"', ('"Customer"',), ())),
        ("SELECT * FROM orders WHERE paid_at IS NULL AND customer = $1",
         ("orders", ("customer",), ("paid_at IS NULL",))),
        ("SELECT * FROM jobs WHERE done_at is  not null", ("jobs", (), ("done_at IS NOT NULL",))),
        ("SELECT * FROM jobs WHERE NOT done AND queue = ?", ("jobs", ("queue",), ("NOT done",))),
        ("SELECT * FROM jobs WHERE done = false", ("jobs", (), ("NOT done",))),
        ("SELECT * FROM jobs WHERE active", ("jobs", (), ("active",))),
        ("SELECT * FROM t WHERE a = ? AND b = ? AND c = ? AND d = ?", ("t", ("a", "b", "c"), ())),
        ("SELECT * FROM t WHERE a = ? FOR UPDATE SKIP LOCKED;", ("t", ("a",), ())),
    ],
)  # fmt: skip
def test_a_plain_statement_tells_its_columns_and_conditions(
    statement: str, expected: tuple[str, tuple[str, ...], tuple[str, ...]]
) -> None:
    assert access_of(statement) == TableAccess(*expected)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM orders",
        "SELECT * FROM orders, lines WHERE orders.id = lines.order_id",
        "SELECT * FROM orders JOIN lines ON lines.order_id = orders.id WHERE orders.id = ?",
        "SELECT * FROM orders WHERE a = ? OR b = ?",
        "SELECT * FROM orders WHERE id IN (SELECT order_id FROM lines WHERE sku = ?)",
        "SELECT * FROM orders WHERE lower(name) = ?",
        "SELECT * FROM orders WHERE name LIKE ?",
        "SELECT * FROM orders WHERE created_at = paid_at",
        "INSERT INTO orders VALUES (?)",
        "SELECT * FROM generate_series(1, 3) WHERE 1 = ?",
        "",
        "SELECT " * 300,
        "other",
    ],
)
def test_of_anything_else_nothing_is_said(statement: str) -> None:
    assert access_of(statement) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("orders", "public.orders", True),
        ("public.orders", "public.orders", True),
        ("shop.orders", "public.orders", False),
        ('"Orders"', 'public."Orders"', True),
        ("order", "public.orders", False),
    ],
)
def test_names_of_tables_are_compared_with_and_without_their_schema(
    one: str, other: str, same: bool
) -> None:
    assert same_table(one, other) is same
