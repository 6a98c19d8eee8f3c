"""The shape of a statement: what is the same joins, what differs stays apart, no value is in it."""

import random

import pytest

from trimtab_core.shapecache import ShapeCache
from trimtab_core.shapes import MAX_SHAPE, shape

SECRET = "hunter2xyz"

#: statements that are one but for their values and spaces
JOINED = [
    ("SELECT * FROM t WHERE a = 1", "SELECT * FROM t WHERE a = 22"),
    ("SELECT * FROM t WHERE a = 1", "SELECT * FROM t WHERE a = -1"),
    ("SELECT * FROM t WHERE a = 1", "SELECT * FROM t WHERE a = - 1.5e-3"),
    ("SELECT * FROM t WHERE a = 1", "SELECT * FROM t WHERE a = 'x'"),
    ("SELECT * FROM t WHERE a = 1", "SELECT  *\n\tFROM t  WHERE a = 1;"),
    ("SELECT * FROM t WHERE a = 1", "SELECT * /* why */ FROM t WHERE a = 1 -- so"),
    ("SELECT * FROM t WHERE a = %s", "SELECT * FROM t WHERE a = $1"),
    ("SELECT * FROM t WHERE a = :a", "SELECT * FROM t WHERE a = %(a)s"),
    ("SELECT * FROM t WHERE a = ?", "SELECT * FROM t WHERE a = $tag$it's$tag$"),
    ("SELECT * FROM t WHERE a = x'ff'", "SELECT * FROM t WHERE a = 0xff"),
    ("SELECT * FROM t WHERE a IN (1, 2)", "SELECT * FROM t WHERE a IN (1,2,3)"),
    ("SELECT * FROM t WHERE a IN (1)", "SELECT * FROM t WHERE a IN(%s, %s)"),
    ("SELECT * FROM t WHERE a IN ($1::INTEGER)", "SELECT * FROM t WHERE a IN (1, 2)"),
    ("SELECT 1 FROM t WHERE (a) IN ((1, 2))", "SELECT 1 FROM t WHERE (a) IN ((1, 2), (3, 4))"),
    ("INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (1, 'a'), (-2, NULL), (3, 'c')"),
    ("INSERT INTO t VALUES (f(1), 2)", "INSERT INTO t VALUES (f(1), 2), (f(g(3)), 4)"),
    ("SELECT ANY(ARRAY[1, 2])", "SELECT ANY(ARRAY[1, 2, 3])"),
]  # fmt: skip
APART = [
    ("SELECT a FROM t", "SELECT b FROM t"),
    ("SELECT a FROM t1", "SELECT a FROM t2"),
    ("SELECT a - 1 FROM t", "SELECT a + 1 FROM t"),
    ("SELECT * FROM t WHERE a = 1", "SELECT * FROM t WHERE b = 1"),
    ("SELECT * FROM t WHERE a = 1", "SELECT * FROM t WHERE a > 1"),
    ("SELECT f(1)", "SELECT f(1, 2)"),
    ("INSERT INTO t (a) VALUES (1)", "INSERT INTO t (b) VALUES (1)"),
    ("SELECT * FROM t LIMIT 1", "SELECT * FROM t LIMIT 1 OFFSET 2"),
    ("INSERT INTO t VALUES (1), (2)", "INSERT INTO t VALUES (1), (2) ON CONFLICT DO NOTHING"),
    ('SELECT "a" FROM t', 'SELECT "b" FROM t'),
]

#: system and statement; each holds the secret where a value is or may be
PLANTED = [
    ("postgresql", f"SELECT * FROM u WHERE password='{SECRET}'"),
    ("postgresql", f"SELECT * FROM u WHERE p = 'a''{SECRET}''b' AND c = 1"),
    ("postgresql", f"SELECT 1 -- {SECRET}\n FROM t"),
    ("postgresql", f"SELECT 1 /* {SECRET} */ FROM t"),
    ("postgresql", f"SELECT 1 /* a /* b */ {SECRET} */ FROM t"),
    ("postgresql", f"SELECT 1 /* {SECRET}"),
    ("postgresql", f"SELECT $${SECRET}$$"),
    ("postgresql", f"SELECT $a$ $b$ {SECRET} $b$ {SECRET} $a$, 1"),
    ("postgresql", f"SELECT $a$ {SECRET} $$ {SECRET} $b$ {SECRET}"),
    ("postgresql", f"SELECT E'it\\'s {SECRET}', 1"),
    ("postgresql", f"SELECT e'\\\\', '{SECRET}'"),
    ("postgresql", f"SELECT 'it\\'s {SECRET}'"),
    ("postgresql", f"SELECT 'C:\\', '{SECRET}'"),
    ("postgresql", f"SELECT U&'\\0041{SECRET}'"),
    ("postgresql", f"SELECT N'{SECRET}', B'01', '{SECRET}'"),
    ("postgresql", f"SELECT '{SECRET}"),
    ("postgresql", f"SELECT a FROM t WHERE b LIKE '%{SECRET}' ESCAPE '\\' AND c = '{SECRET}'"),
    ("postgresql", f"ALTER USER shop PASSWORD '{SECRET}'"),
    ("postgresql", f"INSERT INTO t VALUES ('a', '{SECRET}'), ('b', '{SECRET}'), (1, '{SECRET}"),
    ("postgresql", f"SELECT ` ' ` {SECRET} '"),
    ("postgresql", f"SELECT dblink('host=h password={SECRET}') \x00 {SECRET}"),
    ("mysql", f'SELECT * FROM u WHERE password="{SECRET}"'),
    ("mysql", f'SELECT * FROM u WHERE password="it\\"s {SECRET}"'),
    ("mysql", f"SELECT * FROM u WHERE password='it\\'s {SECRET}'"),
    ("mysql", f"SELECT 1 # {SECRET}"),
    ("mysql", f"SELECT 1 --'a\n{SECRET}'"),
    ("mysql", f"SELECT 1 /*! '*/ {SECRET}' */"),
    ("mysql", f"CREATE USER u IDENTIFIED BY {SECRET}"),
    ("sqlite", f'SELECT * FROM u WHERE password = "{SECRET}"'),
    ("sqlite", f'SELECT * FROM u WHERE password LIKE "{SECRET}" AND a = 1'),
    ("sqlite", f'SELECT * FROM u WHERE p IN ("a", "{SECRET}")'),
    ("sqlite", f'INSERT INTO u VALUES (1, "{SECRET}"), (2, "{SECRET}")'),
    ("sqlite", f'SELECT "the {SECRET}"'),
    ("sqlite", f"SELECT [it's] FROM t WHERE a = '{SECRET}'"),
    ("sqlite", f"PRAGMA key = {SECRET}"),
    ("sqlite", f"SELECT 'a\\', '{SECRET}'"),
    ("oracle.db", f"SELECT q'[it's {SECRET}]' FROM dual"),
    ("microsoft.sql_server", f"SELECT [it's], '{SECRET}' FROM #t"),
    ("other_sql", f'SELECT "{SECRET}", \'{SECRET}\' # {SECRET}'),
    ("other_sql", f"SELECT \u2018{SECRET}\u2019"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), JOINED, ids=[other for _, other in JOINED])
def test_statements_that_differ_in_values_and_spaces_have_one_shape(one: str, other: str) -> None:
    assert shape(one, "postgresql") == shape(other, "postgresql")


@pytest.mark.parametrize(("one", "other"), APART, ids=[other for _, other in APART])
def test_statements_that_differ_otherwise_have_two_shapes(one: str, other: str) -> None:
    assert shape(one, "postgresql") != shape(other, "postgresql")


@pytest.mark.parametrize(("system", "sql"), PLANTED, ids=[sql for _, sql in PLANTED])
def test_no_planted_secret_is_in_a_shape(system: str, sql: str) -> None:
    assert SECRET not in shape(sql, system)


@pytest.mark.parametrize(("system", "sql"), PLANTED, ids=[sql for _, sql in PLANTED])
def test_a_text_that_ends_anywhere_lets_no_secret_through(system: str, sql: str) -> None:
    for end in range(len(sql)):
        assert SECRET[:5] not in shape(sql[:end], system), sql[:end]


def test_values_of_every_kind_in_any_order_let_no_secret_through() -> None:
    fragments = {
        "postgresql": [
            f"'{SECRET}'", f"E'\\'{SECRET}'", f"$${SECRET}$$", f"$q$'{SECRET}$q$",
            f"/* '{SECRET} */", f"-- '{SECRET}\n", f"'it''s {SECRET}'", f"B'{SECRET}'",
            f"'\\{SECRET}'",
        ],
        "mysql": [
            f"'{SECRET}'", f'"{SECRET}"', f"'{SECRET}\\\\'", f"# {SECRET}\n", f"-- '{SECRET}\n",
            f"/* \"{SECRET} */", f'"it\'s {SECRET}"', f"'\"{SECRET}'",
        ],
        "sqlite": [
            f"'{SECRET}'", f'= "{SECRET}"', f"/* '{SECRET} */", f"-- '{SECRET}\n",
            f"'\\', '{SECRET}'",
            f'"{SECRET} \'"', f"IN ('a', \"{SECRET}\")",
        ],
        "": [f"'{SECRET}'", f'"{SECRET}"', f"$${SECRET}$$", f"/* '{SECRET} */", f"'\\'{SECRET}'"],
    }  # fmt: skip
    between = [" ", ", ", " AND a = ", "(", ")", " IN (", " VALUES (", "[", "]", "1", "-", "a", ""]
    dice = random.Random(7)
    for _ in range(3000):
        system = dice.choice(list(fragments))
        parts = [dice.choice(fragments[system] + between) for _ in range(dice.randrange(2, 12))]
        sql = "SELECT " + " ".join(parts)
        found = shape(sql, system)
        assert SECRET not in found, (system, sql, found)


@pytest.mark.parametrize(
    ("system", "sql", "expected"),
    [
        ("postgresql", 'SELECT "Order Details" FROM "t"', 'SELECT "Order Details" FROM "t"'),
        ("mysql", "SELECT `a`, \"x\" FROM `t`", "SELECT `a`, ? FROM `t`"),
        ("sqlite", 'SELECT "u"."a" FROM "u" WHERE "u"."b" = "u"."c"', None),
        ("sqlite", "SELECT [a b] FROM t", "SELECT [a b] FROM t"),
        ("postgresql", "SELECT a::text, b[1], c2 FROM t1", "SELECT a::text, b[?], c2 FROM t1"),
        ("postgresql", "SELECT a FROM t WHERE b = 'x", "SELECT a FROM t WHERE b = ..."),
        ("sqlite", "SELECT a FROM t WHERE b LIKE ? ESCAPE '\\' AND c = 1",
         "SELECT a FROM t WHERE b LIKE ? ESCAPE ? AND c = ?"),
        ("mysql", "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a), b = VALUES(b)",
         "INSERT INTO t VALUES (?) ON DUPLICATE KEY UPDATE a = VALUES(a), b = VALUES(b)"),
        ("sqlite", "", ""),
    ],
)  # fmt: skip
def test_names_stay_as_they_were_written(system: str, sql: str, expected: str | None) -> None:
    assert shape(sql, system) == (sql if expected is None else expected)


def test_a_shape_is_at_most_a_thousand_characters_long() -> None:
    columns = ", ".join(f"column_{number}" for number in range(1000))
    found = shape(f"SELECT {columns} FROM t", "sqlite")
    assert MAX_SHAPE - 50 < len(found) <= MAX_SHAPE
    assert found.endswith("...")


def test_of_a_huge_text_the_beginning_is_read() -> None:
    values = ", ".join(f"'{SECRET}{number}'" for number in range(100_000))
    found = shape(f"SELECT * FROM t WHERE a IN ({values}) AND b = 1", "sqlite")
    assert found == "SELECT * FROM t WHERE a IN ( ..."


def test_what_was_asked_for_lately_is_kept_and_the_rest_is_made_again() -> None:
    made: list[str] = []

    def make(text: str) -> str:
        made.append(text)
        return text.upper()

    kept = ShapeCache(make)
    assert [kept.of("often"), kept.of("often")] == ["OFTEN", "OFTEN"]
    for number in range(5000):
        kept.of(f"once {number}")
        kept.of("often")
    assert made.count("often") == 1
    assert len(kept) <= 1024
    kept.of("once 0")
    assert made.count("once 0") == 2


def test_long_texts_are_bounded_in_characters_and_huge_ones_are_not_kept() -> None:
    kept = ShapeCache(len)
    for number in range(500):
        kept.of(f"{number:010000d}")
    assert len(kept) > 50
    assert len(kept) * 10_000 <= 1.1 * (1 << 20)
    before = len(kept)
    assert kept.of("x" * 20_000) == 20_000
    assert len(kept) == before


@pytest.mark.parametrize(
    "statement",
    [
        'SAVEPOINT "s140_x{0}"', "SAVEPOINT sa_savepoint_{0}", "RELEASE SAVEPOINT `s_{0}`",
        "RELEASE sp{0}", "ROLLBACK TO SAVEPOINT sp_{0}", "ROLLBACK TO sp_{0}",
        'ROLLBACK TRANSACTION TO SAVEPOINT "x{0}"', "SAVE TRANSACTION sp{0}",
        'DECLARE "_django_curs_{0}" CURSOR FOR SELECT 1', "FETCH FORWARD 100 FROM cur_{0}",
        "CLOSE cur_{0}", "DEALLOCATE pdo_stmt_{0}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("system", ["postgresql", "sqlite", "mysql", ""])
def test_names_that_libraries_make_up_are_left_out(statement: str, system: str) -> None:
    if "`" in statement and system == "postgresql":
        pytest.skip("no quotes of PostgreSQL's")
    shapes = {shape(statement.format(number), system) for number in range(50)}
    assert len(shapes) == 1
    assert shapes.pop().replace(" ", "").isalpha()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ROLLBACK", "ROLLBACK"),
        ("SELECT release FROM release", "SELECT release FROM release"),
        ("SELECT savepoint FROM t", "SELECT savepoint FROM t"),
        ("CLOSE ALL", "CLOSE ALL"),
        ("RELEASE SAVEPOINT a", "RELEASE SAVEPOINT"),
        ("begin isolation level read committed", "BEGIN ISOLATION LEVEL READ COMMITTED"),
        ("SELECT 1; SAVEPOINT s; SELECT 2", "SELECT ?; SAVEPOINT"),
    ],
)
def test_words_of_a_statement_stay(statement: str, expected: str) -> None:
    assert shape(statement, "postgresql") == expected
