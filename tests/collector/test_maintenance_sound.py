"""The check of a store passes sound ones, whatever was done to them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from support.clock import Clock
from support.processes.servers import short_dir
from support.stores.appending import append
from support.stores.checkedstore import (
    DAY_S,
    HOUR_S,
    NOW,
    YESTERDAY,
    batch,
    change,
    checked,
    make,
    opened,
    texts,
)
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A store of two days, merged but for the latest; every test has a copy of its own."""
    with short_dir() as directory:
        make(directory / "c")
        yield directory / "c"


@pytest.fixture
def copy(made: Path, tmp: Path) -> Path:
    return Path(shutil.copytree(made, tmp / "c"))


def test_a_store_is_sound_and_the_check_says_what_it_went_through(copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in copy.glob("*.db")}
    report = checked(copy)
    assert report.findings == []
    assert report.notes == []
    assert report.sound
    assert report.chunks > 100
    assert report.journal_batches > 0
    assert report.counted_requests == report.kept_requests > 1000
    assert {path.name: path.read_bytes() for path in copy.glob("*.db")} == before


def test_an_empty_store_is_sound(tmp: Path) -> None:
    with opened(tmp, Clock(NOW)):
        pass
    report = checked(tmp)
    assert report.sound
    assert report.kept_requests == 0


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_late_and_is_merged_and_dropped_the_store_is_sound(
    tmp: Path, seed: int
) -> None:
    chance = Random(seed)
    clock = Clock(NOW)
    limits = {"retention": Retention(2 * HOUR_S, 2 * DAY_S, 40 * DAY_S)}
    number = 0
    for _ in range(4):
        with opened(tmp, clock, **limits, max_series=chance.choice((5, 200_000))) as store:
            for _ in range(chance.randrange(1, 3)):
                found = []
                for _ in range(chance.randrange(60)):
                    back = chance.choice((60, HOUR_S, 6 * HOUR_S, 7 * DAY_S))
                    t = int(clock.now_s) - chance.randrange(back)
                    found.append(batch(number, t, chance.choice(("shop", "café"))))
                    number += 1
                append(store, *found)
                store.compact(clock.now_s)
                report = check(tmp, limits["retention"], lambda line: None, clock.now_s)
                assert report.findings == []
                clock.now_s += chance.choice((700, HOUR_S, 10 * HOUR_S, 3 * DAY_S))


def test_a_tier_file_that_retention_took_is_no_damage(copy: Path) -> None:
    for name in (f"10s-{YESTERDAY}.db", "1h-202311.db"):
        (copy / name).unlink()
        change(copy / "metrics.db", f"DELETE FROM fact WHERE name = 'file_{name}'")
        assert checked(copy).findings == []


def test_a_file_that_was_about_to_be_begun_is_no_damage(copy: Path) -> None:
    (copy / "1h-202309.db").touch()
    report = checked(copy)
    assert report.findings == []
    assert report.notes == ["1h-202309.db is empty: it was about to be begun"]


@pytest.mark.parametrize("tiers", [("10s",), ("10s", "1m"), ("1h",)])
def test_a_compaction_that_was_cut_short_is_sound_and_noted(
    copy: Path, tmp: Path, tiers: tuple[str, ...]
) -> None:
    # Half of the transactions of a compaction: some tiers of a copy in which it went through.
    later = NOW + 2 * HOUR_S
    whole = Path(shutil.copytree(copy, tmp / "whole"))
    with opened(whole, Clock(later)) as store:
        assert store.compact(later) > 0
    for path in whole.glob("*.db"):
        if path.name.startswith(tiers):
            shutil.copy(path, copy / path.name)
    report = checked(copy, later)
    assert report.findings == []
    assert "a compaction was cut short" in report.notes[0]
    # Without its marks the batches would count twice, and they are seen.
    for path in copy.glob("*.db"):
        if path.name.startswith(tiers):
            change(path, "DELETE FROM merged")
    wrong = texts(checked(copy, later))
    assert "than was counted" in wrong
    assert "hours do not come to the same sums" in wrong
