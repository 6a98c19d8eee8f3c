"""SQLAlchemy 2 is measured, sync and async: its statements and its pools."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine

from support.apps.deltas import Look, in_request, instrumented
from trimtab.instrumentation import instrument, uninstrument
from trimtab.instrumentation.sqlalchemy import _pools, gauges
from trimtab.runtime import PROCESS

DURATION = "db.client.operation.duration"
POOL = "db.client.connection.pool.name"
STATE = "db.client.connection.state"


@pytest.fixture
def look() -> Iterator[Look]:
    with instrumented("sqlalchemy") as look:
        yield look


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE item (id INTEGER PRIMARY KEY, word TEXT)"))
    yield engine
    engine.dispose()


def statements(look: Look) -> list[tuple[int, tuple[str, ...]]]:
    """Return what was measured, without what prepares connections and tables."""
    return [
        (count, (text, error))
        for count, (text, error) in look(DURATION, "db.query.text", "error.type")
        if not text.startswith(("CREATE TABLE", "PRAGMA"))
    ]


def run(connection: Any, sql: str, **values: object) -> None:
    connection.execute(sa.text(sql), values)


def test_a_statement_is_measured_by_its_shape_and_system(look: Look, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        run(connection, "SELECT * FROM item WHERE word = 'hunter2' AND id = :id", id=4)
        rows = connection.execute(sa.text("SELECT 1 AS one, 2 AS two")).mappings().all()
    assert [dict(row) for row in rows] == [{"one": 1, "two": 2}]
    assert statements(look) == [
        (1, ("SELECT * FROM item WHERE word = ? AND id = ?", "")),
        (1, ("SELECT ? AS one, ? AS two", "")),
    ]
    assert {system for _, (system,) in look(DURATION, "db.system.name")} == {"sqlite"}
    assert "hunter2" not in look.texts()


def test_statements_of_many_values_and_of_none_count_once_with_their_rows(
    look: Look, engine: sa.Engine
) -> None:
    insert = sa.text("INSERT INTO item (word) VALUES (:word)")
    with engine.begin() as connection:
        connection.execute(insert, [{"word": each} for each in "abc"])
        connection.exec_driver_sql("DELETE FROM item")
        # As those do that have no values for a driver that would look for some.
        connection.exec_driver_sql("SELECT 1 AS none", execution_options={"no_parameters": True})
    assert statements(look) == [
        (1, ("DELETE FROM item", "")),
        (1, ("INSERT INTO item (word) VALUES (?)", "")),
        (1, ("SELECT ? AS none", "")),
    ]
    assert look("trimtab.db.rows", "db.query.text") == [
        (3, ("DELETE FROM item",)),
        (3, ("INSERT INTO item (word) VALUES (?)",)),
    ]


def test_failures_are_the_same_and_told_apart_by_their_kind(look: Look, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        with pytest.raises(sa.exc.OperationalError) as caught:
            run(connection, "SELECT * FROM missing WHERE word = 'hunter2'")
        run(connection, "INSERT INTO item VALUES (1, 'a')")
        with pytest.raises(sa.exc.IntegrityError):
            run(connection, "INSERT INTO item VALUES (1, 'a')")
    assert type(caught.value.orig).__name__ == "OperationalError"
    assert statements(look) == [
        (1, ("INSERT INTO item VALUES (?)", "")),
        (1, ("INSERT INTO item VALUES (?)", "IntegrityError")),
        (1, ("SELECT * FROM missing WHERE word = ?", "OperationalError")),
    ]


def test_a_statement_that_passes_through_sqlite3_too_is_measured_once() -> None:
    with instrumented("sqlalchemy", "sqlite3") as look:
        inner = sa.create_engine("sqlite://")
        with inner.connect() as connection, in_request() as context:
            run(connection, "SELECT 5 AS five")
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("SELECT 6 AS six")
        inner.dispose()
    assert [text for _, (text, _) in statements(look)] == ["SELECT ? AS five", "SELECT ? AS six"]
    assert [count for count, _ in statements(look)] == [1, 1]
    assert context.db_calls == 2


@pytest.mark.asyncio
async def test_async_statements_are_measured_once_with_the_line_that_awaits() -> None:
    with instrumented("sqlalchemy", "sqlite3") as look:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.connect() as connection:
            with in_request() as context:
                for number in range(5):
                    await connection.execute(sa.text("SELECT :n AS five"), {"n": number})
        await engine.dispose()
        assert context.db_calls == 5
        assert context.notes is not None
        assert context.notes[0]["count"] == 5
        assert " in test_" in context.notes[0]["site"]
        assert statements(look) == [(5, ("SELECT ? AS five", ""))]


@pytest.mark.asyncio
async def test_tasks_that_run_at_once_do_not_hide_each_others_statements(tmp_path: Path) -> None:
    async def one(engine: Any, number: int) -> int:
        async with engine.connect() as connection:
            with in_request() as context:
                for _ in range(3):
                    await connection.execute(sa.text("SELECT :n AS at_once"), {"n": number})
            return context.db_calls

    async def main() -> list[int]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/db")
        calls = await asyncio.gather(*[one(engine, number) for number in range(8)])
        await engine.dispose()
        return calls

    with instrumented("sqlalchemy", "sqlite3") as look:
        assert await main() == [3] * 8
        assert (24, ("SELECT ? AS at_once", "")) in statements(look)


def test_threads_count_exactly(look: Look, engine: sa.Engine) -> None:
    def work() -> None:
        with sa.create_engine("sqlite://").connect() as connection:
            for number in range(50):
                run(connection, "SELECT :n AS of_thread", n=number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (400, ("SELECT ? AS of_thread", "")) in statements(look)


def test_a_listener_that_runs_the_statement_itself_is_let_do_it(engine: sa.Engine) -> None:
    heard = []

    @sa.event.listens_for(engine, "do_execute")
    def do_execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        heard.append(statement)
        cursor.execute(statement, parameters)
        return True

    with instrumented("sqlalchemy") as look, engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 7")).scalar() == 7
        assert heard == ["SELECT 7"]
        assert statements(look) == []


def own_dialect() -> Any:
    class Mixed:
        def do_execute(
            self, cursor: Any, statement: Any, parameters: Any, context: Any = None
        ) -> None:
            cursor.execute(statement, parameters)

    class Own(Mixed, SQLiteDialect_pysqlite):
        supports_statement_cache = True

    sa.dialects.registry.register("sqlite.own", __name__, "Own")
    globals()["Own"] = Own
    return Mixed


@pytest.mark.parametrize("imported", ["before", "after"])
def test_a_dialect_with_hooks_of_its_own_is_measured_and_put_back(imported: str) -> None:
    mixed = own_dialect() if imported == "before" else None
    original = mixed and mixed.do_execute
    with instrumented("sqlalchemy") as look:
        mixed = mixed or own_dialect()
        engine = sa.create_engine("sqlite+own://")
        with engine.connect() as connection:
            run(connection, "SELECT 8 AS eight")
        engine.dispose()
        assert statements(look) == [(1, ("SELECT ? AS eight", ""))]
        measured = mixed.do_execute
    assert mixed.do_execute is (original or measured.__wrapped__)


def test_a_dialect_that_passes_statements_on_is_measured_once(look: Look) -> None:
    class Passing(SQLiteDialect_pysqlite):
        supports_statement_cache = True

        def do_execute(self, *args: Any, **kwargs: Any) -> None:
            super().do_execute(*args, **kwargs)  # type: ignore[no-untyped-call]

    sa.dialects.registry.register("sqlite.passing", __name__, "Passing")
    globals()["Passing"] = Passing
    engine = sa.create_engine("sqlite+passing://")
    with engine.connect() as connection:
        run(connection, "SELECT 9 AS nine")
    engine.dispose()
    assert statements(look) == [(1, ("SELECT ? AS nine", ""))]


def test_engines_take_the_arguments_that_they_took_before(look: Look) -> None:
    engine = sa.create_engine("sqlite://", paramstyle="named", isolation_level="AUTOCOMMIT")
    assert engine.dialect.paramstyle == "named"
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        assert raw.isolation_level is None
    engine.dispose()


def test_pools_say_what_they_hold_and_how_long_was_waited(look: Look) -> None:
    engine = sa.create_engine(
        "sqlite://", poolclass=sa.QueuePool, pool_size=2, max_overflow=1, pool_timeout=0,
        pool_logging_name="shop",
    )  # fmt: skip
    connections = [engine.connect() for _ in range(3)]
    with pytest.raises(sa.exc.TimeoutError):
        engine.connect()
    connections.pop().close()
    gauges()
    assert look("db.client.connection.wait_time", POOL) == [(4, ("shop",))]
    assert look("db.client.connection.timeouts", POOL) == [(1, ("shop",))]
    assert last("db.client.connection.count", ((POOL, "shop"), (STATE, "used"))) == 2
    assert last("db.client.connection.count", ((POOL, "shop"), (STATE, "idle"))) == 1
    assert last("db.client.connection.max", ((POOL, "shop"),)) == 3
    assert last("trimtab.db.connection.overflow", ((POOL, "shop"),)) == 1
    for connection in connections:
        connection.close()
    engine.dispose()


def test_a_pool_that_was_named_by_its_address_is_named_by_its_dialect(look: Look) -> None:
    engine = sa.create_engine(
        "sqlite://", poolclass=sa.QueuePool, pool_logging_name="postgresql://u:hunter2@h/d"
    )
    engine.connect().close()
    engine.dispose()
    ((count, (name,)),) = look("db.client.connection.wait_time", POOL)
    assert count == 1
    assert name.startswith("sqlite")


def last(name: str, attributes: tuple[tuple[str, str], ...]) -> float:
    family = PROCESS.measures.families()[name]
    return next(each.read().last for each in family if each.key.attributes == attributes)


def test_pools_without_a_name_are_named_by_their_dialect_never_by_their_address(
    look: Look, tmp_path: Path
) -> None:
    engines = [sa.create_engine(f"sqlite:///{tmp_path}/hunter2") for _ in range(2)]
    for engine in engines:
        engine.connect().close()
    names = {name for _, (name,) in look("db.client.connection.wait_time", POOL)}
    assert len(names) == 2
    assert all(name.partition("-")[0] == "sqlite" for name in names)
    assert "hunter2" not in look.texts()
    for engine in engines:
        engine.dispose()


def test_a_pool_that_is_gone_is_forgotten(look: Look) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool, pool_logging_name="gone")
    engine.connect().close()
    assert "gone" in _pools.values()
    engine.dispose()
    pool = weakref.ref(engine.pool)
    del engine
    gc.collect()
    assert pool() is None
    assert "gone" not in _pools.values()


def test_uninstrumenting_restores_what_was_there(engine: sa.Engine) -> None:
    names = ("do_execute", "do_executemany", "do_execute_no_params")
    originals = [*(vars(DefaultDialect)[name] for name in names), vars(sa.Pool)["connect"]]
    members = set(vars(DefaultDialect))
    instrument("sqlalchemy")
    instrument("sqlalchemy")
    assert all(vars(DefaultDialect)[name] not in originals for name in names)
    uninstrument()
    found = [*(vars(DefaultDialect)[name] for name in names), vars(sa.Pool)["connect"]]
    assert all(one is other for one, other in zip(found, originals, strict=True))
    assert set(vars(DefaultDialect)) == members
    look = Look()
    with engine.connect() as connection:
        run(connection, "SELECT 9")
    assert statements(look) == []
