"""A tier file that is missing or empty is named: nothing that was merged vanishes in silence."""

from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tierfile import open_writer
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check
from trimtab_collector.storage.store import Selection

NOON = 1_700_006_400
FINE = "10s-20231115.db"
#: by ten seconds, minutes and hours
EDGES = {"10s": (NOON + 10, NOON + 50), "1h": (NOON, NOON + 3600)}


def opened(directory: Path, now_s: float = NOON + 9000) -> SQLiteStore:
    return SQLiteStore(directory, clock=Clock(now_s))


def filled(directory: Path) -> None:
    store = opened(directory)
    append(
        store,
        *(a_batch(n, {key_of("/"): point_of([n])}, window_s=NOON + 10 * n) for n in range(1, 7)),
    )
    store.compact(NOON + 9000)
    store.close()


def spoil(directory: Path, how: str, name: str = FINE) -> None:
    for suffix in ("-wal", "-shm"):
        (directory / (name + suffix)).unlink(missing_ok=True)
    (directory / name).unlink()
    if how == "empty":
        (directory / name).touch()


HOW = pytest.mark.parametrize("how", ["missing", "empty"])


@HOW
def test_a_file_that_is_gone_at_the_start_is_named_and_logged(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path)
    spoil(tmp_path, how)
    store = opened(tmp_path)
    assert list(store.health().damage) == [FINE]
    assert "6 batches" in store.health().damage[FINE]
    assert FINE in caplog.text
    store.close()


@HOW
def test_a_file_that_goes_while_it_runs_is_named_and_coarser_steps_answer(
    tmp_path: Path, how: str
) -> None:
    filled(tmp_path)
    store = opened(tmp_path)
    assert store.health().damage == {}
    assert len(store.read(Selection(EDGES["10s"])).t)
    spoil(tmp_path, how)
    assert not len(store.read(Selection(EDGES["10s"])).t)
    assert list(store.health().damage) == [FINE]
    assert len(store.read(Selection(EDGES["1h"])).t)
    store.close()


@HOW
def test_a_file_that_is_begun_anew_after_a_loss_stays_named(tmp_path: Path, how: str) -> None:
    filled(tmp_path)
    spoil(tmp_path, how)
    for _ in range(2):
        store = opened(tmp_path)
        append(store, a_batch(7, {key_of("/"): point_of([7])}, window_s=NOON + 70))
        store.compact(NOON + 9000)
        assert (tmp_path / FINE).stat().st_size
        assert list(store.health().damage) == [FINE]
        assert "anew" in store.health().damage[FINE]
        store.close()


@HOW
def test_check_finds_a_file_that_is_gone(tmp_path: Path, how: str) -> None:
    filled(tmp_path)
    spoil(tmp_path, how)
    report = check(tmp_path, Retention(), lambda _: None, now_s=NOON + 9000)
    assert [finding.file for finding in report.findings] == [FINE]


def test_files_of_an_earlier_version_are_known_from_the_next_start_on(tmp_path: Path) -> None:
    filled(tmp_path)
    store = opened(tmp_path)
    store._writer.execute("DELETE FROM fact WHERE name LIKE 'file~_%' ESCAPE '~'")
    store.close()
    opened(tmp_path).close()
    spoil(tmp_path, "missing")
    store = opened(tmp_path)
    assert list(store.health().damage) == [FINE]
    store.close()


def test_a_file_that_retention_has_deleted_is_not_missing(tmp_path: Path) -> None:
    filled(tmp_path)
    later = NOON + 86_400 * 4
    store = opened(tmp_path, later)
    append(store, a_batch(8, {key_of("/"): point_of([7])}, window_s=later - 4000))
    store.compact(later)
    assert not (tmp_path / FINE).exists()
    assert store.health().damage == {}
    # As with a longer retention.
    store.keep(Retention(fine_s=30 * 86_400), 0)
    assert store.health().damage == {}
    store.close()


def test_a_file_that_was_about_to_be_begun_is_no_loss(tmp_path: Path) -> None:
    opened(tmp_path).close()
    open_writer(tmp_path / FINE).close()
    opened(tmp_path).close()
    filled(tmp_path)
    store = opened(tmp_path)
    assert store.health().damage == {}
    store.close()
