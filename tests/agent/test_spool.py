"""The spool keeps batches until they are acknowledged, within its bounds, on a full disk too."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.disks.smalldisk import SmallDisk, small_disk
from trimtab_agent.spool import layout
from trimtab_agent.spool.spool import MEMORY_BATCHES, Spool, SpooledBatch
from trimtab_core.errors import StartupError

MIB = 2**20


def drain(spool: Spool, *, newest: bool = False) -> list[SpooledBatch]:
    """Return every batch that can be handed out, and give all of them back."""
    entries = []
    while entry := spool.next(newest=newest):
        entries.append(entry)
    for entry in entries:
        spool.release(entry)
    return entries


def fill(spool: Spool, count: int, size: int = 100) -> list[int]:
    return [
        spool.append(bytes([number % 256]) * size, samples=number + 1, window_s=number * 10)
        for number in range(count)
    ]


def ids(entries: list[SpooledBatch]) -> list[int]:
    return [entry.id for entry in entries]


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(directory: Path) -> Iterator[Spool]:
    opened = Spool(directory)
    yield opened
    opened.close()


def test_batches_come_back_as_they_went_in_from_either_end(spool: Spool) -> None:
    first = spool.append(b"one", samples=7, window_s=-10)
    second = spool.append(b"two", samples=2**40, window_s=1_800_000_000)
    newest, oldest = spool.next(newest=True), spool.next(newest=True)
    assert newest is not None
    assert (newest.id, newest.payload) == (second, b"two")
    assert (newest.window_s, newest.samples) == (1_800_000_000, 2**40)
    assert oldest is not None
    assert (oldest.id, oldest.window_s, oldest.samples, oldest.payload) == (first, -10, 7, b"one")
    assert spool.next(newest=True) is None
    assert spool.next(newest=False) is None


def test_a_released_batch_is_handed_out_again_and_an_acknowledged_one_is_not(spool: Spool) -> None:
    fill(spool, 3)
    entry = spool.next(newest=False)
    assert entry is not None
    spool.release(entry)
    spool.release(entry)
    assert ids(drain(spool)) == [1, 2, 3]
    again = spool.next(newest=False)
    assert again is not None
    spool.acknowledge(again)
    spool.acknowledge(again)
    spool.release(again)
    assert ids(drain(spool)) == [2, 3]
    assert (spool.stats.held_batches, spool.stats.held_bytes) == (2, 200)


def test_a_restart_keeps_what_is_held_and_forgets_what_is_acknowledged(directory: Path) -> None:
    spool = Spool(directory)
    fill(spool, 6)
    for newest in (True, False, True):
        entry = spool.next(newest=newest)
        assert entry is not None
        spool.acknowledge(entry)
    spool.next(newest=False)
    spool.close()
    spool = Spool(directory)
    assert ids(drain(spool)) == [2, 3, 4]
    assert (spool.stats.held_batches, spool.stats.held_bytes) == (3, 300)
    assert [entry.payload for entry in drain(spool)] == [bytes([n]) * 100 for n in (1, 2, 3)]
    spool.close()


def test_ids_grow_over_restarts_even_when_nothing_is_left(directory: Path) -> None:
    last = 0
    for _ in range(5):
        spool = Spool(directory, max_bytes=4000)
        for number in fill(spool, 7, 300):
            assert number > last
            last = number
        while entry := spool.next(newest=False):
            spool.acknowledge(entry)
        spool.close()
    assert len([name for name in files(directory) if name.endswith(".seg")]) == 1


def test_a_segment_goes_when_all_its_batches_are_acknowledged(directory: Path) -> None:
    spool = Spool(directory, max_bytes=80_000)
    fill(spool, 40, 1000)
    before = len(files(directory))
    assert before > 4
    while entry := spool.next(newest=True):
        spool.acknowledge(entry)
    assert len([name for name in files(directory) if name.endswith(".seg")]) == 1
    assert (spool.stats.held_batches, spool.stats.held_bytes) == (0, 0)
    assert not spool.stats.dropped_batches
    spool.close()


def test_over_the_bound_the_oldest_go_and_are_counted(directory: Path) -> None:
    spool = Spool(directory, max_bytes=80_000)
    fill(spool, 200, 1000)
    on_disk = sum(path.stat().st_size for path in directory.iterdir() if path.is_file())
    assert on_disk <= spool.stats.disk_bytes <= 80_000
    kept = ids(drain(spool))
    assert len(kept) >= 60
    assert kept == list(range(201 - len(kept), 201))
    gone = 200 - len(kept)
    assert spool.stats.dropped_batches == {"spool_full": gone}
    assert spool.stats.dropped_samples == {"spool_full": sum(range(1, gone + 1))}
    assert spool.stats.held_batches == len(kept)
    spool.close()


def test_a_smaller_bound_is_kept_from_the_start(directory: Path) -> None:
    spool = Spool(directory, max_bytes=80_000)
    fill(spool, 70, 1000)
    spool.close()
    spool = Spool(directory, max_bytes=30_000)
    assert spool.stats.disk_bytes <= 30_000
    assert spool.stats.held_batches + spool.stats.dropped_batches["spool_full"] == 70
    spool.close()


def test_a_batch_over_every_bound_is_dropped_at_once_and_counted(directory: Path) -> None:
    spool = Spool(directory, max_bytes=10_000)
    fill(spool, 2)
    spool.append(b"x" * 10_000, samples=5, window_s=0)
    assert spool.stats.dropped_samples == {"too_large": 5}
    assert ids(drain(spool)) == [1, 2]
    spool.close()


def test_a_batch_on_its_way_when_its_segment_is_dropped_is_booked_by_its_outcome(
    directory: Path,
) -> None:
    spool = Spool(directory, max_bytes=8_000)
    fill(spool, 4, 400)
    delivered, failed = spool.next(newest=False), spool.next(newest=False)
    assert delivered is not None
    assert failed is not None
    fill(spool, 40, 400)
    held = spool.stats.held_batches
    dropped = spool.stats.dropped_batches["spool_full"]
    assert held + dropped == 44
    spool.acknowledge(delivered)
    assert (spool.stats.held_batches, spool.stats.dropped_batches["spool_full"]) == (
        held - 1,
        dropped,
    )
    spool.release(failed)
    assert (spool.stats.held_batches, spool.stats.dropped_batches["spool_full"]) == (
        held - 2,
        dropped + 1,
    )
    assert delivered.id not in ids(drain(spool))
    spool.close()


def test_a_refused_batch_is_put_aside_and_the_newest_sixteen_are_kept(
    spool: Spool, directory: Path
) -> None:
    fill(spool, 20)
    while entry := spool.next(newest=False):
        spool.quarantine(entry, "400 bad batch: ../../etc")
    assert spool.stats.quarantined == 20
    assert spool.stats.quarantined_samples == sum(range(1, 21))
    assert spool.stats.held_batches == 0
    aside = sorted((directory / "quarantine").iterdir())
    assert len(aside) == 16
    assert aside[-1].name == "0000000020-400-bad-batch-etc.batch"
    assert aside[-1].read_bytes() == bytes([19]) * 100
    spool.close()
    again = Spool(directory)
    assert again.next(newest=True) is None
    again.close()


def test_the_directory_is_for_its_owner_alone(spool: Spool, directory: Path) -> None:
    fill(spool, 1)
    entry = spool.next(newest=True)
    assert entry is not None
    spool.quarantine(entry, "no")
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.rglob("*")}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert modes.pop("quarantine") == 0o700
    assert set(modes.values()) == {0o600}


def test_a_second_spool_in_the_same_directory_is_refused_in_one_sentence(
    spool: Spool, directory: Path
) -> None:
    with pytest.raises(StartupError, match=r"another agent uses .*stop that one or"):
        Spool(directory)
    fill(spool, 1)
    assert ids(drain(spool)) == [1]


def test_a_path_that_is_no_directory_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"expected a directory .*set data_dir"):
        Spool(tmp_path / "file")


def test_a_segment_removed_while_in_use_costs_its_own_batches(
    spool: Spool, directory: Path
) -> None:
    fill(spool, 3)
    next(directory.glob("*.seg")).unlink()
    fill(spool, 2)
    assert [entry.payload for entry in drain(spool)] == [b"\0" * 100, b"\1" * 100]
    assert spool.stats.damaged == {"unreadable": 3}
    assert spool.stats.held_batches == 2


def test_what_the_disk_did_not_confirm_waits_in_memory_and_is_written_anew(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(directory)
    fill(spool, 2)
    working = os.fdatasync

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", failing)
    fill(spool, 3)
    assert spool.stats.faults["EIO"] >= 3
    assert len(list(directory.glob("*.seg"))) == 1
    assert ids(drain(spool)) == [1, 2, 3, 4, 5]
    assert ids(drain(spool, newest=True)) == [5, 4, 3, 2, 1]
    monkeypatch.setattr(os, "fdatasync", working)
    fill(spool, 1)
    assert not spool.stats.dropped_batches
    spool.close()
    spool = Spool(directory)
    assert ids(drain(spool)) == [1, 2, 3, 4, 5, 6]
    assert not spool.stats.damaged
    spool.close()


_LIMITED = """
import resource, sys
from pathlib import Path
from trimtab_agent.spool.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
spool = Spool(Path(sys.argv[1]))
for number in range(20):
    spool.append(bytes([number]) * 20_000, samples=1, window_s=0)
assert spool.stats.held_batches == 20, spool.stats
assert spool.stats.faults["EFBIG"], spool.stats
spool.append(b"x" * 60_000, samples=1, window_s=0)
assert spool.stats.held_batches == 21, spool.stats
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append(b"end", samples=1, window_s=0)
assert not spool.stats.dropped_batches, spool.stats
"""


def test_a_limit_on_the_size_of_files_loses_nothing(directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(directory)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    spool = Spool(directory)
    entries = drain(spool)
    assert [entry.payload[:1] for entry in entries[:20]] == [bytes([n]) for n in range(20)]
    assert ids(entries) == list(range(1, 23))
    spool.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 4) as disk:
        yield disk


def test_a_full_disk_drops_the_oldest_keeps_the_newest_and_heals_by_itself(
    disk: SmallDisk,
) -> None:
    spool = Spool(disk.path / "spool")
    fill(spool, 600, 40_000)
    kept = ids(drain(spool))
    stats = spool.stats
    assert kept[-1] == 600
    assert kept == list(range(601 - len(kept), 601))
    assert stats.held_batches == len(kept) >= MEMORY_BATCHES
    assert stats.dropped_batches == {"disk_full": 600 - len(kept)}
    assert stats.dropped_samples == {"disk_full": sum(range(1, 601 - len(kept)))}
    while entry := spool.next(newest=True):
        spool.acknowledge(entry)
    assert stats.held_batches == 0
    spool.append(b"after", samples=1, window_s=0)
    spool.close()
    spool = Spool(disk.path / "spool")
    assert [entry.payload for entry in drain(spool)] == [b"after"]
    spool.close()


def test_a_disk_filled_by_others_takes_batches_again_once_there_is_room(disk: SmallDisk) -> None:
    spool = Spool(disk.path / "spool")
    fill(spool, 3, 10_000)
    disk.fill()
    fill(spool, 30, 10_000)
    assert spool.stats.held_batches == 33
    assert spool.stats.faults["ENOSPC"]
    assert not spool.stats.dropped_batches
    disk.give_back()
    spool.append(b"end", samples=1, window_s=0)
    spool.close()
    spool = Spool(disk.path / "spool")
    assert ids(drain(spool)) == list(range(1, 35))
    spool.close()


def test_a_spool_opens_on_a_full_disk(disk: SmallDisk) -> None:
    Spool(disk.path / "spool").close()
    disk.fill()
    spool = Spool(disk.path / "spool")
    fill(spool, 2 * MEMORY_BATCHES)
    assert ids(drain(spool)) == list(range(MEMORY_BATCHES + 1, 2 * MEMORY_BATCHES + 1))
    assert spool.stats.dropped_batches == {"disk_full": MEMORY_BATCHES}
    spool.close()


def test_sizes_of_a_record_are_as_documented() -> None:
    record = layout.SpoolRecord(1, 0, 0, b"payload")
    assert len(record.pack()) == layout.HEADER_SIZE + 7 == 43
