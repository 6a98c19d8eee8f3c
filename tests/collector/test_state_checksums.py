"""A bit that a disk changes in keys.db or state.db is told, and changes no right and no rule."""

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

import trimtab_collector
from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from trimtab_collector.alerts.file import AlertsFile
from trimtab_collector.alerts.ruleset import RuleSet
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.auth.keyring import KeyRing
from trimtab_collector.auth.keys import KeyFile
from trimtab_collector.auth.people import PEOPLE, People
from trimtab_collector.auth.tokens import ServiceTokens
from trimtab_collector.checkedrows import CheckedConnection, add_checksums
from trimtab_collector.contract.callers import ITSELF, Role
from trimtab_collector.marks import Marks
from trimtab_collector.statefile import Schema, StateFile
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check
from trimtab_core.errors import StartupError

_WRITES: Final = re.compile(r"\b(INSERT (OR \S+ )?INTO|UPDATE \S+ SET)\b")
_BOOK: Final = "CREATE TABLE book (id TEXT PRIMARY KEY, price REAL NOT NULL) WITHOUT ROWID"
#: the tables whose pages are flipped, and what is read of each
_READ: Final = {
    "person": "SELECT id, name, folded, role, password, version, disabled_s FROM person",
    "service_token": "SELECT id, hash, name, origin, expires_s, revoked_s FROM service_token",
    "mark": "SELECT id, kind, name, environment, service, at_s, by, detail FROM mark",
    "audit": "SELECT id, at_s, by, role, action, subject, before, after FROM audit",
}


def at_rest(path: Path) -> None:
    """Bring everything into the one file, as after an orderly stop."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def page_of(path: Path, table: str) -> range:
    """Return where the page of a table lies that has one."""
    with closing(sqlite3.connect(path)) as connection:
        ((size,),) = connection.execute("PRAGMA page_size").fetchall()
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((page,),) = connection.execute(sql, (table,)).fetchall()
    return range((page - 1) * size, page * size)


def flipped(path: Path, where: range) -> Iterator[str]:
    """Put every file at a path that differs by one bit there, where there is anything."""
    whole = path.read_bytes()
    for place in where:
        # The space between the heads and the rows is empty, and not read.
        for bit in range(8) if whole[place] or place - where.start < 12 else ():
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            for beside in path.parent.glob(f"{path.name}-*"):
                beside.unlink()
            path.write_bytes(changed)
            yield f"byte {place - where.start}, bit {bit}"
    path.write_bytes(whole)


def silent(path: Path, where: range, look: Callable[[], tuple[Any, bool]]) -> tuple[int, list[str]]:
    """Return how many flips were made, and those that change what is read and are not told."""
    found, _ = look()
    count, wrong = 0, []
    for what in flipped(path, where):
        count += 1
        try:
            now, is_told = look()
        except (sqlite3.DatabaseError, StartupError):
            continue
        if now != found and not is_told:
            wrong.append(what)
    return count, wrong


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def test_no_bit_of_the_keys_changes_one_in_silence(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.new("evil", ["prod"], ["evil"], ["web-1"])
    _, bound = file.new("shop", ["prod"], ["shop"])
    _, old = file.new("old", probes=True)
    file.bind(bound.id, "shop-agent")
    file.revoke(old.id)
    at_rest(file.path)

    def look() -> tuple[Any, bool]:
        ring = KeyRing(tmp_path)
        try:
            return KeyFile(tmp_path).list(), bool(ring.unreadable or ring.trouble)
        finally:
            ring.close()

    count, wrong = silent(file.path, page_of(file.path, "agent_key"), look)
    assert count > 2_000
    assert wrong == []


@pytest.mark.parametrize("table", sorted(_READ))
def test_no_bit_of_the_state_changes_it_in_silence(tmp_path: Path, table: str) -> None:
    state = StateFile(tmp_path, (AUDIT,))
    people, tokens, marks = People(state), ServiceTokens(state), Marks(state)
    ada = people.add(ITSELF, "ada", "hash of a password", Role.ADMIN)
    people.add(ITSELF, "bob", "hash of another", Role.PLANNER)
    people.change(ITSELF, ada.id, None, None, "hash of a new one")
    _, token = tokens.new(ITSELF, "ci", "api", 30)
    tokens.new(ITSELF, "cd", "api")
    tokens.revoke(ITSELF, token.id)
    for name in ("1.0", "1.1"):
        marks.add("deploy", name, "prod", "shop", 1_800_000_000.0)
    state.close()
    at_rest(state.path)

    def look() -> tuple[Any, bool]:
        found = StateFile(tmp_path, waits=True)
        try:
            rows = found.decoded(_READ[table], (), lambda *row: row)
            return rows, bool(found.unreadable or found.trouble)
        finally:
            found.close()

    count, wrong = silent(state.path, page_of(state.path, table), look)
    assert count > 700
    assert wrong == []


@pytest.mark.parametrize("column", ["id", "body", "crc"])
def test_a_rule_that_was_changed_on_the_disk_is_not_judged(tmp_path: Path, column: str) -> None:
    state = StateFile(tmp_path, (AUDIT,))
    rules = RuleSet(state, AlertsFile(tmp_path / "alerts.toml"))
    before = len(rules.config_rules())
    ((rule, body),) = state.rows("SELECT id, body FROM alert_config ORDER BY id LIMIT 1")
    other = {"id": rule + "x", "body": body.replace("0.9", "0.8") + " ", "crc": 1}[column]
    with closing(sqlite3.connect(state.path, isolation_level=None)) as disk:
        disk.execute(f"UPDATE alert_config SET {column} = ? WHERE id = ?", (other, rule))
    assert len(rules.config_rules()) == before - 1
    assert state.unreadable == 1
    state.close()
    again = StateFile(tmp_path, waits=True)
    assert again.unreadable == 1
    again.close()


def test_a_change_of_a_damaged_row_does_not_vouch_for_it(tmp_path: Path) -> None:
    state = StateFile(tmp_path, (AUDIT,))
    people = People(state)
    ada = people.add(ITSELF, "ada", "hash", Role.PLANNER)
    with state.change() as connection:
        connection.execute("UPDATE person SET role = 'admin'")
        assert connection.revise("person", "login_s = ?", (1.0,), "id = ?", (ada.id,)) == 0
        assert connection.revise("person", "version = 2", (), "1", (), damaged=True) == 1
    assert people.find(ada.id) is None
    state.close()


def test_rows_of_an_earlier_version_get_their_checksums(tmp_path: Path) -> None:
    state = StateFile(tmp_path, (Schema("book", (_BOOK,)),))
    with state.change() as connection:
        connection.put("book", ("a", 5))
    state.bring(Schema("book", (_BOOK, add_checksums("book"))))
    with state.change() as connection:
        connection.put("book", ("b", 7), "id, price")
        connection.put("book", ("b", 8), conflict="IGNORE")
    assert state.decoded("SELECT id, price FROM book", (), lambda *row: row) == [("a", 5), ("b", 7)]
    with state.change() as connection:
        connection.execute("UPDATE book SET price = 6 WHERE id = 'a'")
    # A column that comes later is in the checksums of sound rows from then on.
    more = "ALTER TABLE book ADD COLUMN pages INTEGER NOT NULL DEFAULT 9"
    state.bring(Schema("book", (_BOOK, add_checksums("book"), more)))
    found = state.decoded("SELECT id, price, pages FROM book", (), lambda *row: row)
    assert found == [("b", 7, 9)]
    assert state.unreadable == 1
    state.close()


def test_a_state_of_an_earlier_version_is_brought_forward_with_its_people(tmp_path: Path) -> None:
    old = StateFile(tmp_path, (Schema(PEOPLE.owner, PEOPLE.steps[:2]),))
    with old.change() as connection:
        connection.execute(
            "INSERT INTO person VALUES ('p', 'ada', 'ada', 'admin', 'x', 1, 0, NULL, NULL)"
        )
    old.close()
    state = StateFile(tmp_path, waits=True)
    assert [each.name for each in People(state).list()] == ["ada"]
    state.survey()
    assert (state.unreadable, state.trouble) == (0, "")
    state.close()


@pytest.mark.parametrize("value", [True, 3, 2.0, 2.5, float("nan"), "x", b"x", bytearray(b"x")])
@pytest.mark.parametrize("kind", ["REAL", "INTEGER", "TEXT", "BLOB"])
def test_a_row_is_as_it_was_written_whatever_sqlite_makes_of_its_values(
    kind: str, value: object
) -> None:
    with closing(sqlite3.connect(":memory:", factory=CheckedConnection)) as connection:
        connection.execute(f"CREATE TABLE t (id TEXT PRIMARY KEY, value {kind}, crc INTEGER)")
        connection.put("t", ("a", value))
        connection.put("t", ("b", value), "id, value")
        rows = connection.execute("SELECT crc FROM t ORDER BY id").fetchall()
        connection.execute("UPDATE t SET crc = NULL")
        connection.seal("t")
        assert connection.execute("SELECT crc FROM t ORDER BY id").fetchall() == rows


def test_the_collector_tells_of_a_user_whose_role_a_disk_has_changed() -> None:
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        process.start()
        admin = Client(process.port)
        admin.login()
        made = {"name": "eve", "password": PASSWORD, "role": "planner"}
        assert admin.ask("POST", "/users", made).status in (200, 201)
        assert admin.ask("GET", "/health").data["state"]["unreadable"] == 0
        process.stop()
        with closing(sqlite3.connect(process.data / "state.db", isolation_level=None)) as disk:
            disk.execute("UPDATE person SET role = 'admin' WHERE name = 'eve'")
        assert [
            each.what for each in check(process.data, Retention(), lambda _text: None).findings
        ] == ["rows of person are not as they were written, and are not used"]
        process.start()
        admin = Client(process.port)
        admin.login()
        assert [each["name"] for each in admin.ask("GET", "/users").data["users"]] == [ADMIN]
        health = admin.ask("GET", "/health").data
        assert health["status"] == "degraded"
        assert health["state"]["unreadable"] >= 1
        assert "rows are not as they were written" in process.output()


def test_no_statement_writes_rows_past_their_checksums() -> None:
    """Rows of the two files are written by `put` and `revise` alone."""
    package = Path(trimtab_collector.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if _WRITES.search(path.read_text(encoding="utf-8"))
    }
    others = {name for name in found if not name.startswith("storage/")}
    # The steps of schemas, whose table has no checksums.
    assert others == {"checkedrows.py", "statefile.py"}


def test_every_table_of_the_state_has_checksums() -> None:
    with short_dir() as directory, Collector(directory) as process:
        process.start()
        process.stop()
        for name in ("state.db", "keys.db"):
            with closing(sqlite3.connect(process.data / name)) as file:
                tables = file.execute(
                    "SELECT name FROM sqlite_master"
                    " WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
                ).fetchall()
                without = [
                    table
                    for (table,) in tables
                    if "crc" not in str(file.execute(f"PRAGMA table_info({table})").fetchall())
                ]
            assert without == (["schema_step"] if name == "state.db" else [])
            assert tables
