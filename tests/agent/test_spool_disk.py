"""The spool on a real disk that fails, and with much damage in its files."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.lacking import lack
from trimtab_agent.spool.layout import SpoolRecord
from trimtab_agent.spool.spool import Spool

_FAILING = """
import sys
from pathlib import Path
from trimtab_agent.spool.spool import Spool
spool = Spool(Path(sys.argv[1]))
for number in range(20):
    spool.append(bytes([number]) * 1000, samples=1, window_s=number)
stats = spool.stats
assert stats.held_batches == 20, stats
assert stats.faults["EIO"] > 0, stats
assert not stats.dropped_batches, stats
found = set()
while entry := spool.next(newest=True):
    found.add(entry.payload[0])
    spool.acknowledge(entry)
assert found == set(range(20)), found
"""


@pytest.mark.parametrize("when", ["3+", "3..9", "5..40+7"])
def test_a_disk_that_refuses_to_synchronise_costs_nothing_while_memory_lasts(
    tmp_path: Path, when: str
) -> None:
    if shutil.which("strace") is None:
        lack("strace is needed to make the disk fail")
    traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]
    command = [sys.executable, "-c", _FAILING, str(tmp_path / "spool")]
    done = subprocess.run(
        [*traced, "-e", f"inject=fdatasync:error=EIO:when={when}", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ptrace" in done.stderr:
        lack(f"strace may not trace here: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("damage", ["noise", "flips", "headers"])
def test_a_spool_of_256_mib_of_damage_opens_within_three_seconds(
    tmp_path: Path, damage: str
) -> None:
    chance = random.Random(7)
    if damage == "noise":
        segment = chance.randbytes(2**20)
    elif damage == "headers":
        segment = SpoolRecord(1, 0, 0, b"x" * 3_000_000).pack()[:36] * (2**20 // 36)
    else:
        records = bytearray()
        for number in range(200):
            records += SpoolRecord(number + 1, 0, 1, chance.randbytes(5000)).pack()
        for _ in range(100):
            records[chance.randrange(len(records))] ^= 1
        segment = bytes(records)
    directory = tmp_path / "spool"
    directory.mkdir()
    for number in range(256):
        (directory / f"{1000 + number:08d}.seg").write_bytes(segment)
    begun = time.process_time()
    spool = Spool(directory, 2**29)
    assert time.process_time() - begun < 3
    assert spool.stats.damaged
    number = spool.append(b"fresh", samples=1, window_s=0)
    entry = spool.next(newest=True)
    assert entry is not None
    assert (entry.id, entry.payload) == (number, b"fresh")
    spool.close()


def test_an_unreadable_segment_is_counted_and_comes_back_when_it_can_be_read(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path / "spool", 8000)
    for number in range(6):
        spool.append(bytes([number]) * 400, samples=1, window_s=0)
    spool.close()
    path = min((tmp_path / "spool").glob("*.seg"))
    content = path.read_bytes()
    path.unlink()
    # Root may read anything, but not what a name does not lead to.
    path.symlink_to(path.name)
    spool = Spool(tmp_path / "spool", 8000)
    held = spool.stats.held_batches
    assert held < 6
    assert spool.stats.damaged["unreadable"] == 1
    spool.append(b"fresh", samples=1, window_s=0)
    spool.close()
    path.unlink()
    path.write_bytes(content)
    spool = Spool(tmp_path / "spool", 8000)
    assert spool.stats.held_batches == 7
    spool.close()
