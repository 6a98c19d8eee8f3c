"""What the probes read for the advisor, from a real PostgreSQL and a real Redis."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from support.processes.backends import RedisServer
from support.processes.probing import read
from support.processes.servers import wait_for
from trimtab_agent.probes.postgresql import PostgresqlProbe
from trimtab_agent.probes.probe import Probed
from trimtab_agent.probes.redis import RedisProbe
from trimtab_core.catalog import CATALOG
from trimtab_core.measures import Delta

TIMEOUT = "postgresql.setting.statement_timeout"
JIT = "postgresql.setting.jit"


@contextmanager
def connected(dsn: str) -> Iterator[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@contextmanager
def probing(dsn: str) -> Iterator[PostgresqlProbe]:
    probe = PostgresqlProbe(dsn, 0.0)
    try:
        yield probe
    finally:
        probe.close()


def tables(found: Probed) -> dict[str, dict[str, Delta]]:
    answer: dict[str, dict[str, Delta]] = {}
    for key, delta in found.measures:
        if key.name.startswith("postgresql.table."):
            name = dict(key.attributes)["postgresql.table.name"]
            answer.setdefault(name, {})[key.name.rpartition(".")[2]] = delta
    return answer


def test_settings_are_those_that_new_sessions_get_and_not_the_probes_own(
    database_dsn: str,
) -> None:
    name = urlsplit(database_dsn).path.strip("/")
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        found = read(probe).gauges
        (shown,) = connection.execute("SHOW jit").fetchone()
        assert (found[TIMEOUT], found[JIT]) == (0.0, shown == "on")
        connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '45s'")
        other = "off" if shown == "on" else "on"
        connection.execute(f"ALTER DATABASE {name} SET jit = {other}")
        found = read(probe).gauges
        assert (found[TIMEOUT], found[JIT]) == (45.0, other == "on"), "without connecting anew"
    assert CATALOG[TIMEOUT].unit == "s"


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1500", 1.5), ("2min", 120), ("1.5h", 5400), ("0", 0)]
)
def test_the_settings_of_a_role_count_while_it_is_connected(
    database_dsn: str, text: str, seconds: float
) -> None:
    name = urlsplit(database_dsn).path.strip("/")
    role = f"app_{name}"
    parts = urlsplit(database_dsn)
    app = urlunsplit(parts._replace(netloc=f"{role}:w0rd@127.0.0.1:{parts.port}"))
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '10s'")
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'w0rd'")
        try:
            connection.execute(f"ALTER ROLE {role} SET statement_timeout = '{text}'")
            assert read(probe).gauges[TIMEOUT] == 10.0
            with connected(app):
                assert read(probe).gauges[TIMEOUT] == pytest.approx(seconds)
                connection.execute(
                    f"ALTER ROLE {role} IN DATABASE {name} SET statement_timeout = '7s'"
                )
                assert read(probe).gauges[TIMEOUT] == 7.0
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_slow_statement_of_the_probe_is_still_ended(database_dsn: str) -> None:
    with probing(database_dsn) as probe:
        read(probe)
        shown = probe._connected().execute("SHOW statement_timeout").fetchone()
    assert shown == ("2s",)


def test_where_the_server_has_no_connection_to_spare_all_else_is_still_read(
    database_dsn: str,
) -> None:
    name = urlsplit(database_dsn).path.strip("/")
    role = f"single_{name}"
    parts = urlsplit(database_dsn)
    alone = urlunsplit(parts._replace(netloc=f"{role}:w0rd@127.0.0.1:{parts.port}"))
    with connected(database_dsn) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'w0rd' CONNECTION LIMIT 1")
        try:
            with probing(alone) as probe:
                found = read(probe).gauges
            assert TIMEOUT not in found
            assert found["postgresql.db_size"] > 0
        finally:
            connection.execute(f"DROP ROLE {role}")


def test_tables_are_read_with_their_scans_since_the_last_reading(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute('CREATE TABLE "Orders" AS SELECT generate_series(1, 3000) AS id')
        connection.execute("CREATE TABLE few AS SELECT generate_series(1, 10) AS id")
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("ANALYZE")
        connection.execute('UPDATE "Orders" SET id = id WHERE id <= 1200')

        def changed() -> dict[str, Delta] | None:
            connection.execute("SELECT pg_stat_force_next_flush()")
            found = tables(read(probe))
            assert set(found) <= {'public."Orders"'}, "small tables are left out"
            table = found.get('public."Orders"', {})
            changed = table.get("modified_rows", Delta()).last
            return table if changed else None

        table = wait_for(changed, "the changed rows")
        assert table is not None
        assert (table["rows"].last, table["modified_rows"].last) == (3000, 1200)
        read(probe)
        for _ in range(4):
            connection.execute('SELECT count(*) FROM "Orders" WHERE id = 7')
        scans = Delta()
        rows = Delta()

        def scanned() -> bool:
            connection.execute("SELECT pg_stat_force_next_flush()")
            table = tables(read(probe)).get('public."Orders"', {})
            scans.merge(table.get("sequential_scans", Delta()))
            rows.merge(table.get("sequential_rows", Delta()))
            return scans.sum >= 4

        wait_for(scanned, "four scans")
        assert (scans.sum, rows.sum) == (4, 12_000)
        again = tables(read(probe))['public."Orders"']
        assert set(again) == {"rows", "modified_rows"}, "nothing was scanned since"


def test_the_indexes_of_scanned_tables_are_told_with_their_columns(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute(
            'CREATE TABLE orders AS SELECT n AS id, n AS at, n AS "Paid" '
            "FROM generate_series(1, 2000) n"
        )
        connection.execute('CREATE INDEX by_paid ON orders ("Paid", at) INCLUDE (id)')
        connection.execute("CREATE INDEX partly ON orders (id) WHERE at > 7")
        connection.execute("CREATE INDEX computed ON orders ((id + 1))")
        connection.execute("ANALYZE orders")
        connection.execute("SELECT pg_stat_force_next_flush()")
        read(probe)

        def indexes() -> dict[str, tuple[str, float]]:
            connection.execute("SELECT count(*) FROM orders")
            connection.execute("SELECT pg_stat_force_next_flush()")
            found = {}
            for key, delta in read(probe).measures:
                if key.name == "postgresql.index.size":
                    given = dict(key.attributes)
                    assert (key.kind, key.unit) == ("gauge", CATALOG[key.name].unit)
                    assert given["postgresql.table.name"] == "public.orders"
                    columns = given["postgresql.index.columns"]
                    found[given["postgresql.index.name"]] = (columns, delta.last)
            return found

        found = wait_for(indexes, "a scan of the table")
        size = connection.execute("SELECT pg_relation_size('by_paid')").fetchone()[0]
        assert found == {"public.by_paid": ('"Paid", at', size)}


def test_every_measure_of_tables_is_in_the_catalogue(database_dsn: str) -> None:
    with probing(database_dsn) as probe, connected(database_dsn) as connection:
        connection.execute("CREATE TABLE things AS SELECT generate_series(1, 2000) AS id")
        connection.execute("ANALYZE things")
        connection.execute("SELECT pg_stat_force_next_flush()")
        found = read(probe)
    keys = [key for key, _ in found.measures if key.name.startswith("postgresql.table.")]
    assert keys
    for key in keys:
        assert (key.kind, key.unit) == (CATALOG[key.name].kind, CATALOG[key.name].unit)


def test_keys_are_counted_with_those_that_will_expire(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.start()
        client: Any = redis.Redis.from_url(server.url)
        probe = RedisProbe(server.url)
        other = RedisProbe(server.url.removesuffix("/0") + "/3")
        try:
            assert "redis.keys" not in read(probe).gauges, "a database without keys is not named"
            for number in range(5):
                client.set(f"key-{number}", 1, ex=None if number else 1000)
            found = read(probe).gauges
            assert (found["redis.keys"], found["redis.keys.volatile"]) == (5, 1)
            assert "redis.keys" not in read(other).gauges
        finally:
            other.close()
            probe.close()
            client.close()
