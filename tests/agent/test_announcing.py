"""An app may give an id another meaning: what came before keeps the old one."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from trimtab_agent.aggregator import Aggregator
from trimtab_agent.app import App
from trimtab_agent.gathered import Gathered
from trimtab_agent.listener import Listener
from trimtab_core.errors import FrameError
from trimtab_core.frames import encode
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.messages import Hello, Routes, Samples
from trimtab_core.records import RECORD_SIZE, Record, pack
from trimtab_core.rows import MAX_MEASURES, Deltas, MeasureNames, unpack_rows


async def _counts(folder: Path) -> dict[str, int]:
    aggregator = Aggregator(10, 1000)
    address = f"unix://{folder / 'a.sock'}"
    uids = frozenset({os.getuid()})
    listener = Listener(address, aggregator, "agent", max_apps=4, allow_uids=uids)
    await listener.start()
    reader, writer = await asyncio.open_unix_connection(str(folder / "a.sock"))
    sent = 0

    def samples(count: int) -> None:
        nonlocal sent
        now = time.time_ns() // 1000
        data = pack(Record(1, 1, 0, 200, 1000)) * count
        frame = Samples(now, time.monotonic_ns() // 1000, sent, {}, RECORD_SIZE, data)
        writer.write(encode(frame.frame()))
        sent += count

    writer.write(encode(Hello("test", "shop", "", "host", 1, b"8 bytes!").frame()))
    for template, count in (("/old", 2), ("/new", 3), ("/old", 4), ("/newest", 5)):
        # All of it in one read: the records wait to be added up when the next meaning comes.
        writer.write(encode(Routes({1: template}).frame()))
        samples(count)
    async with asyncio.timeout(5):
        await reader.read(1)
        while aggregator.records < sent:
            await asyncio.sleep(0)
    aggregator.book()
    writer.close()
    listener.close()
    found: dict[str, int] = {}
    for window in aggregator.windows.values():
        for series, point in window.points.items():
            found[series.route] = found.get(series.route, 0) + sum(point.buckets.values())
    return found


def test_records_keep_the_meaning_that_their_id_had_when_they_came(tmp: Path) -> None:
    assert asyncio.run(_counts(tmp)) == {"/old": 6, "/new": 3, "/newest": 5}


def test_numbers_of_measures_may_get_new_meanings_without_end_and_not_more_numbers() -> None:
    gathered = Gathered()
    app = App(Hello("test", "shop", "", "host", 1, b"8 bytes!"), 0)
    keys = [MeasureKey("work", COUNTER, "1", (("what", str(n)),)) for n in range(3)]
    numbers = range(1, MAX_MEASURES + 1)
    for key in keys:
        gathered.announce(app, MeasureNames(dict.fromkeys(numbers, key)))
        delta = Delta()
        delta.add([1.0])
        gathered.add(app, Deltas([(7, delta)]))
    with pytest.raises(FrameError, match="more than"):
        gathered.announce(app, MeasureNames({MAX_MEASURES + 1: keys[0]}))
    rows = [row for part in gathered.take() for row in unpack_rows(part)[0]]
    assert sorted((dict(row.key.attributes)["what"], row.delta.sum) for row in rows) == [
        ("0", 1.0), ("1", 1.0), ("2", 1.0),
    ]  # fmt: skip
