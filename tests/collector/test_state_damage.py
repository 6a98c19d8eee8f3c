"""`state.db` that is damaged: a bad row costs itself, a bad page ends the start in one sentence."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.notices import AT_S, notice
from support.outboxes import Box, box
from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, Proc, short_dir
from support.stores.alertworld import AlertWorld, add, alert_world, told
from support.stores.badrows import plant
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.auth.cli import opened
from trimtab_collector.auth.people import People
from trimtab_collector.auth.setup import SetupLink
from trimtab_collector.checkedrows import CheckedConnection
from trimtab_collector.contract.callers import ITSELF, Role
from trimtab_collector.contract.errors import instant
from trimtab_collector.deploys import Deploys
from trimtab_collector.marks import Marks
from trimtab_collector.notify.outbox import Lease
from trimtab_collector.objectives.kpis import DEFAULTS, KpiBook
from trimtab_collector.statefile import StateFile
from trimtab_core.errors import StartupError

SETTINGS = {
    "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
    "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFile]:
    found = StateFile(tmp_path, (AUDIT,))
    yield found
    found.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        yield found


def planted(path: Path, *statements: str) -> None:
    """Write rows that the collector would not, while it is not running."""
    connection = sqlite3.connect(path, factory=CheckedConnection)
    with connection:
        for each in statements:
            plant(connection, each)
    connection.close()


def test_a_collector_starts_with_a_bad_row_in_every_table_and_says_so() -> None:
    with short_dir() as directory, Collector(directory, **SETTINGS) as process:
        process.start()
        assert Client(process.port).login().status == 200
        assert process.stop() == 0
        planted(
            process.data / "state.db",
            "INSERT INTO person SELECT 'x', 'eve', 'eve', 'emperor', password, 1, 1, NULL, NULL"
            " FROM person LIMIT 1",
            "INSERT INTO person SELECT 'y', CAST(x'ff' AS TEXT), 'yves', 'admin', password, 'one',"
            " 1, NULL, NULL FROM person LIMIT 1",
            "INSERT INTO service_token VALUES ('x', x'00', 'x', 'api', 1, 'soon', NULL, NULL)",
            "INSERT INTO silence VALUES ('x', '[1]', 'c', 'now', 9e12, 'x', 'then')",
            "INSERT INTO threshold VALUES ('noSuchMetric', 1, 2)",
            "INSERT INTO threshold VALUES ('p95', 'much', 2)",
            "INSERT INTO alert_config VALUES ('x', '{')",
            "INSERT OR REPLACE INTO evaluation VALUES (1, 'yesterday')",
            "INSERT INTO mark VALUES (77, 'deploy', 'x', '', '', 'noon', '', '', 1)",
            "INSERT OR REPLACE INTO kpi_targets VALUES (1, '[]', 'x', 'noon')",
            "INSERT INTO seen_version VALUES ('', 'shop', '1', 'noon', 0)",
            "INSERT INTO audit VALUES (NULL, CAST(strftime('%s') AS REAL) - 5, 'x', 'admin', 'x.y',"
            " 'x', '[1]', NULL)",
            "INSERT INTO channel VALUES ('x', 'smtp', 'api', '[')",
            "INSERT INTO delivery (channel, key, thread, kind, severity, notice, addresses, state,"
            " added_s, due_s, done_s) VALUES ('x', 'x', 'x', 'firing', 'warning', '{', '7',"
            " 'pending', 'noon', 'noon', NULL)",
        )
        process.start()
        admin = Client(process.port)
        assert admin.login().status == 200
        for path in ("/users", "/tokens", "/silences", "/thresholds", "/alert-configs", "/alerts",
                     "/marks", "/kpis", "/audit", "/channels", "/deliveries"):  # fmt: skip
            answer = admin.ask("GET", path)
            assert answer.status == 200, (path, answer.body)
        assert [each["name"] for each in admin.ask("GET", "/users").data["users"]] == [ADMIN]
        health = admin.ask("GET", "/health").data
        assert health["status"] == "degraded"
        assert health["state"]["unreadable"] >= 8


def test_a_threshold_or_silence_that_cannot_be_read_costs_itself(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100)
    with world.state.change() as connection:
        plant(connection, "INSERT INTO threshold VALUES ('noSuchMetric', 1, 2)")
        plant(connection, "INSERT INTO silence VALUES ('x', '[1]', 'c', 0, 9e12, 'x', 0)")
    world.restart()
    world.pass_windows(4, 500)
    assert told(world, "slow") == ["firing"]
    assert world.evaluator.failures == 0
    assert world.state.unreadable >= 2


@pytest.mark.parametrize(
    "damage",
    [
        "addresses = '7'",
        "addresses = '{'",
        "notice = '{'",
        "added_s = 'noon'",
        "due_s = 'noon'",
        "attempts = 'many'",
        "lease_until_s = 'noon'",
    ],
)
def test_a_message_that_cannot_be_read_is_given_up_and_the_next_leaves(damage: str) -> None:
    with box() as mail:
        mail.channel("ops")
        mail.add(notice(key="a:1", thread="a"))
        with mail.state.change() as connection:
            plant(connection, f"UPDATE delivery SET {damage}")
        mail.add(notice(key="b:1", thread="b"))
        taken = next(found for _ in range(3) if isinstance(found := take(mail), Lease))
        assert [each.key for each in taken.message.notices] == ["b:1"]
        ((state, error),) = mail.state.rows("SELECT state, error FROM delivery WHERE key = 'a:1'")
        assert (state, error) == ("dead", "the row cannot be read")


def take(mail: Box) -> Any:
    return mail.outbox.take("ops", "me")


def test_marks_targets_and_versions_that_cannot_be_read_are_left_out(state: StateFile) -> None:
    marks, kpis = Marks(state), KpiBook(state)
    Deploys(marks, state)
    marks.add("deploy", "good", at_s=AT_S)
    kpis.put(DEFAULTS[:1], ITSELF)
    with state.change() as connection:
        plant(connection, "INSERT INTO mark VALUES (77, 'd', x'ff', '', '', 5, '', '', 1)")
        plant(connection, "UPDATE kpi_targets SET changed_s = 'noon'")
        plant(connection, "INSERT INTO seen_version VALUES ('', 's', '1', 'noon', 0)")
    assert [each.name for each in marks.between(0, 2 * AT_S)] == ["good"]
    assert marks.find(77) is None
    assert len(kpis.targets()) == len(DEFAULTS)
    Deploys(marks, state)
    assert state.unreadable == 4


def test_no_link_of_set_up_is_offered_where_users_cannot_be_read(state: StateFile) -> None:
    people = People(state)
    people.add(ITSELF, "ada", "hash", Role.ADMIN)
    with state.change() as connection:
        plant(connection, "UPDATE person SET role = 'emperor'")
    assert people.list() == []
    assert not SetupLink(people).is_open()


def test_bytes_that_are_no_text_cost_a_character_and_no_other_row(state: StateFile) -> None:
    people = People(state)
    people.add(ITSELF, "ada", "hash", Role.ADMIN)
    with state.change() as connection:
        plant(
            connection,
            "INSERT INTO person VALUES ('y', CAST(x'62ff' AS TEXT), 'b', 'admin', 'h', 1, 1, NULL,"
            " NULL)",
        )
    assert [each.name for each in people.list()] == ["ada", "b\ufffd"]


@pytest.mark.parametrize("t_s", [-1e300, -7e10, 3e11, 5.764e17, 1e300, float("inf")])
def test_a_time_that_no_clock_tells_is_shown_as_the_nearest(t_s: float) -> None:
    assert instant(t_s)[:4] in ("0001", "9999")


def ruin(path: Path) -> None:
    """Overwrite every page but the first."""
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x55" * (len(data) - 4096)
    path.write_bytes(data)


def no_head(path: Path) -> None:
    path.write_bytes(b"\x55" * path.stat().st_size)


def test_a_damaged_page_ends_the_start_with_one_sentence() -> None:
    with short_dir() as directory, Collector(directory, **SETTINGS) as process:
        process.start()
        assert process.stop() == 0
        ruin(process.data / "state.db")
        Proc.start(process)
        code, text = process.wait_exit(), process.output()
        assert code == 2, text
        assert "expected sound files of state" in text
        assert "Traceback" not in text


@pytest.mark.parametrize("damage", [ruin, no_head])
def test_a_damaged_page_ends_a_subcommand_with_one_sentence(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with opened(tmp_path) as state:
        People(state).add(ITSELF, "ada", "hash", Role.ADMIN)
    damage(tmp_path / "state.db")
    expected = pytest.raises(StartupError, match="expected sound files of state")
    with expected, opened(tmp_path) as state:
        People(state).list()
