"""What a request's statements leave in its context: time, spans, repetitions and slow ones."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from support.apps.deltas import Look, in_request, instrumented
from trimtab.instrumentation import queries
from trimtab.instrumentation.queries import book, set_slow_ms
from trimtab.runtime import PROCESS
from trimtab.sites import Finder, describe


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


@pytest.fixture
def slow() -> Iterator[None]:
    """Every statement is slow, and none was before."""
    PROCESS.events.forget()
    set_slow_ms(0)
    yield
    set_slow_ms(100)
    PROCESS.events.forget()


def run(connection: Any, sql: str, **values: object) -> None:
    connection.execute(sa.text(sql), values)


def test_a_request_has_its_statements_as_time_calls_and_spans(
    look: Look, engine: sa.Engine
) -> None:
    with engine.connect() as connection, in_request() as context:
        run(connection, "SELECT 1")
        run(connection, "SELECT word FROM item WHERE word = 'hunter2'")
    assert context.touched
    assert context.db_calls == 2
    spans = context.spans or []
    assert [(what, text) for what, _, _, text in spans] == [
        ("db", "SELECT ?"), ("db", "SELECT word FROM item WHERE word = ?")
    ]  # fmt: skip
    assert context.db_ns == sum(duration for _, _, duration, _ in spans) > 0
    assert spans[0][1] + spans[0][2] <= spans[1][1]


def test_a_statement_of_one_line_five_times_in_a_request_is_a_repetition(
    look: Look, engine: sa.Engine
) -> None:
    with engine.connect() as connection, in_request() as context:
        for number in range(4):
            run(connection, "SELECT * FROM item WHERE id = :id", id=number)
        assert context.notes is None
        for number in range(7):
            connection.execute(sa.text("SELECT word FROM item WHERE id = :id"), {"id": number})
    assert context.notes is not None
    # Those through `run` are one line, too: the innermost of the app's own.
    (note,) = context.notes
    assert note["duration_us"] > 0
    site = note.pop("site")
    assert site.startswith("tests/middleware/test_instrument_queries.py:")
    assert site.endswith(" in test_a_statement_of_one_line_five_times_in_a_request_is_a_repetition")
    del note["duration_us"]
    text = "SELECT word FROM item WHERE id = ?"
    assert note == {
        "kind": "n_plus_one", "alike": text, "query": text, "system": "sqlite", "count": 7,
        "caller": "",
    }  # fmt: skip


def test_a_repetition_through_a_helper_names_who_called_it(look: Look, engine: sa.Engine) -> None:
    with engine.connect() as connection, in_request() as context:
        for number in range(5):
            run(connection, "SELECT word FROM item WHERE id = :id", id=number)
    assert context.notes is not None
    (note,) = context.notes
    assert note["site"].endswith(" in run")
    assert note["caller"].endswith(" in test_a_repetition_through_a_helper_names_who_called_it")


def test_four_times_in_one_line_and_once_in_another_is_no_repetition(
    look: Look, engine: sa.Engine
) -> None:
    statement = sa.text("SELECT * FROM item WHERE id = 1")
    with engine.connect() as connection, in_request() as context:
        for _ in range(4):
            connection.execute(statement)
        connection.execute(statement)
        assert context.notes is None
        # A new request counts from nothing.
        with in_request() as another:
            for _ in range(4):
                connection.execute(statement)
        assert another.notes is None


def test_lazy_loading_of_the_orm_is_a_repetition_of_the_line_that_asks(look: Look) -> None:
    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        id: Mapped[int] = mapped_column(primary_key=True)

    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Word(id=number) for number in range(6)])
        session.commit()
        with in_request() as context:
            for number in range(6):
                assert session.get(Word, number, populate_existing=True) is not None
    engine.dispose()
    assert context.notes is not None
    assert [(note["count"], note["kind"]) for note in context.notes] == [(6, "n_plus_one")]
    assert "in test_lazy_loading_of_the_orm" in context.notes[0]["site"]


def test_transactions_are_no_repetition(look: Look) -> None:
    with in_request() as context:
        for _ in range(9):
            book("postgresql", "COMMIT", 0, 1000)
            book("postgresql", "SAVEPOINT sa_savepoint_1", 0, 1000)
    assert context.db_calls == 18
    assert context.notes is None


def test_a_slow_statement_in_a_request_waits_for_its_route(
    look: Look, engine: sa.Engine, slow: None
) -> None:
    with engine.connect() as connection, in_request() as context:
        run(connection, "SELECT * FROM item WHERE word = 'hunter2'")
    assert context.notes is not None
    (note,) = context.notes
    assert note["kind"] == "slow_query"
    assert note["query"] == note["alike"] == "SELECT * FROM item WHERE word = ?"
    assert note["system"] == "sqlite"
    assert note["duration_us"] == context.db_ns // 1000
    assert note["site"].endswith(" in run")
    assert len(PROCESS.events) == 0


def test_a_slow_statement_outside_a_request_is_an_event_at_once(
    look: Look, engine: sa.Engine, slow: None
) -> None:
    with engine.connect() as connection:
        run(connection, "SELECT * FROM item WHERE word = 'hunter2'")
    (event,) = PROCESS.events.take(9)
    assert event["kind"] == "slow_query"
    assert event["query"] == "SELECT * FROM item WHERE word = ?"
    assert event["site"].startswith("tests/middleware/test_instrument_queries.py:")


def test_slow_statements_of_a_request_are_bounded_and_the_rest_is_counted(
    look: Look, engine: sa.Engine, slow: None
) -> None:
    with engine.connect() as connection, in_request() as context:
        for _ in range(30):
            run(connection, "SELECT 1")
    assert sum(note["kind"] == "slow_query" for note in context.notes or []) == 20
    assert PROCESS.events.dropped == 10


def test_slow_statements_are_one_line_in_the_log_without_values(
    look: Look, engine: sa.Engine, slow: None, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # The limit of a minute began with the tests before.
    monkeypatch.setattr(queries._log, "_next", {})
    with caplog.at_level(logging.WARNING, "trimtab.slow"), engine.connect() as connection:
        for _ in range(3):
            run(connection, "SELECT * FROM item WHERE word = 'hunter2'")
    (record,) = [each for each in caplog.records if each.name == "trimtab.slow"]
    assert "SELECT * FROM item WHERE word = ?" in record.getMessage()
    assert "hunter2" not in caplog.text


def test_what_cannot_be_measured_is_counted_and_never_raised() -> None:
    look = Look()
    text: Any = 5
    book("sqlite", text, 0, 1)
    assert look("trimtab.instrumentation.failures") == [(1, ())]


LIBRARY = compile("def call(function): return function()", "<library>", "exec")


def test_a_site_is_the_innermost_own_line_even_where_it_is_expected_further_out() -> None:
    library: dict[str, Any] = {}
    exec(LIBRARY, library)
    finder = Finder()

    def own() -> Any:
        return finder.find()

    def outer(through: Any) -> Any:
        return through(finder.find) if through is library["call"] else through()

    for _ in range(2):
        site = outer(library["call"])
        assert site is not None
        assert site[2] == "outer"
        site = outer(own)
        assert site is not None
        assert site[2] == "own"


def test_a_path_is_relative_to_where_the_app_runs_or_is_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "hunter2"))
    source = tmp_path / "hunter2" / "shop" / "src"
    file = str(source / "views" / "cart.py")
    monkeypatch.setattr("sys.path", [str(tmp_path / "elsewhere"), str(source)])
    here = tmp_path / "hunter2" / "shop"
    here.mkdir(parents=True)
    found = {}
    for directory in (here, tmp_path, Path("/")):
        monkeypatch.chdir(directory)
        found[directory] = describe((file, 4, "total"))
    assert found == {
        here: "src/views/cart.py:4 in total",
        tmp_path: "views/cart.py:4 in total",
        Path("/"): "views/cart.py:4 in total",
    }
    monkeypatch.setattr("sys.path", [])
    assert describe((file, 4, "total")) == "cart.py:4 in total"
    assert describe(None) == ""
