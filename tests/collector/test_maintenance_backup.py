"""Backup and restore as an operator runs them: beside a collector at work, cut short, refused."""

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.processes.servers import Collector, short_dir, trimtab, wait_for
from support.processes.tracing import killed_at
from support.processes.upkeep import answered, maintain, maintain_beside
from support.stores.appending import append
from support.stores.batches import Sender, a_batch, accounting_of, key_of, point_of, window
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.schema import VERSION
from trimtab_collector.storage.sqlite.upkeep.backup import backup
from trimtab_collector.storage.sqlite.upkeep.files import entered
from trimtab_collector.storage.sqlite.upkeep.restore import read_manifest, restore
from trimtab_core.batches import Batch

REQUESTS = 5
#: 10-second windows in three hours
WINDOWS = 3 * 360


def batch(seq: int) -> Batch:
    """Return a batch of some window of the last hours, so that compaction has work at once."""
    points = {key_of(f"/{seq % 7}", instance=f"h{seq % 2}"): point_of([1_000 + seq] * REQUESTS)}
    claim = accounting_of([(seq * REQUESTS, REQUESTS)], (seq + 1) * REQUESTS)
    return a_batch(seq, points, window_s=window(40 + seq * 37 % WINDOWS), processes=[claim])


class Feed:
    """Sends batches in order, from a thread, until it is stopped; `taken` were acknowledged."""

    def __init__(self, port: int, key: str, first: int = 0) -> None:
        self.taken = first
        self.failed: list[BaseException] = []
        self._stop = threading.Event()
        self._sender = Sender(port, key)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                assert self._sender.insist(batch(self.taken))["duplicate"] is False
                self.taken += 1
        except BaseException as error:
            self.failed.append(error)

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._sender.close()
        assert self.failed == []


def requests(collector: Collector) -> int:
    row = collector.api.get("/services", service="shop", from_="-1d")["services"][0]
    assert row["requests"] == row["accounting"]["requests"] == row["accounting"]["counted"]
    return int(row["requests"])


def send(collector: Collector, key: str, numbers: range) -> int:
    """Send batches again and return how many of them were new."""
    with Sender(collector.port, key) as sender:
        return sum(not sender.insist(batch(seq))["duplicate"] for seq in numbers)


# ---------------------------------------------------------------- beside a collector at work


def test_backups_taken_while_batches_come_and_are_merged_hold_all_that_was_acknowledged(
    tmp: Path,
) -> None:
    bounds: list[tuple[int, int]] = []
    with Collector(tmp) as collector:
        collector.start()
        key = collector.new_key()
        with Feed(collector.port, key) as feed:
            wait_for(lambda: feed.failed or feed.taken > 300, "batches", 60)
        assert collector.stop() == 0
        # At its start it merges all of them.
        collector.start()
        with Feed(collector.port, key, feed.taken) as feed:
            for number in range(3):
                taken = feed.taken
                found = answered(
                    "backup",
                    str(tmp / f"b{number}"),
                    "--data-dir",
                    str(collector.data),
                    run=maintain_beside,
                )
                bounds.append((taken, feed.taken + 1))
                assert found["store"] == VERSION
                report = answered("check", "--data-dir", str(collector.data), run=maintain_beside)
                assert report["sound"], report
            taken = feed.taken
            wait_for(lambda: feed.failed or feed.taken > taken + 10, "more batches", 60)
        assert requests(collector) == feed.taken * REQUESTS
        assert collector.stop() == 0
        report = answered("check", "--data-dir", str(collector.data), run=maintain_beside)
        assert report["countedRequests"] == report["keptRequests"] == feed.taken * REQUESTS
    assert any(path.name.startswith("1h") for path in (tmp / "b2").iterdir())
    for number, (least, most) in enumerate(bounds):
        (tmp / f"r{number}").mkdir()
        with Collector(tmp / f"r{number}") as collector:
            maintain_beside("restore", str(tmp / f"b{number}"), "--data-dir", str(collector.data))
            assert answered("check", "--data-dir", str(collector.data), run=maintain_beside)[
                "sound"
            ]
            collector.start()
            # The keys are those of the backup.
            held = requests(collector) // REQUESTS
            assert least <= held <= most
            assert send(collector, key, range(held)) == 0
            assert send(collector, key, range(held, held + 3)) == 3
            assert requests(collector) == (held + 3) * REQUESTS


def test_a_restored_store_is_as_it_was_at_the_backup_and_what_was_there_is_kept(tmp: Path) -> None:
    with Collector(tmp) as collector:
        del collector.env["TRIMTAB_COLLECTOR_TOKEN"]
        collector.start()
        data, target = str(collector.data), tmp / "b"
        collector.api.token = (collector.data / "token").read_text().strip()
        key = collector.new_key()
        assert send(collector, key, range(20)) == 20
        maintain_beside("--data-dir", data, "backup", str(target))
        copied = {path.name for path in target.iterdir()}
        assert copied >= {"token", "keys.db", "state.db", "metrics.db"}
        assert (collector.data / "login-keys").exists()
        assert "login-keys" not in copied  # whoever has a backup cannot sign
        assert target.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o600}
        assert send(collector, key, range(20, 25)) == 5
        later = collector.new_key()
        refused = maintain_beside("restore", str(target), "--data-dir", data, "--force", code=2)
        assert "another collector uses" in refused.stderr
        assert requests(collector) == 25 * REQUESTS
        assert collector.stop() == 0
        refused = maintain_beside("restore", str(target), "--data-dir", data, code=2)
        assert "--force" in refused.stderr
        found = answered("restore", str(target), "--data-dir", data, "--force")
        aside = collector.data / found["aside"]
        assert {"metrics.db", "keys.db", "token"} <= {path.name for path in aside.iterdir()}
        collector.start()
        assert requests(collector) == 20 * REQUESTS
        with Sender(collector.port, later) as sender:
            assert sender.post(batch(20))[0] == 401
        assert send(collector, key, range(25)) == 5
        assert collector.stop() == 0
        # And what was moved aside is a whole store.
        assert (
            answered("check", "--data-dir", str(aside), run=maintain_beside)["countedRequests"]
            == 25 * REQUESTS
        )


def test_while_files_are_copied_batches_are_taken_and_compaction_waits(tmp: Path) -> None:
    store = SQLiteStore(tmp / "c")
    try:
        append(store, *[batch(seq) for seq in range(50)])
        store.compact(window(0))
        append(store, *[batch(seq) for seq in range(50, 60)])
        compaction = threading.Thread(target=store.compact, args=(window(0),))
        moments: list[bool] = []

        def meanwhile(line: str) -> None:
            if not moments:
                assert append(store, batch(60)) == [False]
                compaction.start()
                # Time enough to merge, if nothing held it.
                compaction.join(1)
            moments.append(compaction.is_alive())

        backup(tmp / "c", tmp / "b", meanwhile)
        compaction.join(30)
        assert len(moments) > 3
        assert all(moments)
        assert store.health().journal_batches == 0
    finally:
        store.close()
    restore(tmp / "b", tmp / "r", lambda line: None)
    report = answered("check", "--data-dir", str(tmp / "r"))
    assert report["keptRequests"] == report["countedRequests"] == 61 * REQUESTS
    assert report["journalBatches"] == 11


# ---------------------------------------------------------------- refused


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A small store and a backup of it, `c` and `b`."""
    with short_dir() as directory:
        store = SQLiteStore(directory / "c")
        try:
            append(store, *[batch(seq) for seq in range(50)])
            store.compact(window(0))
            append(store, *[batch(seq) for seq in range(50, 60)])
        finally:
            store.close()
        (directory / "c" / "token").write_text("ttr_secret\n")
        backup(directory / "c", directory / "b", lambda line: None)
        yield directory


@pytest.fixture
def copy(made: Path, tmp: Path) -> Path:
    shutil.copytree(made, tmp, dirs_exist_ok=True)
    return tmp


def test_what_is_no_store_or_not_empty_is_refused(copy: Path) -> None:
    refused = maintain("backup", str(copy / "b"), "--data-dir", str(copy / "c"), code=2)
    assert "to be new or empty" in refused.stderr
    refused = maintain("backup", str(copy / "x"), "--data-dir", str(copy / "none"), code=2)
    assert "got no metrics.db" in refused.stderr
    refused = maintain("check", "--data-dir", str(copy / "none"), code=2)
    assert "got no metrics.db" in refused.stderr
    refused = maintain("restore", str(copy / "c"), "--data-dir", str(copy / "r"), code=2)
    assert "a backup with its manifest.json" in refused.stderr
    (copy / "x.partial").mkdir()
    (copy / "x.partial" / "mine").touch()
    refused = maintain("backup", str(copy / "x"), "--data-dir", str(copy / "c"), code=2)
    assert "move it away" in refused.stderr
    assert (copy / "x.partial" / "mine").exists()
    (copy / "x").mkdir()
    (copy / "x.partial" / "mine").unlink()
    assert "backed up" in maintain("backup", f"{copy}/x", "--data-dir", f"{copy}/c").stdout


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_backup_that_is_not_as_it_was_made_is_not_restored(copy: Path, damage: str) -> None:
    path = copy / "b" / "metrics.db"
    body = bytearray(path.read_bytes())
    if damage == "flip":
        body[len(body) // 2] ^= 1
    path.write_bytes(body if damage == "flip" else body[:-1])
    if damage == "gone":
        path.unlink()
    refused = maintain("restore", str(copy / "b"), "--data-dir", str(copy / "c"), "--force", code=1)
    assert "metrics.db" in refused.stderr
    assert not [path for path in (copy / "c").iterdir() if path.is_dir()]
    assert answered("check", "--data-dir", str(copy / "c"))["countedRequests"] == 60 * REQUESTS


def test_a_backup_of_a_later_version_is_refused_with_what_to_do(copy: Path) -> None:
    manifest = json.loads((copy / "b" / "manifest.json").read_text())
    changes: list[dict[str, Any]] = [{"format": 2}, {"store": VERSION + 1}, {"files": []}]
    for change in changes:
        (copy / "b" / "manifest.json").write_text(json.dumps(manifest | change))
        maintain("restore", str(copy / "b"), "--data-dir", str(copy / "r"), code=2)
    hostile = [{**manifest["files"][0], "name": "../x"}, *manifest["files"]]
    (copy / "b" / "manifest.json").write_text(json.dumps(manifest | {"files": hostile}))
    maintain("restore", str(copy / "b"), "--data-dir", str(copy / "r"), code=2)
    assert not (copy / "r").exists()


def test_a_broken_tier_file_is_copied_as_it_is_and_named_a_broken_small_file_is_refused(
    copy: Path,
) -> None:
    broken = min((copy / "c").glob("1h-*.db"))
    with broken.open("r+b") as stream:
        stream.write(b"noise" * 100)
    found = answered("backup", str(copy / "x"), "--data-dir", str(copy / "c"))
    assert found["damaged"] == [broken.name]
    assert (copy / "x" / broken.name).read_bytes() == broken.read_bytes()
    maintain("restore", str(copy / "x"), "--data-dir", str(copy / "r"))
    assert not answered("check", "--data-dir", str(copy / "r"), code=1)["sound"]
    with (copy / "c" / "metrics.db").open("r+b") as stream:
        stream.write(b"noise" * 100)
    maintain("backup", str(copy / "y"), "--data-dir", str(copy / "c"), code=1)
    assert not (copy / "y").exists()
    assert not (copy / "y.partial").exists()


def test_new_batches_never_have_the_number_of_one_that_a_tier_has_marked(copy: Path) -> None:
    path = copy / "b" / "metrics.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE sqlite_sequence SET seq = 0")
        connection.execute("DELETE FROM journal")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    manifest = read_manifest(copy / "b")
    manifest.files = [entered(copy / "b" / copied.name) for copied in manifest.files]
    text = json.dumps({"format": 1, "trimtab": "x", "store": 2, "made": "", "files": [
        {"name": c.name, "sizeBytes": c.size_bytes, "sha256": c.sha256} for c in manifest.files
    ]})  # fmt: skip
    (copy / "b" / "manifest.json").write_text(text)
    restore(copy / "b", copy / "r", lambda line: None)
    marks = set()
    for file in (copy / "r").glob("1*.db"):
        with closing(sqlite3.connect(file)) as connection:
            marks |= {row[0] for row in connection.execute("SELECT journal FROM merged")}
    store = SQLiteStore(copy / "r")
    try:
        append(store, batch(1_000))
    finally:
        store.close()
    with closing(sqlite3.connect(copy / "r" / "metrics.db")) as connection:
        (number,) = connection.execute("SELECT id FROM journal").fetchone()
    assert number > max(marks) >= 1


# ---------------------------------------------------------------- cut short


@pytest.mark.parametrize(("call", "when"), [("fsync", n) for n in (1, 3, 6)] + [("rename", 1)])
def test_a_backup_that_was_killed_is_none_and_the_next_one_is_whole(
    copy: Path, call: str, when: int
) -> None:
    words = ["backup", str(copy / "x"), "--data-dir", str(copy / "c")]
    assert killed_at(call, when, trimtab("collector", *words))
    assert not (copy / "x").exists()
    # Whole, but for its name, as soon as it has a manifest.
    code = 0 if (copy / "x.partial" / "manifest.json").exists() else 2
    maintain("restore", f"{copy}/x.partial", "--data-dir", str(copy / "r"), code=code)
    assert code == 2 or when > 5 or call == "rename"
    maintain(*words)
    assert not (copy / "x.partial").exists()
    maintain("restore", str(copy / "x"), "--data-dir", str(copy / "s"))
    assert answered("check", "--data-dir", str(copy / "s"))["countedRequests"] == 60 * REQUESTS


@pytest.mark.parametrize(
    ("call", "when"), [("fsync", 2), ("rename", 1), *[("rename", n) for n in (2, 4, 6, 8, 10, 11)]]
)
def test_a_restore_that_was_killed_has_not_happened_or_goes_on(
    copy: Path, call: str, when: int
) -> None:
    store = SQLiteStore(copy / "c")
    try:
        append(store, batch(60))
    finally:
        store.close()
    words = ["restore", str(copy / "b"), "--data-dir", str(copy / "c"), "--force"]
    if not killed_at(call, when, trimtab("collector", *words)):
        pytest.fail(f"it has no call {call} number {when}")
    if call == "fsync" or when == 1:
        found = answered("check", "--data-dir", str(copy / "c"))
        assert found["countedRequests"] == 61 * REQUESTS
    else:
        for command in (["check"], ["backup", str(copy / "x")]):
            refused = maintain(*command, "--data-dir", str(copy / "c"), code=2)
            assert "was cut short" in refused.stderr
        refused = maintain_beside("--port", "0", "--data-dir", str(copy / "c"), code=2)
        assert "was cut short" in refused.stderr
    maintain(*words)
    assert answered("check", "--data-dir", str(copy / "c"))["countedRequests"] == 60 * REQUESTS
    (aside,) = [path for path in (copy / "c").iterdir() if path.is_dir()]
    assert answered("check", "--data-dir", str(aside))["countedRequests"] == 61 * REQUESTS


@pytest.mark.parametrize("command", ["backup", "restore", "check"])
def test_each_has_its_help(command: str) -> None:
    assert maintain_beside(command, "--help").stdout.startswith(
        f"usage: trimtab collector {command}"
    )
    assert command in maintain_beside("--help").stdout
