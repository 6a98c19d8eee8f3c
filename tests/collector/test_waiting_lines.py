"""Keys take turns at the disk: one that sends too much waits for itself."""

import asyncio

import numpy as np
import pytest

from support.stores.batches import a_batch
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.sqlite import waiting
from trimtab_collector.storage.sqlite.waiting import WaitingLines
from trimtab_collector.storage.store import Numbered, Received, UnavailableError

NOTHING = Numbered(merge([]), np.zeros(0, np.int64), ())


def add(lines: WaitingLines, key: str, *sizes: int) -> None:
    for size in sizes:
        batch = a_batch(0, {}, window_s=0)
        of_key = Received(batch, bytes(size), NOTHING, 0, 0, 0.0, {}, key=key)
        lines.add(of_key, asyncio.get_running_loop().create_future())


@pytest.mark.asyncio
async def test_keys_take_turns_and_each_stays_in_its_order() -> None:
    lines = WaitingLines(1_000)
    add(lines, "flood", *range(1, 9))
    add(lines, "honest", 10, 11)
    taken = [(each.received.key, len(each.received.raw)) for each in lines.take(5, 1_000)]
    assert taken == [("flood", 1), ("honest", 10), ("flood", 2), ("honest", 11), ("flood", 3)]
    assert len(lines.take(99, 1_000)) == 5
    assert not lines


@pytest.mark.asyncio
async def test_a_key_fills_three_quarters_of_the_queue_and_others_find_room() -> None:
    lines = WaitingLines(1_000)
    with pytest.raises(UnavailableError, match="of this key"):
        add(lines, "flood", *[10] * 100)
    assert lines.size_bytes == pytest.approx(760, abs=10)
    add(lines, "honest", *[10] * 15)
    for each in lines.take(1_000, 10_000):
        lines.left(each)
    assert lines.size_bytes == 0
    add(lines, "flood", *[10] * 50)


@pytest.mark.asyncio
async def test_who_has_waited_for_long_is_refused_and_another_key_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = WaitingLines(1_000)
    add(lines, "flood", 1)
    monkeypatch.setattr(waiting, "_MAX_AGE_S", -1.0)
    with pytest.raises(UnavailableError, match="more than 1 s behind"):
        add(lines, "flood", 1)
    monkeypatch.undo()
    add(lines, "honest", 1)
    (one, other) = lines.take(9, 99)
    assert (one.received.key, other.received.key) == ("flood", "honest")
