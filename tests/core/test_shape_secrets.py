"""No value of a statement is in its shape, wherever a grammar puts one and whatever breaks it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_core.shapes import MAX_SHAPE, shape

SECRET = "hunter2xyz"

#: system and statement; each holds the secret where a value is or may be
PLANTED = [
    ("sqlite", f'SELECT f("{SECRET}")'),
    ("sqlite", f'SELECT * FROM t WHERE a BETWEEN "{SECRET}" AND "{SECRET}"'),
    ("sqlite", f'SELECT "{SECRET}", 1'),
    ("sqlite", f'UPDATE t SET a = "{SECRET}", b = f(1, "{SECRET}")'),
    ("sqlite", f'INSERT INTO t SELECT "{SECRET}"'),
    ("sqlite", f'INSERT INTO t DEFAULT VALUES RETURNING ("{SECRET}")'),
    ("sqlite", f"PRAGMA main.key = {SECRET}"),
    ("sqlite", f'PRAGMA "key"={SECRET}'),
    ("sqlite", f'ATTACH DATABASE "a.db" AS a KEY "{SECRET}"'),
    ("microsoft.sql_server", f"SELECT [it]]'s {SECRET}] FROM t WHERE a = '{SECRET}'"),
    ("microsoft.sql_server", f'SELECT * FROM t WHERE a = "{SECRET}" OR f("{SECRET}") = 1'),
    ("microsoft.sql_server", f"EXEC sp_addlogin bob, {SECRET}"),
    ("microsoft.sql_server", f"EXEC dbo.enter @password = {SECRET}"),
    ("mysql", f"SELECT @@{SECRET}, @`{SECRET}`, @{SECRET}"),
    ("mysql", f"SELECT _utf8'{SECRET}', N'{SECRET}', x'00'"),
    ("mysql", f"SELECT 'a' /*M! '*/ {SECRET} '*/"),
    ("mysql", f"SELECT $a$ ' $a$ {SECRET} '"),
    ("postgresql", f"SET app.token = {SECRET}"),
    ("postgresql", f"SET LOCAL app.token TO {SECRET}"),
    ("postgresql", f"ALTER ROLE {SECRET} PASSWORD '{SECRET}'"),
    ("postgresql", f"CREATE USER a PASSWORD={SECRET} IN ROLE {SECRET}"),
    ("postgresql", f"DO $$ BEGIN PERFORM '{SECRET}'; END $$"),
    ("postgresql", f"COPY (SELECT '{SECRET}') TO STDOUT"),
    ("postgresql", f"EXPLAIN ANALYZE SELECT '{SECRET}'"),
    ("postgresql", f"CREATE OR REPLACE VIEW {SECRET} AS SELECT '{SECRET}'"),
    ("postgresql", f"CREATE TABLE t (a text DEFAULT '{SECRET}')"),
    ("postgresql", f"COMMENT ON TABLE t IS '{SECRET}'"),
    ("postgresql", f"CREATE SUBSCRIPTION s CONNECTION 'password={SECRET}' PUBLICATION p"),
    ("postgresql", f"CREATE USER MAPPING FOR u SERVER s OPTIONS (password '{SECRET}')"),
    ("postgresql", f"PREPARE {SECRET} AS SELECT '{SECRET}'"),
    ("postgresql", f"EXECUTE p('{SECRET}')"),
    ("postgresql", f"DECLARE {SECRET} CURSOR FOR SELECT 1"),
    ("postgresql", f"LISTEN {SECRET}"),
    ("postgresql", f"NOTIFY {SECRET}, '{SECRET}'"),
    ("postgresql", f"SECURITY LABEL ON ROLE r IS '{SECRET}'"),
    ("postgresql", f"ALTER SYSTEM SET a = {SECRET}"),
    ("postgresql", f"SELECT 1; SET a = {SECRET}; SELECT {SECRET}"),
    ("postgresql", f"{SECRET} TO all"),
    ("postgresql", f"'{SECRET}' {SECRET}"),
    ("postgresql", f"SELECT * FROM u WHERE name = 'O'{SECRET}' AND pin = '{SECRET}'"),
    ("postgresql", f"SELECT * FROM u WHERE name = 'O' {SECRET}' AND pin = 1"),
    ("postgresql", f"SELECT * FROM u WHERE name = 'O' {SECRET}', 'x' {SECRET}'"),
    ("postgresql", f"SELECT U&\"\\0041{SECRET}\", U&'{SECRET}' UESCAPE '!'"),
    ("postgresql", f"""SELECT '{{"a": "{SECRET}"}}'::jsonb, DATE'{SECRET}'"""),
    ("mysql", f'SELECT * FROM u WHERE name = "O"{SECRET}" AND pin = "1"'),
    ("sqlite", f"INSERT INTO u VALUES ('D'{SECRET}', '{SECRET}')"),
    ("other_sql", f"SELECT '''it's {SECRET}, card {SECRET}''' AND x = 1"),
    ("other_sql", f"SELECT '''it' s {SECRET}'''"),
    ("other_sql", f'SELECT """say "hi" to {SECRET}"""'),
    ("other_sql", f"SELECT r'\\' , '{SECRET}'"),
    ("other_sql", f"SELECT 1 // asked by {SECRET}"),
    ("other_sql", f"SELECT $$ ' $$ {SECRET} '"),
    ("other_sql", f'INSERT INTO t FORMAT JSONEachRow {{"a": "{SECRET}"}}'),
    ("other_sql", f"INSERT INTO t FORMAT CSV {SECRET},1"),
]  # fmt: skip

#: statements and what is kept of them
KEPT = [
    ("ALTER ROLE x PASSWORD 'a'", "ALTER ROLE"),
    ("create user x in role y", "CREATE USER"),
    ("CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE OR REPLACE VIEW"),
    ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "CREATE UNIQUE INDEX CONCURRENTLY"),
    ("CREATE USER MAPPING FOR u SERVER s OPTIONS (password 'x')", "CREATE USER MAPPING"),
    ("SET a = 'b'", "SET"),
    ("/* why */ set local a to b", "SET LOCAL"),
    ("SHOW search_path", "SHOW"),
    ("EXPLAIN SELECT 1", "EXPLAIN"),
    ("PRAGMA user_version", "PRAGMA"),
    ("VACUUM FULL orders", "VACUUM FULL"),
    ("CALL shop.refill('x')", "CALL shop.refill"),
    ("CALL refill;", "CALL refill"),
]

#: what a secret is planted in, by system
LITERALS = {
    "postgresql": [
        "'{}'", "'it''s {}'", "E'\\'{}'", "$${}$$", "$a$ $$ {} $a$", "U&'{}'", "N'{}'", "DATE'{}'",
        "'{{\"a\": \"{}\"}}'::jsonb",
    ],
    "mysql": [
        "'{}'", '"{}"', "'it''s {}'", '"it""s {}"', "N'{}'", "_utf8'{}'", "@{}", "@@{}",
        "'it\\'s {}'", '"\\"{}"',
    ],
    "sqlite": ["'{}'", '"{}"', "'it''s {}'", '"two {}"', "'{}\\'"],
    "oracle.db": ["'{}'", "'it''s {}'", "q'[it's {}]'", ":{}", "N'{}'"],
    "microsoft.sql_server": ["'{}'", '"{}"', "N'{}'", "'it''s {}'", "@{}"],
    "": ["'{}'", '"{}"', "'it''s {}'", "'''{} it's'''", '"""{} "\' """', "'\\'{}'", "`'{}'`"],
}  # fmt: skip
NAMES = st.sampled_from(["a", "t.b", "customer", "f", "x1"])
NUMBERS = st.sampled_from(["1", "-2", "0xFF", "1e-5", "1_000", ".5", "$1", "?", "%s", ":p", "NULL"])


@st.composite
def statements(draw: st.DrawFn, system: str) -> str:
    """Statements of a grammar, with a secret in each of its strings; some are cut off."""
    value = st.one_of(
        st.sampled_from(LITERALS[system]).map(lambda each: each.format(SECRET)), NUMBERS
    )
    several = st.lists(value, min_size=1, max_size=4).map(", ".join)
    operand = st.one_of(value, NAMES, several.map(lambda each: f"f({each})"))
    operator = st.sampled_from([" = ", "=", " <> ", " LIKE ", " || ", "+", " - "])
    test = st.one_of(
        st.tuples(operand, operator, operand).map("".join),
        st.tuples(NAMES, several).map(lambda each: f"{each[0]} IN ({each[1]})"),
        st.tuples(value, value).map(lambda each: f"a BETWEEN {each[0]} AND {each[1]}"),
        value.map(lambda each: f"CASE WHEN a THEN {each} ELSE {each} END = 1"),
    )
    where = draw(st.lists(test, min_size=1, max_size=3).map(" AND ".join))
    comment = draw(st.sampled_from(["", f" /* {SECRET} */", f" -- {SECRET}\n"]))
    rows = draw(st.lists(several, min_size=1, max_size=3).map("), (".join))
    of, one = draw(several), draw(value)
    statement = draw(st.sampled_from([
        f"SELECT {of} FROM t{comment} WHERE {where}",
        f"SELECT (SELECT {of}) AS b FROM t JOIN u ON {where} ORDER BY 1",
        f"INSERT INTO t (a, b){comment} VALUES ({rows})",
        f"INSERT INTO t SELECT {of} WHERE {where}",
        f"UPDATE t SET a = {one}, b = {one} WHERE {where}",
        f"DELETE FROM t WHERE {where}{comment} LIMIT 1",
        f"WITH w AS (SELECT {of}) SELECT * FROM w WHERE {where}",
        f"ALTER ROLE r PASSWORD {one}",
        f"SET app.{SECRET} = {one}",
        f"VALUES ({rows})",
    ]))  # fmt: skip
    return statement[: draw(st.integers(1, len(statement)))] if draw(st.booleans()) else statement


@pytest.mark.parametrize(("system", "sql"), PLANTED, ids=[sql for _, sql in PLANTED])
def test_no_planted_secret_is_in_a_shape_however_it_ends(system: str, sql: str) -> None:
    for end in range(len(sql) + 1):
        assert SECRET[:5] not in shape(sql[:end], system), sql[:end]


@pytest.mark.parametrize("system", LITERALS)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_secret_of_a_statement_by_the_grammar_is_in_its_shape(
    system: str, data: st.DataObject
) -> None:
    sql = data.draw(statements(system))
    found = shape(sql, system)
    assert SECRET[:4] not in found
    assert SECRET[:4] not in shape(found, system)


def test_behind_a_quote_that_was_misread_nothing_is_kept() -> None:
    sql = f"SELECT * FROM u WHERE a = 1 AND name = 'O' AND {SECRET}' AND pin = 1"
    assert shape(sql, "postgresql") == "SELECT * FROM u WHERE a = ? AND name = ..."


@pytest.mark.parametrize(
    ("system", "sql"),
    [
        ("postgresql", 'SELECT t."a", b::text FROM "t" WHERE c IN (1, 2) AND d = \'x\' LIMIT 5'),
        ("postgresql", "INSERT INTO t (a) VALUES (1, 'b'), (2, 'c') ON CONFLICT DO NOTHING"),
        ("postgresql", f"SELECT {', '.join(f'column_{each}' for each in range(900))} FROM t"),
        ("postgresql", "SELECT a FROM t WHERE b = 'x"),
        ("sqlite", 'UPDATE "t" SET "a" = ?, "b" = 1 WHERE "t"."id" = 1'),
        ("sqlite", 'INSERT INTO "t" ("a", "b") VALUES (?, ?)'),
        ("mysql", "SELECT `a` FROM `t` WHERE b = 'x' -- why"),
        ("microsoft.sql_server", "SELECT [a b] FROM [t] WHERE c = @p"),
    ],
)
def test_the_shape_of_a_shape_is_the_same(system: str, sql: str) -> None:
    found = shape(sql, system)
    assert shape(found, system) == found


@pytest.mark.parametrize(("sql", "kept"), KEPT)
def test_of_a_statement_that_works_on_no_data_verb_and_kind_are_kept(sql: str, kept: str) -> None:
    assert shape(sql, "postgresql") == kept
    assert shape(kept, "postgresql") == kept


@pytest.mark.parametrize(
    "sql",
    [
        "(" * 100_000, "SELECT " + "(" * 100_000, "SELECT '" + "a" * 1_000_000,
        "SELECT " + "a," * 500_000, "/*" * 500_000, "SELECT " + "$a" * 500_000,
        "SELECT " + "\\'" * 500_000, "SELECT " + "[" * 500_000, "SELECT " + '"' * 999_999,
        "SELECT a IN (" + "(1,2)," * 200_000, "SELECT \x00" + "'a' " * 200_000,
        "SELECT " + "\u2018" * 400_000,
    ],
    ids=lambda sql: repr(sql[:12]),
)  # fmt: skip
@pytest.mark.parametrize("system", ["postgresql", "mysql", ""])
def test_a_huge_or_nested_statement_takes_next_to_no_time(sql: str, system: str) -> None:
    begun = time.process_time()
    assert len(shape(sql, system)) <= MAX_SHAPE
    assert time.process_time() - begun < 1.0  # 20 ms as a rule
