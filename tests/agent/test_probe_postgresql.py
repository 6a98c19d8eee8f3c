"""The probe of PostgreSQL against a real one: its numbers are what the test did to it."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from support.processes.backends import PASSWORD, PostgresqlServer
from support.processes.probing import gauges, read, running, until
from support.processes.servers import wait_for
from trimtab_agent.probes.postgresql import PostgresqlProbe
from trimtab_agent.probes.probe import Probed
from trimtab_core.catalog import CATALOG
from trimtab_core.errors import SettingsError
from trimtab_core.measures import Delta

UP = "trimtab.probe.up"
WORD = "s3cret-w0rd"


@contextmanager
def connected(dsn: str) -> Iterator[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@contextmanager
def probing(dsn: str, slow_s: float = 0.0) -> Iterator[PostgresqlProbe]:
    probe = PostgresqlProbe(dsn, slow_s)
    try:
        yield probe
    finally:
        probe.close()


def of(dsn: str, **parts: str) -> str:
    """Return a DSN with another user, password or database."""
    found = urlsplit(dsn)
    who = f"{parts.get('user', found.username)}:{parts.get('password', found.password)}"
    return urlunsplit(found._replace(netloc=f"{who}@127.0.0.1:{found.port}"))


def statements(found: Probed) -> dict[str, Delta]:
    return {
        dict(key.attributes)["db.query.text"]: delta
        for key, delta in found.measures
        if key.name == "postgresql.statement.duration"
    }


def unused(found: Probed) -> dict[str, float]:
    return {
        dict(key.attributes)["postgresql.index.name"]: delta.last
        for key, delta in found.measures
        if key.name == "postgresql.index.unused.size"
    }


def counted(probe: PostgresqlProbe, connection: Any, name: str, at_least: float) -> float:
    """Return a counter once it is that large: sessions report what they did now and then."""

    def seen() -> float | None:
        connection.execute("SELECT pg_stat_force_next_flush()")
        value = read(probe).gauges[name]
        return value if value >= at_least else None

    found = wait_for(seen, f"{name} of {at_least:g}")
    assert found is not None
    return found


def test_connections_are_counted_by_state_and_the_oldest_transaction_is_aged(
    database_dsn: str,
) -> None:
    with (
        probing(database_dsn) as probe,
        connected(database_dsn) as idle,
        connected(database_dsn) as open_one,
        connected(database_dsn) as holder,
        connected(database_dsn) as waiter,
        ThreadPoolExecutor(1) as pool,
    ):
        idle.execute("CREATE TABLE things (id int PRIMARY KEY, name text)")
        open_one.execute("BEGIN")
        begun_s = time.monotonic()
        open_one.execute("SELECT 1")
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        waiting = pool.submit(waiter.execute, "SELECT * FROM things")

        def seen() -> dict[str, float] | None:
            gauges = dict(read(probe).gauges)
            return gauges if gauges["postgresql.backends.waiting"] else None

        try:
            gauges = wait_for(seen, "the waiting connection")
            age_s = time.monotonic() - begun_s
        finally:
            holder.execute("ROLLBACK")
            waiting.result(5)
    assert gauges is not None
    assert gauges["postgresql.backends"] == 5, "the probe's own is one of them"
    assert gauges["postgresql.backends.idle"] == 1
    assert gauges["postgresql.backends.idle_in_transaction"] == 2
    assert gauges["postgresql.backends.active"] == gauges["postgresql.backends.waiting"] == 1
    assert gauges["postgresql.connection.max"] == 60
    assert 0 < gauges["postgresql.transaction.oldest"] <= age_s + 0.01


def test_a_deadlock_is_counted(database_dsn: str) -> None:
    with (
        probing(database_dsn) as probe,
        connected(database_dsn) as first,
        connected(database_dsn) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        first.execute("CREATE TABLE things AS SELECT 1 AS id UNION SELECT 2")
        before = read(probe).gauges["postgresql.deadlocks"]
        both = threading.Barrier(2, timeout=5)

        def take(connection: Any, mine: int, other: int) -> None:
            connection.execute("SET deadlock_timeout = '50ms'")
            with connection.transaction():
                connection.execute("UPDATE things SET id = id WHERE id = %s", (mine,))
                both.wait()
                connection.execute("UPDATE things SET id = id WHERE id = %s", (other,))

        work = [pool.submit(take, first, 1, 2), pool.submit(take, second, 2, 1)]
        errors = [each.exception(10) for each in work]
        assert [type(each) for each in errors if each] == [psycopg.errors.DeadlockDetected]
        for connection in (first, second):
            connection.execute("SELECT pg_stat_force_next_flush()")
        assert counted(probe, first, "postgresql.deadlocks", before + 1) == before + 1


def test_temporary_files_transactions_and_size_are_read(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        before = read(probe).gauges
        connection.execute("SET work_mem = '64kB'")
        connection.execute(
            "SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY -n) x"
        )
        connection.execute(
            "CREATE TABLE large AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)"
        )
        size = counted(
            probe, connection, "postgresql.temp.size", before["postgresql.temp.size"] + 1e6
        )
        assert size < 1e8
        after = read(probe).gauges
        assert after["postgresql.temp.files"] > before["postgresql.temp.files"]
        assert after["postgresql.commits"] >= before["postgresql.commits"] + 3
        assert after["postgresql.db_size"] > before["postgresql.db_size"] + 3e6
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0")
        counted(probe, connection, "postgresql.rollbacks", before["postgresql.rollbacks"] + 1)


def test_the_cache_hit_ratio_is_that_of_the_blocks_between_two_readings(database_dsn: str) -> None:
    with probing(database_dsn, slow_s=60) as probe, connected(database_dsn) as connection:
        connection.execute(
            "CREATE TABLE things AS SELECT repeat('x', 500) AS x FROM generate_series(1, 2000)"
        )
        connection.execute("SELECT pg_stat_force_next_flush()")
        read(probe)
        for _ in range(20):
            connection.execute("SELECT count(*) FROM things")
        connection.execute("SELECT pg_stat_force_next_flush()")
        ratio = read(probe).gauges["postgresql.cache.hit_ratio"]
        assert 0.9 < ratio <= 1


def test_statements_are_what_ran_between_two_readings_with_no_value_in_them(
    database_dsn: str,
) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("CREATE TABLE cards (id int, number text)")
        connection.execute("SELECT number FROM cards WHERE number = '4111111111111111'")
        assert statements(read(probe)) == {}, "what ran before is not of this interval"
        for _ in range(3):
            connection.execute("SELECT number FROM cards WHERE number = '4111111111111111'")
        connection.execute("SELECT pg_sleep(0.05)")
        found = read(probe)
        ran = statements(found)
        assert ran["SELECT number FROM cards WHERE number = ?"].count == 3
        slow = ran["SELECT pg_sleep(?)"]
        assert (slow.count, slow.min, slow.max) == (1, slow.sum, slow.sum)
        assert 0.05 <= slow.sum < 2
        assert "4111111111111111" not in repr(found)
        assert [text for text in ran if "pg_stat" in text or "trimtab" in text] == []
        (key, *_) = [key for key, _ in found.measures if "statement" in key.name]
        assert dict(key.attributes)["db.namespace"] == urlsplit(database_dsn).path.strip("/")
        assert statements(read(probe)) == {}, "nothing ran"


def test_after_a_reset_statements_count_from_zero(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        for _ in range(5):
            connection.execute("SELECT 'before' AS word")
        read(probe)
        connection.execute("SELECT pg_stat_statements_reset()")
        for _ in range(7):
            connection.execute("SELECT 'after' AS word")
        ran = statements(read(probe))
        assert ran["SELECT ? AS word"].count == 7
        connection.execute("SELECT 'once more' AS word")
        assert statements(read(probe))["SELECT ? AS word"].count == 1


def test_statements_beyond_the_dearest_fifty_are_added_up(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        read(probe)
        for number in range(80):
            connection.execute("SELECT 1" + ", 1" * number)
        ran = statements(read(probe))
        assert len(ran) == 51
        assert sum(delta.count for delta in ran.values()) >= 80


def test_an_index_that_no_scan_uses_is_named_with_its_size(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute(
            "CREATE TABLE things AS SELECT n AS a, n AS b, n AS c FROM generate_series(1, 5000) n"
        )
        for column in "ab":
            connection.execute(f"CREATE INDEX by_{column} ON things ({column})")
        connection.execute("CREATE UNIQUE INDEX by_c ON things (c)")
        connection.execute("ANALYZE things")
        assert unused(read(probe)) == {}, "the first reading has seen no time pass"
        size = connection.execute("SELECT pg_relation_size('by_a')").fetchone()[0]
        assert unused(read(probe)) == {"public.by_a": size, "public.by_b": size}
        connection.execute("SELECT b FROM things WHERE a = 7")

        def left() -> bool:
            connection.execute("SELECT pg_stat_force_next_flush()")
            return set(unused(read(probe))) == {"public.by_b"}

        wait_for(left, "the use of by_a to be seen")
        connection.execute("SELECT pg_stat_reset()")
        assert set(unused(read(probe))) == {"public.by_b"}, "what was used once stays used"


def test_every_gauge_and_measure_is_in_the_catalogue(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("CREATE TABLE things (a int)")
        connection.execute("CREATE INDEX by_a ON things (a)")
        read(probe)
        connection.execute("SELECT * FROM things")
        found = read(probe)
    assert len(found.gauges) >= 13
    assert {CATALOG[name].kind for name in found.gauges} == {"gauge", "counter"}
    assert {key.name for key, _ in found.measures} == {
        "postgresql.statement.duration",
        "postgresql.index.unused.size",
    }
    for key, delta in found.measures:
        assert (key.kind, key.unit) == (CATALOG[key.name].kind, CATALOG[key.name].unit)
        assert key.attributes == tuple(sorted(key.attributes))
        assert Delta.of_row(delta.row()) == delta


def test_a_user_without_any_rights_still_reads_what_is_open_to_all(database_dsn: str) -> None:
    name = f"plain_{urlsplit(database_dsn).path.strip('/')}"
    with connected(database_dsn) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{WORD}'")
        try:
            with probing(of(database_dsn, user=name, password=WORD)) as probe:
                read(probe)
                connection.execute("SELECT 'of somebody else' AS word")
                found = read(probe)
            assert found.gauges["postgresql.backends"] == 2
            assert found.gauges["postgresql.db_size"] > 0
            assert "SELECT ? AS word" not in statements(found)
            connection.execute(f"GRANT pg_monitor TO {name}")
            with probing(of(database_dsn, user=name, password=WORD)) as probe:
                read(probe)
                connection.execute("SELECT 'of somebody else' AS word")
                assert statements(read(probe))["SELECT ? AS word"].count == 1
        finally:
            connection.execute(f"DROP ROLE {name}")


def test_without_the_extension_or_without_its_library_the_rest_is_read(tmp: Path) -> None:
    with PostgresqlServer(tmp, "shared_preload_libraries=") as server:
        server.start()
        with probing(server.dsn) as probe, connected(server.dsn) as connection:
            read(probe)
            assert read(probe).gauges["postgresql.backends"] == 2
            connection.execute("CREATE EXTENSION pg_stat_statements")
            found = read(probe)
            assert found.gauges["postgresql.db_size"] > 0
            assert statements(found) == {}


def test_its_session_is_named_and_can_write_nothing(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        read(probe)
        (names,) = connection.execute(
            "SELECT array_agg(application_name) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
        assert names == ["trimtab"]
        own = probe._connected()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            own.execute("CREATE TABLE things (a int)")
        assert own.execute("SHOW statement_timeout").fetchone() == ("2s",)


@pytest.mark.asyncio
async def test_a_server_that_dies_freezes_and_comes_back_is_followed(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trimtab_agent.probes.schedule.LIMIT_S", 0.5)

    async def scenario(server: PostgresqlServer) -> None:
        async with running(probe_postgresql=(server.dsn,)) as probes:
            await until(lambda: gauges(probes).get(UP) == 1, "the first reading")
            server.kill9()
            await until(lambda: gauges(probes) == {UP: 0}, "the server to be missed")
            server.start()
            await until(lambda: gauges(probes).get(UP) == 1, "the server to be found again")
            server.freeze()
            try:
                await until(lambda: gauges(probes) == {UP: 0}, "the frozen server")
                names = [thread.name for thread in threading.enumerate()]
                assert names.count("trimtab-probe") == 1
            finally:
                server.thaw()
            await until(lambda: gauges(probes).get(UP) == 1, "the server to thaw")

    with PostgresqlServer(tmp) as server:
        server.start()
        await scenario(server)
    lines = [record for record in caplog.records if record.name == "trimtab.probes"]
    assert len(lines) == 1, "one line a minute"


@pytest.mark.asyncio
async def test_a_password_is_shown_nowhere_whether_right_or_wrong(
    database_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port = urlsplit(database_dsn).port
    wrong = (
        of(database_dsn, password=WORD),
        f"host=127.0.0.1 port={port} user=postgres password={WORD}",
    )

    async def scenario() -> list[str]:
        async with running(probe_postgresql=(database_dsn, *wrong)) as probes:
            names = [target.name for target in probes._targets]
            assert len(set(names)) == 3
            await until(lambda: gauges(probes, names[0]).get(UP) == 1, "the right one")
            await until(
                lambda: [gauges(probes, each) for each in names[1:]] == [{UP: 0}] * 2, "the wrong"
            )
            return [repr(probes.gauges()), repr(probes.measures()), repr(names)]

    shown = [*await scenario(), caplog.text]
    assert "password authentication failed for user ***" in caplog.text
    for piece in (WORD, PASSWORD):
        assert [text for text in shown if piece in text] == []


@pytest.mark.parametrize(
    "dsn",
    [
        f"mysql://u:{WORD}@h/d",
        f"postgresql://u@h:5432/d?nonsense={WORD}",
        WORD,
        f"x={WORD}",
        f"postgresql://u:a@{WORD}@h/d",
        f"postgresql://u:a/{WORD}@h/d",
        f"dbname=postgresql://u:{WORD}@h/d",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(dsn: str) -> None:
    with pytest.raises(SettingsError, match="probe_postgresql: expected postgresql://") as caught:
        PostgresqlProbe(dsn, 60)
    assert WORD not in repr(caught.getrepr(style="short"))
    assert caught.value.__suppress_context__
