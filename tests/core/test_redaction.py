"""Statements that come from elsewhere are read again; what is fine stays the same object."""

import pytest

from trimtab_core.measures import HISTOGRAM, MeasureKey
from trimtab_core.redaction import redacted_event, redacted_key
from trimtab_core.shapes import shape

WORD = "s3cret_w0rd"
COLUMNS = ", ".join(f'"t"."column_{number}"' for number in range(40))


def key(text: str, system: str = "postgresql", **attributes: str) -> MeasureKey:
    pairs = {"db.query.text": text, "db.system.name": system, **attributes}
    return MeasureKey("db.client.operation.duration", HISTOGRAM, "s", tuple(pairs.items()))


def command(name: str) -> MeasureKey:
    pairs = (("db.operation.name", name), ("db.system.name", "redis"))
    return MeasureKey("db.client.operation.duration", HISTOGRAM, "s", pairs)


@pytest.mark.parametrize(
    "found",
    [
        key("SELECT a FROM t WHERE b = ?"), key("other"), key(""), key("ALTER ROLE"), key("..."),
        key("SELECT `a` FROM t", "mysql"), command("GET"), command("CONFIG SET"),
        command("PIPELINE"), command("_OTHER"), command("other"),
        MeasureKey("shop.orders", HISTOGRAM, "s", (("db.operation.name", "of its own"),)),
    ],
    ids=str,
)  # fmt: skip
def test_a_measure_that_is_fine_is_the_same_object(found: MeasureKey) -> None:
    assert redacted_key(found) is found
    assert redacted_key(found) is found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (key(f"ALTER ROLE x PASSWORD '{WORD}'"), key("ALTER ROLE")),
        (key(f'SELECT f("{WORD}")', "sqlite"), key("SELECT f(?)", "sqlite")),
        (key(f"SELECT '{WORD}'", "some_other"), key("SELECT ?", "some_other")),
        (command(WORD.upper()), command("_OTHER")),
        (command(f"CONFIG {WORD}"), command("_OTHER")),
    ],
    ids=str,
)
def test_a_measure_loses_what_may_be_a_secret(found: MeasureKey, expected: MeasureKey) -> None:
    assert redacted_key(found) == expected
    assert WORD not in str(redacted_key(found)).lower()


def test_a_statement_that_is_fine_for_one_system_is_read_again_for_another() -> None:
    text = f'SELECT f("{WORD}")'
    assert redacted_key(key(text)) == key(text), "a name in PostgreSQL"
    assert redacted_key(key(text, "sqlite")) == key("SELECT f(?)", "sqlite")


@pytest.mark.parametrize("length", range(195, 215))
def test_a_text_that_an_app_cut_stays_as_it_is(length: int) -> None:
    text = shape(f'SELECT {COLUMNS} FROM "t" WHERE "t"."a" = \'x\'', "postgresql")
    event = {"kind": "slow_query", "query": text[: max(200, length)], "system": "postgresql"}
    assert redacted_event(event) is event


def test_an_event_loses_what_may_be_a_secret() -> None:
    long = f"ALTER ROLE x PASSWORD {WORD} " + "x" * 300
    event = {"kind": "slow_query", "query": long[:200], "system": "postgresql", "site": "a.py:1"}
    assert redacted_event(event) == {**event, "query": "ALTER ROLE"}
    spans = [["db", 1, 2, f"SET a = {WORD}"], ["db", 1, 2, "connection of shop"], ["cache", 1, 2,
             "GET"], ["external", 1, 2, "GET h"], "odd"]  # fmt: skip
    found = redacted_event({"kind": "request", "spans": spans}, spans=True)
    assert found["spans"] == [["db", 1, 2, "SET"], *spans[1:]]
