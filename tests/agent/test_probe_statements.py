"""Statements of a real PostgreSQL: nothing that was typed as a value is in what is told of them."""

from typing import Any

import psycopg
import pytest

from trimtab_agent.probes.postgresql import PostgresqlProbe

WORD = "s3cret_w0rd"

#: statements that PostgreSQL records as they were typed; {name} is made anew for each test
TYPED = [
    "CREATE ROLE {name} PASSWORD '{word}'",
    "ALTER ROLE {name} PASSWORD '{word}'",
    "CREATE USER {name}_{word} IN ROLE {name}",
    "DROP ROLE {name}_{word}",
    "SET app.token = '{word}'",
    "SET app.token TO {word}",
    "DO $$ BEGIN PERFORM '{word}'; END $$",
    "COPY (SELECT '{word}') TO '/dev/null'",
    "EXPLAIN SELECT '{word}'",
    "CREATE VIEW v_{word} AS SELECT '{word}' AS a",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''{word}'''",
    "CREATE TABLE t (a text DEFAULT '{word}', b int)",
    "ALTER TABLE t ALTER a SET DEFAULT '{word}'",
    "COMMENT ON TABLE t IS '{word}'",
    "CREATE SUBSCRIPTION s CONNECTION 'password={word}' PUBLICATION p WITH (connect = false)",
    "ALTER SUBSCRIPTION s SET (slot_name = NONE)",
    "DROP SUBSCRIPTION s",
    "CREATE FOREIGN DATA WRAPPER w OPTIONS (secret '{word}')",
    "CREATE SERVER z FOREIGN DATA WRAPPER w OPTIONS (secret '{word}')",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER z OPTIONS (password '{word}')",
    "PREPARE {word} AS SELECT '{word}'",
    "EXECUTE {word}",
    "DEALLOCATE {word}",
    "LISTEN {word}",
    "NOTIFY {word}, '{word}'",
    "UNLISTEN {word}",
    "SELECT a /* {word} */ FROM t -- {word}",
    "SELECT a FROM t WHERE a = '{word}' OR a = E'it\\'s {word}' OR a = $x${word}$x$",
    "INSERT INTO t VALUES ('{word}', 1), ('{word}', 2)",
    "DROP ROLE {name}",
]


def told(probe: PostgresqlProbe) -> tuple[set[str], str]:
    """Return the texts of a reading, and all that it says."""
    found = probe._read()
    texts = {dict(key.attributes).get("db.query.text", "") for key, _ in found.measures}
    return texts, repr(found)


@pytest.fixture
def probe(database_dsn: str) -> Any:
    found = PostgresqlProbe(database_dsn, 0.0)
    yield found
    found.close()


def test_nothing_that_was_typed_as_a_value_is_told(database_dsn: str, probe: Any) -> None:
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        told(probe)
        name = f"role_of_{connection.info.dbname}"
        for each in TYPED:
            connection.execute(each.format(word=WORD, name=name))
        with connection.transaction():
            connection.execute(f"DECLARE {WORD} CURSOR FOR SELECT 1")
            connection.execute(f"FETCH 1 FROM {WORD}")
            connection.execute(f"CLOSE {WORD}")
            connection.execute(f"SAVEPOINT {WORD}")
        for refused in ("SECURITY LABEL ON ROLE {} IS 'x'", "ALTER SYSTEM SET {}.x = 'y'"):
            with pytest.raises(psycopg.Error):
                connection.execute(refused.format(WORD))
        (kept,) = connection.execute(
            "SELECT count(*) FROM pg_stat_statements WHERE query LIKE %s", (f"%{WORD}%",)
        ).fetchone() or (0,)
        assert kept > 25, "PostgreSQL itself holds them"
        texts, whole = told(probe)
    assert WORD not in whole
    assert {"CREATE ROLE", "ALTER ROLE", "SET", "DO", "COPY", "EXPLAIN", "CREATE VIEW"} <= texts
    assert {"LISTEN", "PREPARE", "DECLARE", "SELECT a FROM t", "CREATE USER MAPPING"} <= texts
