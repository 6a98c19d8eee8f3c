"""The small file of state: whole changes or none, also on a full disk, and schemas per owner."""

import sqlite3
from pathlib import Path

import pytest

from support.disks.smalldisk import small_disk
from trimtab_collector.statefile import Schema, StateFile
from trimtab_core.errors import StartupError

SHELF = Schema("shelf", ("CREATE TABLE book (name TEXT);\nCREATE INDEX book_name ON book (name)",))


def names(state: StateFile) -> list[str]:
    return [name for (name,) in state.rows("SELECT name FROM book ORDER BY name")]


def fail(state: StateFile) -> None:
    with state.change() as outer:
        outer.execute("INSERT INTO book VALUES ('c')")
        with state.change() as inner:
            inner.execute("INSERT INTO book VALUES ('d')")
        raise ZeroDivisionError


def test_a_change_is_kept_whole_or_not_at_all_also_a_nested_one(tmp_path: Path) -> None:
    state = StateFile(tmp_path, (SHELF,))
    with state.change() as outer:
        outer.execute("INSERT INTO book VALUES ('a')")
        with state.change() as inner:
            inner.execute("INSERT INTO book VALUES ('b')")
    with pytest.raises(ZeroDivisionError):
        fail(state)
    state.close()
    again = StateFile(tmp_path, (SHELF,))
    assert names(again) == ["a", "b"]
    again.close()


def test_a_later_step_is_carried_out_once_and_data_stays(tmp_path: Path) -> None:
    state = StateFile(tmp_path, (SHELF,))
    with state.change() as connection:
        connection.execute("INSERT INTO book VALUES ('a')")
    state.close()
    later = Schema("shelf", (*SHELF.steps, "ALTER TABLE book ADD COLUMN pages INTEGER"))
    for _ in range(2):
        state = StateFile(tmp_path, (later,))
        assert state.rows("SELECT name, pages FROM book") == [("a", None)]
        state.close()
    with pytest.raises(StartupError, match="shelf of a newer version"):
        StateFile(tmp_path, (SHELF,))


def test_on_a_full_disk_it_opens_reads_and_refuses_and_then_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        state = StateFile(disk.path, (SHELF,))
        with state.change() as connection:
            connection.execute("INSERT INTO book VALUES ('a')")
        disk.fill()
        with pytest.raises(sqlite3.Error), state.change() as connection:
            connection.executemany("INSERT INTO book VALUES (?)", [("x" * 500,)] * 5_000)
        state.bring(SHELF)
        assert names(state) == ["a"]
        disk.give_back()
        with state.change() as connection:
            connection.execute("INSERT INTO book VALUES ('b')")
        assert names(state) == ["a", "b"]
        state.close()


def test_a_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="expected a file that can be written"):
        StateFile(tmp_path / "file")
