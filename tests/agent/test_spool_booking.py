"""What the spool's files still tell of damaged batches is booked as dropped, once."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from trimtab_agent.spool.layout import HEADER_SIZE
from trimtab_agent.spool.spool import Spool

SIZE = 200
RECORD = HEADER_SIZE + SIZE


def payload(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def segment_of(directory: Path) -> Path:
    return next(iter(sorted(directory.glob("*.seg"))))


def _flip(data: bytearray, position: int) -> None:
    data[position] ^= 0x10


def _flip_two(data: bytearray) -> None:
    _flip(data, 100)
    _flip(data, 3 * RECORD + 100)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: _flip(data, 3 * RECORD + 100), 1),
        (_flip_two, 2),
        (lambda data: data.__delitem__(slice(9 * RECORD + 90, None)), 1),
        (lambda data: data.__delitem__(slice(9 * RECORD + 9, None)), 0),
        (lambda data: _flip(data, 3 * RECORD), 0),
        (lambda data: _flip(data, 3 * RECORD + 35), 0),
    ],
    ids=["a payload", "two", "torn", "torn in a header", "a header", "a number that cannot be"],
)
def test_damaged_batches_are_booked_as_dropped_where_their_headers_tell(
    tmp_path: Path, damage: Callable[[bytearray], None], told: int
) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 11):
        spool.append(payload(number), samples=100, window_s=0)
    spool.close()
    data = bytearray(segment_of(tmp_path).read_bytes())
    damage(data)
    segment_of(tmp_path).write_bytes(data)
    # Of a torn end the number is given again, so that nothing can be noted about it.
    tail = len(data) < 10 * RECORD
    for booked in (told, told if tail else 0):
        spool = Spool(tmp_path)
        assert spool.stats.dropped_batches.get("damaged", 0) == booked
        assert spool.stats.dropped_samples.get("damaged", 0) == 100 * booked
        spool.close()


def test_a_damaged_batch_that_was_delivered_is_not_booked(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 5):
        spool.append(payload(number), samples=100, window_s=0)
    first = spool.next(newest=False)
    assert first is not None
    spool.acknowledge(first)
    spool.close()
    data = bytearray(segment_of(tmp_path).read_bytes())
    _flip(data, 100)
    segment_of(tmp_path).write_bytes(data)
    spool = Spool(tmp_path)
    assert not spool.stats.dropped_batches
    assert spool.stats.damaged == {"checksum": 1}
    spool.close()


def test_a_batch_that_is_damaged_while_the_agent_runs_is_booked(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(payload(1), samples=100, window_s=0)
    data = bytearray(segment_of(tmp_path).read_bytes())
    _flip(data, 100)
    segment_of(tmp_path).write_bytes(data)
    assert spool.next(newest=True) is None
    assert (spool.stats.held_batches, spool.stats.dropped_samples) == (0, {"damaged": 100})
    spool.close()


def test_an_empty_segment_that_held_batches_is_counted_as_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 4):
        spool.append(payload(number), samples=1, window_s=0)
    spool.close()
    segment_of(tmp_path).write_bytes(b"")
    spool = Spool(tmp_path)
    assert spool.stats.dropped_batches == {"damaged": 1}
    assert spool.append(payload(4), samples=1, window_s=0)
    spool.close()
    spool = Spool(tmp_path)
    entry = spool.next(newest=False)
    assert entry is not None
    assert entry.payload == payload(4)
    spool.close()


def test_an_empty_segment_that_was_just_begun_is_no_damage(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 4):
        spool.append(payload(number), samples=1, window_s=0)
    spool.close()
    path = segment_of(tmp_path)
    path.write_bytes(b"")
    path.with_suffix(".acks").unlink(missing_ok=True)
    spool = Spool(tmp_path)
    assert not spool.stats.damaged
    assert not spool.stats.dropped_batches
    spool.close()
