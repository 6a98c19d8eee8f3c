"""A state.db or metrics.db that is gone or empty beside the other: what was lost is told."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.auth.people import People
from trimtab_collector.companions import Companions, accept, is_begun
from trimtab_collector.contract.callers import ITSELF, Role
from trimtab_collector.statefile import StateFile
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check


def started(directory: Path) -> str:
    """Start and stop what a collector opens; returns what it tells."""
    began = is_begun(directory)
    store = SQLiteStore(directory)
    state = StateFile(directory, (AUDIT,), waits=True)
    try:
        return Companions(state, directory, began=began).trouble or state.trouble
    finally:
        state.close()
        store.close()
        (directory / "login-keys").touch()


def findings(directory: Path) -> list[str]:
    report = check(directory, Retention(), lambda _text: None)
    return [f"{each.file}: {each.what}" for each in report.findings]


def gone(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def emptied(path: Path) -> None:
    gone(path)
    path.touch()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a directory in which a collector has run."""
    assert started(tmp_path) == ""
    assert started(tmp_path) == ""
    with closing(StateFile(tmp_path)) as state:
        People(state).add(ITSELF, "ada", "hash", Role.ADMIN)
    return tmp_path


@pytest.mark.parametrize("lose", [gone, emptied])
@pytest.mark.parametrize("keeps_keys", [True, False], ids=["login-keys", "no login-keys"])
def test_a_state_that_is_lost_is_told_at_every_start_until_that_is_accepted(
    data: Path, lose: Callable[[Path], None], keeps_keys: bool
) -> None:
    lose(data / "state.db")
    if not keeps_keys:
        (data / "login-keys").unlink()
    assert findings(data) == [
        "state.db: it is missing or empty: users, rules and silences are lost"
    ]
    # Also if the console was there first.
    StateFile(data, (AUDIT,)).close()
    for _ in range(2):
        assert "users, tokens, rules, silences, channels, marks and alerts are gone" in started(
            data
        )
        assert findings(data)[0].startswith("state.db: state.db was missing or empty")
    assert "users, tokens" in accept(data)
    assert accept(data) == ""
    assert started(data) == ""
    assert findings(data) == []


@pytest.mark.parametrize("lose", [gone, emptied])
def test_a_journal_that_is_lost_is_told_at_every_start_until_that_is_accepted(
    data: Path, lose: Callable[[Path], None]
) -> None:
    lose(data / "metrics.db")
    for _ in range(2):
        assert "batches that were in no other file yet" in started(data)
        assert findings(data)[0].startswith("metrics.db: metrics.db was missing or empty")
    assert "batches that were" in accept(data)
    assert started(data) == ""


@pytest.mark.parametrize("name", ["state.db", "metrics.db"])
def test_a_backup_that_is_put_back_ends_it(data: Path, name: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copy(data / name, kept)
    emptied(data / name)
    assert started(data) != ""
    gone(data / name)
    shutil.copy(kept, data / name)
    assert started(data) == ""


def test_both_files_gone_are_a_new_directory_but_for_the_keys_of_log_ins(data: Path) -> None:
    gone(data / "state.db")
    gone(data / "metrics.db")
    assert "users, tokens" in started(data)
    gone(data / "state.db")
    gone(data / "metrics.db")
    (data / "login-keys").unlink()
    assert started(data) == ""


def without_numbers(data: Path) -> None:
    with closing(sqlite3.connect(data / "state.db", isolation_level=None)) as file:
        file.execute("DROP TABLE companion")
    with closing(sqlite3.connect(data / "metrics.db", isolation_level=None)) as file:
        file.execute("DELETE FROM fact WHERE name = 'state_mark'")


def test_a_directory_of_an_earlier_version_is_not_accused(data: Path) -> None:
    without_numbers(data)
    assert started(data) == ""
    assert started(data) == ""
    gone(data / "state.db")
    assert started(data) != ""


def test_one_that_never_had_a_state_is_not_accused_either(tmp_path: Path) -> None:
    SQLiteStore(tmp_path).close()
    assert findings(tmp_path) == []
    assert started(tmp_path) == ""


@pytest.mark.parametrize("name", ["state.db", "metrics.db"])
def test_a_file_of_an_earlier_version_that_is_put_back_is_not_accused(
    data: Path, name: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    whole = tmp_path / "whole"
    shutil.copy(data / name, whole)
    with closing(sqlite3.connect(data / name, isolation_level=None)) as file:
        file.execute(
            "DROP TABLE companion"
            if name == "state.db"
            else "DELETE FROM fact WHERE name = 'state_mark'"
        )
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(data / name, kept)
    gone(data / name)
    shutil.copy(kept, data / name)
    assert started(data) == ""


def test_a_collector_that_lost_its_state_says_so_before_it_offers_the_link_of_set_up() -> None:
    settings: dict[str, Any] = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        process.start()
        admin = Client(process.port)
        admin.login()
        assert admin.ask("GET", "/health").data["state"]["trouble"] is None
        process.stop()
        emptied(process.data / "state.db")
        process.start()
        admin = Client(process.port)
        admin.login()
        health = admin.ask("GET", "/health").data
        assert health["status"] == "degraded"
        assert "put back a backup" in health["state"]["trouble"]
        assert "trimtab collector accept-loss" in health["state"]["trouble"]
        assert "state.db was missing or empty" in process.output()
        # While it runs, too.
        done = subprocess.run(
            [*(sys.executable, "-m", "trimtab_core.console", "collector", "accept-loss", "--json"),
             *("--data-dir", str(process.data))],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        assert "state.db was" in json.loads(done.stdout)["accepted"]
        assert admin.ask("GET", "/health").data["state"]["trouble"] is None


def test_the_link_of_set_up_comes_after_what_was_lost() -> None:
    with short_dir() as directory, Collector(directory) as process:
        process.start()
        process.stop()
        emptied(process.data / "state.db")
        process.start()
        text = process.output()
        link = text.rindex("/setup#")
        assert "trimtab collector: state.db was missing or empty" in text[:link]
