"""psycopg and asyncpg are measured on a real PostgreSQL, and stay themselves."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import aiosqlite
import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.ext.asyncio import create_async_engine

from support.apps.deltas import Look, in_request, instrumented
from support.processes.backends import PASSWORD
from support.processes.servers import wait_for
from trimtab.instrumentation import instrument, uninstrument

DURATION = "db.client.operation.duration"
LIBRARIES = ("sqlite3", "psycopg", "asyncpg", "sqlalchemy")
Found = list[tuple[int, str, str]]


@pytest.fixture
def look() -> Iterator[Look]:
    with instrumented(*LIBRARIES) as look:
        yield look


def statements(look: Look) -> Found:
    """Return count, shape and error of what was measured."""
    found = look(DURATION, "db.query.text", "error.type")
    return sorted((count, text, error) for count, (text, error) in found)


def rows(look: Look) -> dict[str, int]:
    return {text: count for count, (text,) in look("trimtab.db.rows", "db.query.text")}


# ---------------------------------------------------------------- psycopg


@pytest.fixture
def connection(database_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (a int PRIMARY KEY, b text)")
        connection.execute("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
        yield connection


def test_psycopg_measures_what_its_cursors_run(
    connection: psycopg.Connection[Any], look: Look
) -> None:
    assert connection.execute("SELECT * FROM t WHERE a = %s", (1,)).fetchall() == [(1, "x")]
    composed = sql.SQL("SELECT b FROM {} WHERE b = {}").format(
        sql.Identifier("t"), sql.Literal("hunter2")
    )
    assert connection.execute(composed).fetchall() == []
    assert connection.execute(b"SELECT 1 AS one").fetchone() == (1,)
    cursor = connection.cursor()
    cursor.executemany("UPDATE t SET b = %s WHERE a = %s", [("v", 1), ("w", 2)])
    assert cursor.rowcount == 2
    with connection.transaction(), connection.cursor("named") as named:
        assert named.execute("SELECT a FROM t ORDER BY a").fetchall() == [(1,), (2,)]
    assert statements(look) == [
        (1, "SELECT * FROM t WHERE a = ?", ""),
        (1, "SELECT ? AS one", ""),
        (1, "SELECT a FROM t ORDER BY a", ""),
        (1, 'SELECT b FROM "t" WHERE b = ?', ""),
        (1, "UPDATE t SET b = ? WHERE a = ?", ""),
    ]
    assert rows(look)["UPDATE t SET b = ? WHERE a = ?"] == 2
    assert {system for _, (system,) in look(DURATION, "db.system.name")} == {"postgresql"}


def test_psycopg_streams_are_measured_whether_read_to_their_end_or_left(
    connection: psycopg.Connection[Any], look: Look
) -> None:
    query = "SELECT n FROM generate_series(1, 5) AS n"
    assert [n for (n,) in connection.cursor().stream(query)] == [1, 2, 3, 4, 5]
    left: Any = connection.cursor().stream(query)
    assert next(left) == (1,)
    left.close()
    with pytest.raises(psycopg.errors.DivisionByZero):
        list(connection.cursor().stream("SELECT 1 / 0"))
    assert connection.execute("SELECT 7").fetchone() == (7,)
    text = "SELECT n FROM generate_series(?, ?) AS n"
    assert statements(look) == [
        (1, "SELECT ?", ""),
        (1, "SELECT ? / ?", "DivisionByZero"),
        (2, text, ""),
    ]
    assert rows(look)[text] == 6


def test_psycopg_pipelines_work_as_ever(connection: psycopg.Connection[Any], look: Look) -> None:
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int AS n", (n,)) for n in range(3)]
        assert [cursor.fetchone() for cursor in cursors] == [(0,), (1,), (2,)]
    assert statements(look) == [(3, "SELECT ?::int AS n", "")]


def test_a_deadlock_is_told_apart_and_raised_as_ever(
    connection: psycopg.Connection[Any], database_dsn: str, look: Look
) -> None:
    caught: list[BaseException] = []
    both = threading.Barrier(2)

    def work(first: int, second: int) -> None:
        with psycopg.connect(database_dsn) as mine:
            mine.execute("SET deadlock_timeout = '50ms'")
            mine.execute("UPDATE t SET b = '1' WHERE a = %s", (first,))
            both.wait(10)
            try:
                mine.execute("UPDATE t SET b = '2' WHERE a = %s", (second,))
            except psycopg.errors.DeadlockDetected as error:
                caught.append(error)
                mine.rollback()

    threads = [threading.Thread(target=work, args=each) for each in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(caught) == 1
    assert (1, "UPDATE t SET b = ? WHERE a = ?", "deadlock") in statements(look)


def test_a_lost_connection_is_told_apart_and_raised_as_ever(
    connection: psycopg.Connection[Any], database_dsn: str, look: Look
) -> None:
    with psycopg.connect(database_dsn, autocommit=True) as lost:
        connection.execute("SELECT pg_terminate_backend(%s)", (lost.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            lost.execute("SELECT 1 AS lost")
    assert (1, "SELECT ? AS lost", "connection") in statements(look)


@pytest.mark.asyncio
async def test_psycopg_async_is_measured_and_its_cancellation_stays_one(
    database_dsn: str, look: Look
) -> None:
    connect = psycopg.AsyncConnection.connect
    async with await connect(database_dsn, autocommit=True) as connection:
        with in_request() as context:
            cursor = await connection.execute("SELECT %s::text AS a", ("hunter2",))
            assert await cursor.fetchone() == ("hunter2",)
            stream = connection.cursor().stream("SELECT n FROM generate_series(1, 3) AS n")
            assert [n async for (n,) in stream] == [1, 2, 3]
        assert context.db_calls == 2
        task = asyncio.create_task(connection.execute("SELECT pg_sleep(30)"))
        await asyncio.to_thread(wait_for, lambda: runs(database_dsn), "the statement to run")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
    assert (1, "SELECT pg_sleep(?)", "CancelledError") in statements(look)
    assert (1, "SELECT n FROM generate_series(?, ?) AS n", "") in statements(look)


def runs(dsn: str) -> bool:
    """Tell whether another connection sleeps in the database."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        ).fetchone()
    return found is not None and found[0] > 0


# ---------------------------------------------------------------- asyncpg


@pytest.mark.asyncio
async def test_asyncpg_measures_each_way_to_run_a_statement_once(
    database_dsn: str, look: Look
) -> None:
    connection = await asyncpg.connect(database_dsn)
    assert await connection.execute("CREATE TABLE t (a int, b text)") == "CREATE TABLE"
    assert await connection.execute("INSERT INTO t VALUES ($1, 'x')", 1) == "INSERT 0 1"
    await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(2, "y"), (3, "z")])
    assert [each["a"] for each in await connection.fetch("SELECT a FROM t ORDER BY a")] == [
        1, 2, 3
    ]  # fmt: skip
    assert await connection.fetchval("SELECT b FROM t WHERE a = $1", 2) == "y"
    row = await connection.fetchrow("SELECT * FROM t WHERE b = 'z'")
    assert dict(row) == {"a": 3, "b": "z"}
    prepared = await connection.prepare("SELECT a + $1 FROM t ORDER BY a")
    assert await prepared.fetchval(10) == 11
    assert len(await prepared.fetch(10)) == 3
    async with connection.transaction():
        found = [each["a"] async for each in connection.cursor("SELECT a FROM t", prefetch=1)]
        assert sorted(found) == [1, 2, 3]
        cursor = await connection.cursor("SELECT b FROM t ORDER BY a")
        assert [each["b"] for each in await cursor.fetch(2)] == ["x", "y"]
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.fetch("SELECT * FROM missing WHERE a = 'hunter2'")
    await connection.close()
    assert statements(look) == [
        (1, "BEGIN", ""),
        (1, "COMMIT", ""),
        (1, "CREATE TABLE", ""),
        (1, "SELECT * FROM missing WHERE a = ?", "UndefinedTableError"),
        (1, "SELECT * FROM t WHERE b = ?", ""),
        (1, "SELECT a FROM t", ""),
        (1, "SELECT a FROM t ORDER BY a", ""),
        (1, "SELECT b FROM t ORDER BY a", ""),
        (1, "SELECT b FROM t WHERE a = ?", ""),
        (2, "INSERT INTO t VALUES (?)", ""),
        (2, "SELECT a + ? FROM t ORDER BY a", ""),
    ]
    counted = rows(look)
    assert counted["SELECT a FROM t ORDER BY a"] == 3
    assert counted["INSERT INTO t VALUES (?)"] == 1


@pytest.mark.asyncio
async def test_asyncpg_pools_lines_and_cancellation_stay_what_they_are(
    database_dsn: str, look: Look
) -> None:
    async with asyncpg.create_pool(database_dsn, min_size=1, max_size=1) as pool:
        with in_request() as context:
            for number in range(5):
                assert await pool.fetchval("SELECT $1::int AS five", number) == number
        (note,) = context.notes or []
        assert note["query"] == "SELECT ?::int AS five"
        assert " in test_" in note["site"]
        async with pool.acquire() as connection:
            with pytest.raises(TimeoutError):
                await connection.fetch("SELECT pg_sleep(30)", timeout=0.01)
            task = asyncio.create_task(connection.fetch("SELECT pg_sleep(30)"))
            await asyncio.to_thread(wait_for, lambda: runs(database_dsn), "it to run")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await connection.fetchval("SELECT 3") == 3
    assert (1, "SELECT pg_sleep(?)", "CancelledError") in statements(look)
    assert (1, "SELECT pg_sleep(?)", "TimeoutError") in statements(look)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_sqlalchemy_over_a_driver_books_a_statement_once(
    database_dsn: str, look: Look, driver: str
) -> None:
    url = database_dsn.replace("postgresql:", f"postgresql+{driver}:")
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        with in_request() as context:
            for number in range(5):
                statement = sa.text("SELECT CAST(:n AS integer) AS once")
                await connection.execute(statement, {"n": number})
        with pytest.raises(sa.exc.ProgrammingError):
            await connection.execute(sa.text("SELECT missing"))
    await engine.dispose()
    assert context.db_calls == 5
    assert [note["count"] for note in context.notes or []] == [5]
    found = [each for each in statements(look) if "once" in each[1] or "missing" in each[1]]
    assert [(count, bool(error)) for count, _, error in found] == [(1, True), (5, False)]
    assert "SELECT CAST(? AS integer) AS once" in found[1][1]
    assert PASSWORD not in look.texts()


def test_uninstrumenting_restores_the_drivers() -> None:
    prepared = asyncpg.prepared_stmt.PreparedStatement
    names: list[tuple[type, str]] = [
        *((psycopg.Cursor, name) for name in ("execute", "executemany", "stream")),
        *((psycopg.AsyncCursor, name) for name in ("execute", "executemany", "stream")),
        (psycopg.ServerCursor, "execute"),
        (psycopg.AsyncServerCursor, "execute"),
        *((asyncpg.Connection, name) for name in ("execute", "_execute", "_executemany")),
        *((asyncpg.cursor.BaseCursor, name) for name in ("_bind", "_bind_exec")),
        (prepared, "_PreparedStatement__do_execute"),
        (aiosqlite.Connection, "_execute"),
    ]
    originals = [vars(owner)[name] for owner, name in names]
    instrument(*LIBRARIES)
    instrument(*LIBRARIES)
    changed = [vars(owner)[name] for owner, name in names]
    uninstrument()
    assert all(one is not other for one, other in zip(changed, originals, strict=True))
    for (owner, name), original in zip(names, originals, strict=True):
        assert vars(owner)[name] is original
