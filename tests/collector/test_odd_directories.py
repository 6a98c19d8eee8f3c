"""What else lies in the data directory of a collector, or happens to its files, is told."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.room import RESERVE, hold_room
from trimtab_collector.storage.sqlite.compactor import locked
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.upkeep.files import refuse_unfinished
from trimtab_core.errors import StartupError

NOON = 1_700_006_400


def test_the_file_that_holds_room_is_written_through_no_link(tmp: Path) -> None:
    outside = tmp / "outside"
    directory = tmp / "c"
    directory.mkdir()
    (directory / RESERVE).symlink_to(outside)
    hold_room(directory)
    assert not outside.exists()
    outside.write_bytes(b"somebody's")
    hold_room(directory)
    assert outside.read_bytes() == b"somebody's"


@pytest.mark.parametrize("is_link", [True, False])
def test_a_lock_that_is_no_file_is_a_sentence_and_no_traceback(tmp: Path, is_link: bool) -> None:
    path = tmp / "compaction.lock"
    if is_link:
        path.symlink_to(tmp / "nothing")
    else:
        path.mkdir()
    with pytest.raises(StartupError, match="expected a file that can be locked at"), locked(tmp, 1):
        pass
    store = SQLiteStore(tmp, clock=Clock(NOON))
    with pytest.raises(StartupError, match=r"remove it"):
        store.compact(NOON)
    store.close()


def test_a_restore_that_was_cut_short_is_no_new_store(tmp: Path) -> None:
    staging = tmp / ".restore"
    staging.mkdir()
    with pytest.raises(StartupError, match="run trimtab collector restore again, or remove"):
        refuse_unfinished(tmp)
    program = Path(sys.executable).with_name("trimtab")
    command = [str(program), "collector", "--data-dir", str(tmp), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "a restore into it was cut short" in done.stderr
    assert not (tmp / "metrics.db").exists()
    # Beside a store, nothing of that has happened.
    (tmp / "metrics.db").touch()
    refuse_unfinished(tmp)


def test_a_file_that_is_cut_while_it_is_in_use_is_told_at_the_next_look(tmp: Path) -> None:
    store = SQLiteStore(tmp, clock=Clock(NOON + 60))
    append(store, *(a_batch(n, {key_of(): point_of([9])}, window_s=NOON) for n in range(20)))
    store.compact(NOON + 60)
    assert not store.health().compaction
    with closing(sqlite3.connect(tmp / "metrics.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not store.tiering.retire(NOON + 60)
    os.truncate(tmp / "metrics.db", 4096)
    assert "something has cut it" in store.tiering.retire(NOON + 90)
    store.close()
