"""sqlite3 and aiosqlite are measured, and stay themselves."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from support.apps.deltas import Look, in_request, instrumented
from support.processes.drive import Measured, call
from trimtab.instrumentation import instrument, uninstrument
from trimtab_core.records import FLAG_CONTEXT

DURATION = "db.client.operation.duration"
Found = list[tuple[int, str, str]]


@pytest.fixture
def look() -> Iterator[Look]:
    with instrumented("sqlite3") as look:
        yield look


def statements(look: Look) -> Found:
    """Return count, shape and error of what was measured."""
    found = look(DURATION, "db.query.text", "error.type")
    return sorted((count, text, error) for count, (text, error) in found)


def rows(look: Look) -> dict[str, int]:
    return {text: count for count, (text,) in look("trimtab.db.rows", "db.query.text")}


def test_sqlite3_connections_measure_what_they_and_their_cursors_run(look: Look) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (a, b)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, "x"), (2, "y")])
        connection.cursor().execute("UPDATE t SET b = 'hunter2' WHERE a = 1").close()
        connection.executescript("DELETE FROM t WHERE a = 2; SELECT 'hunter2'")
    connection.close()
    assert statements(look) == [
        (1, "CREATE TABLE", ""),
        (1, "DELETE FROM t WHERE a = ?; SELECT ?", ""),
        (1, "INSERT INTO t VALUES (?)", ""),
        (1, "UPDATE t SET b = ? WHERE a = ?", ""),
    ]
    assert rows(look) == {"INSERT INTO t VALUES (?)": 2, "UPDATE t SET b = ? WHERE a = ?": 1}


def test_sqlite3_is_itself_but_for_being_measured(look: Look, tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = sqlite3.connect(path, timeout=2, isolation_level=None)
    assert isinstance(connection, sqlite3.Connection)
    assert type(connection).__name__ == "Connection"
    assert type(connection).__module__ == sqlite3.Connection.__module__
    assert isinstance(connection.cursor(), sqlite3.Cursor)
    assert connection.isolation_level is None
    connection.row_factory = sqlite3.Row
    assert connection.execute("SELECT 1 AS one").fetchone()["one"] == 1
    connection.create_function("twice", 1, lambda value: value * 2)
    assert connection.execute("SELECT twice(21)").fetchone()[0] == 42
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES ('x')")
    assert "INSERT INTO \"t\" VALUES('x');" in list(connection.iterdump())
    other = sqlite3.connect(":memory:")
    connection.backup(other)
    assert other.execute("SELECT a FROM t").fetchall() == [("x",)]
    other.close()
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_sqlite3_transactions_of_a_with_block_end_as_ever(look: Look) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a)")

    def fail() -> None:
        with connection:
            connection.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    connection.close()


class OwnCursor(sqlite3.Cursor):
    """Writes statements its own way, as Django's does."""

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        return super().execute(statement.replace("%s", "?"), parameters)


class OwnConnection(sqlite3.Connection):
    """Makes cursors of a class of its own."""

    def cursor(self, factory: Any = OwnCursor) -> Any:
        return super().cursor(factory)


@pytest.mark.parametrize("by_name", [True, False])
def test_sqlite3_factories_of_the_app_are_kept_and_measured(look: Look, by_name: bool) -> None:
    if by_name:
        connection = sqlite3.connect(":memory:", factory=OwnConnection)
    else:
        connection = sqlite3.connect(":memory:", 5.0, 0, None, True, OwnConnection)
    assert isinstance(connection, OwnConnection)
    cursor = connection.cursor()
    assert isinstance(cursor, OwnCursor)
    assert cursor.execute("SELECT %s AS own", (5,)).fetchall() == [(5,)]
    made: list[Any] = []

    def function(connection: sqlite3.Connection) -> sqlite3.Cursor:
        cursor = sqlite3.Cursor(connection)
        made.append(cursor)
        return cursor

    assert sqlite3.Connection.cursor(connection, function) is made[0]
    connection.close()
    assert statements(look) == [(1, "SELECT ? AS own", "")]


def test_sqlite3_errors_are_the_same(look: Look, tmp_path: Path) -> None:
    one = sqlite3.connect(tmp_path / "db", isolation_level=None)
    other = sqlite3.connect(tmp_path / "db", isolation_level=None, timeout=0)
    one.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        other.execute("CREATE TABLE t (a)")
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        one.execute("SELEC 'hunter2'")
    with pytest.raises(TypeError):
        one.execute()  # type: ignore[call-arg]
    one.close()
    other.close()
    assert statements(look) == [
        (1, "...", "OperationalError"),
        (1, "BEGIN EXCLUSIVE", ""),
        (1, "CREATE TABLE", "lock_timeout"),
    ]


def test_sqlite3_connections_that_outlive_the_measuring_go_on_unmeasured() -> None:
    originals = (sqlite3.connect, sqlite3.dbapi2.connect)
    instrument("sqlite3")
    assert sqlite3.connect is sqlite3.dbapi2.connect is not originals[0]
    connection = sqlite3.connect(":memory:")
    uninstrument()
    assert sqlite3.connect is originals[0]
    assert sqlite3.dbapi2.connect is originals[1]
    look = Look()
    assert connection.execute("SELECT 1").fetchall() == [(1,)]
    connection.close()
    assert statements(look) == []


@pytest.mark.asyncio
async def test_aiosqlite_is_measured_where_its_caller_waits(look: Look) -> None:
    async with aiosqlite.connect(":memory:") as connection:
        with in_request() as context:
            await connection.execute("CREATE TABLE t (a)")
            for number in range(5):
                await connection.execute("INSERT INTO t VALUES (?)", (number,))
            async with connection.execute("SELECT * FROM t WHERE a = 'hunter2'") as cursor:
                assert list(await cursor.fetchall()) == []
            assert list(await connection.execute_fetchall("SELECT 1 AS a")) == [(1,)]
    assert context.db_calls == 8
    assert context.notes is not None
    assert " in test_" in context.notes[0]["site"]
    with pytest.raises(ValueError, match="no active connection"):
        await connection.execute("SELECT 2")
    assert statements(look) == [
        (1, "CREATE TABLE", ""),
        (1, "SELECT * FROM t WHERE a = ?", ""),
        (1, "SELECT ? AS a", ""),
        (5, "INSERT INTO t VALUES (?)", ""),
    ]


# ---------------------------------------------------------------- in a request


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_what_a_handler_runs_is_in_the_record_of_its_request_or_connection(
    measured: Measured, look: Look, kind: str
) -> None:
    app = measured.asgi(_asks)
    call(app, scope={"type": kind}, events=[{"type": f"{kind}.disconnect"}])
    record = measured.one().record
    assert (record.flags, record.db_calls) == (FLAG_CONTEXT, 1)


def test_a_connection_to_an_app_that_was_wrapped_before_is_measured_inside_too(
    measured: Measured,
) -> None:
    app = measured.asgi(_asks)
    with instrumented("sqlite3"):
        call(app, scope={"type": "websocket"}, events=[])
    assert measured.one().record.db_calls == 1


async def _asks(scope: Any, receive: Any, send: Any) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("SELECT 1")
    connection.close()
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
    else:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
