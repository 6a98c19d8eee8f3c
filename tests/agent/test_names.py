"""Tables of names in the agent let go of what nobody uses any more; met over its real socket."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from trimtab_agent.aggregator import Aggregator
from trimtab_agent.departed import MAX_DEPARTED
from trimtab_agent.gathered import Gathered
from trimtab_agent.listener import Listener
from trimtab_core.batches import SeriesKey
from trimtab_core.deltas import MAX_MEASURES
from trimtab_core.frames import FrameReader, encode
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.messages import (
    Deltas,
    Hello,
    MeasureNames,
    Message,
    Routes,
    Samples,
    Welcome,
    parse,
)
from trimtab_core.records import RECORD_SIZE, Record, pack
from trimtab_core.rows import MeasureRow, unpack_rows

#: a busy machine takes seconds to read hundred thousands of names
DEADLINE_S = 30.0
WALL_US = 1_795_000_000_000_000


class App:
    """The other end of a connection: says hello, sends frames, hangs up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.worker = -1
        self.sent = 0

    async def hello(self, process: bytes, **more: Any) -> None:
        self.send(Hello("test", "shop", "1", "host", 1, process, **more))
        frames = FrameReader()
        while True:
            data = await asyncio.wait_for(self._reader.read(4096), DEADLINE_S)
            assert data, "expected a welcome, the agent has closed the connection"
            for frame in frames.feed(data):
                message = parse(frame)
                assert isinstance(message, Welcome)
                self.worker = message.worker
                return

    def send(self, message: Message) -> None:
        self.send_raw(message.frame())

    def send_raw(self, frame: list[Any]) -> None:
        self._writer.write(encode(frame))

    def requests(self, *routes: int) -> None:
        data = b"".join(pack(Record(route, 1, 0, 200, 1000)) for route in routes)
        self.send(Samples(WALL_US, 0, self.sent, {}, RECORD_SIZE, data))
        self.sent += len(routes)

    async def hang_up(self) -> None:
        """Close this end, and wait until the agent has read all and closed the other."""
        self._writer.write_eof()
        await asyncio.wait_for(self._reader.read(), DEADLINE_S)
        self._writer.close()
        await self._writer.wait_closed()

    def abort(self) -> None:
        self._writer.transport.abort()


class World:
    """A listener on a real socket, with all that it hands things to."""

    def __init__(self, path: Path, max_series: int) -> None:
        self.aggregator = Aggregator(10, max_series)
        self.gathered = Gathered()
        self.begun_s = int(time.time()) // 10 * 10
        self.path = path
        self.listener = Listener(
            f"unix://{path}",
            self.aggregator,
            self.gathered,
            "agent",
            max_apps=8,
            allow_uids=frozenset(),
        )

    async def connect(self) -> App:
        return App(*await asyncio.open_unix_connection(self.path))

    def requests(self) -> Counter[str]:
        """Close the windows; return the requests of each route in them."""
        found: Counter[str] = Counter()
        for window in self.aggregator.close(float("inf")):
            for key, point in window.points.items():
                found[key.route] += sum(point.buckets.values())
        return found

    def measures(self) -> list[MeasureRow]:
        """Return what was added to measures since this was made."""
        # What is dated a second ago may be of the window before.
        windows = range(self.begun_s - 10, int(time.time()) + 1, 10)
        packed = [each for start_s in windows for each in self.gathered.take(start_s)]
        return [row for each in packed for row in unpack_rows(each)[0]]


@asynccontextmanager
async def world_in(tmp: Path, max_series: int = 1000) -> AsyncIterator[World]:
    world = World(tmp / "agent.sock", max_series)
    await world.listener.start()
    try:
        yield world
    finally:
        world.listener.close()


def run(tmp: Path, test: Callable[[World], Awaitable[None]], max_series: int = 1000) -> None:
    async def main() -> None:
        async with world_in(tmp, max_series) as world:
            await test(world)

    asyncio.run(main())


def test_a_route_id_that_is_given_to_another_route_counts_for_it_from_then_on(tmp: Path) -> None:
    async def test(world: World) -> None:
        app = await world.connect()
        await app.hello(b"process1")
        app.send(Routes({1: "/old", 2: "/kept"}))
        app.requests(1, 1, 2)
        app.send(Routes({1: "/new"}))
        app.requests(1, 2)
        await app.hang_up()
        assert world.requests() == {"/old": 2, "/kept": 2, "/new": 1}

    run(tmp, test)


def test_a_measure_number_that_is_given_to_another_measure_counts_for_it_from_then_on(
    tmp: Path,
) -> None:
    async def test(world: World) -> None:
        app = await world.connect()
        await app.hello(b"process1")
        for name in ("old", "new"):
            app.send(MeasureNames({1: MeasureKey(name, COUNTER)}))
            app.send(Deltas([(1, Delta(1, 5.0, 5.0, 5.0, 5.0))]))
        await app.hang_up()
        found = [(row.key.name, row.delta.sum) for row in world.measures()]
        assert found == [("old", 5.0), ("new", 5.0)]

    run(tmp, test)


def test_measures_go_into_the_window_in_which_they_were_added(tmp: Path) -> None:
    async def test(world: World) -> None:
        app = await world.connect()
        await app.hello(b"process1")
        app.send(MeasureNames({1: MeasureKey("work", COUNTER)}))
        start_s = int(time.time()) // 10 * 10 - 600
        for number in range(5):
            # Its last values are taken a moment after the end of a window.
            wall_us = (start_s + 10 * number + 10) * 1_000_000
            row = (1, Delta(1, float(number + 1), 0.0, 0.0, 1.0))
            app.send(Deltas([row], wall_us, 0, span_us=9_800_000, dropped=3))
        await app.hang_up()
        for number in range(5):
            (packed,) = world.gathered.take(start_s + 10 * number)
            assert [row.delta.sum for row in unpack_rows(packed)[0]] == [number + 1]
            assert start_s + 10 * number in world.aggregator.windows
        assert world.gathered.measures_dropped == 3

    run(tmp, test)


def test_measures_of_an_app_that_does_not_date_them_are_of_now(tmp: Path) -> None:
    async def test(world: World) -> None:
        app = await world.connect()
        await app.hello(b"process1")
        app.send(MeasureNames({1: MeasureKey("work", COUNTER)}))
        row = [1, *Delta(3, 3.0, 0.0, 0.0, 1.0).row()]
        now_us, mono_us = time.time_ns() // 1000, time.monotonic_ns() // 1000
        # An app of the version before, one whose clock is ahead, one of a later version.
        app.send_raw(["deltas", [row]])
        app.send_raw(["deltas", [row], now_us + 86_400_000_000, 0, 0, 0])
        app.send_raw(["deltas", [row], now_us, mono_us, 1_000_000, 0, "more"])
        await app.hang_up()
        assert [row.delta.sum for row in world.measures()] in ([9], [6, 3], [3, 6])
        assert world.listener.refused == {}

    run(tmp, test)


def test_ids_may_be_given_anew_as_often_as_an_app_likes(tmp: Path) -> None:
    async def test(world: World) -> None:
        app = await world.connect()
        await app.hello(b"process1")
        for turn in range(3):
            for start in range(1, 65_536, 8_191):
                ids = range(start, min(start + 8_191, 65_536))
                app.send(Routes({route: f"/{turn}/{route}" for route in ids}))
            for start in range(1, MAX_MEASURES, 4000):
                keys = {n: MeasureKey(f"m{turn}.{n}", COUNTER) for n in range(start, start + 4000)}
                app.send(MeasureNames(keys))
            app.requests(1, 65_535)
            app.send(Deltas([(MAX_MEASURES, Delta(1, 1.0, 1.0, 1.0, 1.0))]))
        await app.hang_up()
        assert world.listener.refused == {}
        assert world.requests() == {
            f"/{turn}/{route}": 1 for turn in range(3) for route in (1, 65_535)
        }
        assert [row.key.name for row in world.measures()] == [
            f"m{turn}.{MAX_MEASURES}" for turn in range(3)
        ]

    run(tmp, test)


def test_windows_full_of_names_of_the_past_leave_the_next_its_places(tmp: Path) -> None:
    async def test(world: World) -> None:
        app = await world.connect()
        await app.hello(b"process1")
        ids = range(1, 11)
        for day in range(50):
            app.send(Routes({route: f"/{day}/{route}" for route in ids}))
            app.requests(*ids)
        await app.hang_up()
        # All in one window, which has places for 10.
        assert world.requests() == {f"/0/{route}": 1 for route in ids} | {"other": 490}
        app = await world.connect()
        await app.hello(b"process2")
        app.send(Routes({route: f"/today/{route}" for route in ids}))
        app.requests(*ids)
        await app.hang_up()
        assert world.requests() == {f"/today/{route}": 1 for route in ids}

    run(tmp, test, max_series=10)


def test_recycled_processes_take_the_same_worker_numbers_again(tmp: Path) -> None:
    async def test(world: World) -> None:
        for generation in range(20):
            apps = []
            for number in range(4):
                app = await world.connect()
                await app.hello(b"%04d%04d" % (generation, number))
                apps.append(app)
            assert sorted(app.worker for app in apps) == [0, 1, 2, 3]
            for app in apps:
                await app.hang_up()

    run(tmp, test)


def test_who_has_left_keeps_its_accounting_and_no_names(tmp: Path) -> None:
    async def test(world: World) -> None:
        app = await world.connect()
        await app.hello(b"process1")
        app.send(Routes({1: "/a"}))
        app.send(MeasureNames({1: MeasureKey("m", COUNTER)}))
        app.requests(1)
        await app.hang_up()
        (left,) = world.listener.apps.values()
        assert (left.routes, left.measures, left.series, left.end) == ({}, {}, {}, 1)
        assert world.requests() == {"/a": 1}

    run(tmp, test)


def test_processes_that_come_and_go_within_a_window_are_bounded(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_DEPARTED > 1000
    monkeypatch.setattr("trimtab_agent.departed.MAX_DEPARTED", 2)

    async def test(world: World) -> None:
        for number in range(world.listener.max_apps + 2):
            app = await world.connect()
            await app.hello(b"%08d" % number)
            await app.hang_up()
        refused = await world.connect()
        with pytest.raises((AssertionError, ConnectionResetError)):
            await refused.hello(b"one more")
        refused.abort()
        assert world.listener.refused == {"departed": 1}
        for process in world.listener.departed():  # as the end of a window does
            del world.listener.apps[process]
        app = await world.connect()
        await app.hello(b"one more")
        await app.hang_up()

    run(tmp, test)


def test_series_remembered_for_an_app_are_let_go_of_when_they_are_many(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_agent.aggregator._MAX_KNOWN", 8)

    async def test(world: World) -> None:
        app = await world.connect()
        await app.hello(b"process1")
        app.send(Routes({route: f"/{route}" for route in range(1, 100)}))
        app.requests(*range(1, 100))
        app.requests(*range(1, 100))
        async with asyncio.timeout(DEADLINE_S):
            while world.aggregator.records < 198:
                await asyncio.sleep(0)
        world.aggregator.book()
        (known,) = world.listener.apps.values()
        assert len(known.series) <= 8
        assert (
            SeriesKey("test", "shop", "1", "host#0", "/99", "GET", "2xx") in known.series.values()
        )
        await app.hang_up()
        assert world.requests() == {f"/{route}": 2 for route in range(1, 100)}

    run(tmp, test)
