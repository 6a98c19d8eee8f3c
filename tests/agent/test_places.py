"""Connections that say nothing, dribble or are too many cost no other app its place."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.lacking import lack
from support.processes.servers import free_port
from trimtab_agent import places
from trimtab_agent.aggregator import Aggregator
from trimtab_agent.gathered import Gathered
from trimtab_agent.listener import Listener
from trimtab_agent.peers import Peer
from trimtab_agent.places import FRAME_S, PER_PROCESS
from trimtab_agent.sockets import number_of
from trimtab_core.frames import encode
from trimtab_core.messages import Hello, Routes

DEADLINE_S = 5.0
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Doors:
    """A listener on a Unix socket and a TCP port, for at most eight apps."""

    def __init__(self, tmp: Path) -> None:
        self.path, self.port = tmp / "agent.sock", free_port()
        self.listener = Listener(
            f"unix://{self.path}",
            Aggregator(10, 100),
            Gathered(),
            "agent",
            max_apps=8,
            allow_uids=frozenset(),
            tcp=f"tcp://127.0.0.1:{self.port}",
        )
        self.ends: list[asyncio.StreamWriter] = []
        self._processes = 0

    async def connect(self, kind: str, sent: bytes = b"") -> Ends:
        """Return a connection over `unix` or `tcp` that has sent something."""
        if kind == "unix":
            reader, writer = await asyncio.open_unix_connection(self.path)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.ends.append(writer)
        writer.write(sent)
        return reader, writer

    def hello(self, service: str = "shop") -> bytes:
        """Return the frame by which a new process says hello."""
        self._processes += 1
        process = self._processes.to_bytes(8, "big")
        return encode(Hello("test", service, "", "host", 1, process).frame())

    async def app(self, kind: str) -> Ends:
        """Return a connection that was welcomed; fails when it was closed."""
        reader, writer = await self.connect(kind, self.hello())
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.read(100), "expected a welcome, the connection was closed"
        return reader, writer


@asynccontextmanager
async def doors(tmp: Path) -> AsyncIterator[Doors]:
    found = Doors(tmp)
    await found.listener.start()
    try:
        yield found
    finally:
        for writer in found.ends:
            writer.transport.abort()
        found.listener.close()


async def closed(reader: asyncio.StreamReader) -> None:
    """Wait until the other end of a connection has closed it."""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(DEADLINE_S):
            while await reader.read(1000):
                pass


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("sent", [b"", b"\0\0\1\0half"], ids=["nothing", "half a hello"])
async def test_connections_that_say_no_hello_keep_no_app_out(
    tmp: Path, kind: str, sent: bytes
) -> None:
    async with doors(tmp) as found:
        silent = [await found.connect(kind, sent) for _ in range(100)]
        await found.app("unix")
        await found.app("tcp")
        await closed(silent[0][0])
        assert found.listener.refused["no_hello"] >= 68
        assert len(found.listener.connections) <= 2 * places.MAX_WAITING + 2


@pytest.mark.asyncio
async def test_a_connection_that_waits_is_closed_for_none_of_a_peer_with_more_of_them(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer("1001", is_here=True, process=9)
    monkeypatch.setattr("trimtab_agent.listener.peer_of", lambda _: (None, peer))
    async with doors(tmp) as found:
        await found.connect("unix")
        async with asyncio.timeout(DEADLINE_S):
            while not found.listener.connections:
                await asyncio.sleep(0)
        peer = peer._replace(process=10)
        for _ in range(2 * places.MAX_WAITING):
            await found.connect("unix")
        async with asyncio.timeout(DEADLINE_S):
            while found.listener.refused["no_hello"] < places.MAX_WAITING + 1:
                await asyncio.sleep(0)
        assert 9 in {each.peer.process for each in found.listener.connections}


@pytest.mark.asyncio
async def test_apps_over_tcp_without_a_token_give_way_to_those_of_the_unix_socket(
    tmp: Path,
) -> None:
    async with doors(tmp) as found:
        over_tcp = [await found.app("tcp") for _ in range(8)]
        await found.app("unix")
        # The newest goes, the others stay.
        await closed(over_tcp[-1][0])
        assert found.listener.refused == {"too_many": 1}
        reader, _ = await found.connect("tcp", found.hello())
        await closed(reader)
        assert found.listener.refused == {"too_many": 2}
        for _ in range(7):
            await found.app("unix")
        reader, _ = await found.connect("unix", found.hello())
        await closed(reader)
        assert found.listener.refused == {"too_many": 10}


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the process of a peer")
async def test_one_process_takes_a_share_of_the_places_only(tmp: Path) -> None:
    async with doors(tmp) as found:
        found.listener.reconfigure(1000, frozenset(), "")
        for _ in range(PER_PROCESS):
            await found.app("unix")
        reader, _ = await found.connect("unix", found.hello())
        await closed(reader)
        refused = found.listener.places.seat(next(iter(found.listener.connections)))
        assert refused is not None
        _, sentence = refused
        assert f"process {os.getpid()} has {PER_PROCESS} connections already" in sentence


@pytest.mark.asyncio
async def test_a_process_that_says_to_be_one_service_after_the_other_is_refused(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer("1001", is_here=True, process=9)
    monkeypatch.setattr("trimtab_agent.listener.peer_of", lambda _: (None, peer))
    async with doors(tmp) as found:
        welcomed = 0
        for number in range(100):
            reader, writer = await found.connect("unix", found.hello(f"service-{number}"))
            async with asyncio.timeout(DEADLINE_S):
                welcomed += bool(await reader.read(100))
            writer.close()
            await closed(reader)
        assert 30 < welcomed < 70
        assert found.listener.refused["names"] == 100 - welcomed
        peer = peer._replace(process=10)
        reader, _ = await found.connect("unix", found.hello("newcomer"))
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.read(100), "expected a welcome, the connection was closed"


@pytest.mark.asyncio
async def test_the_peer_with_most_places_gives_one_to_who_has_fewer(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers: list[Peer] = []
    monkeypatch.setattr("trimtab_agent.listener.peer_of", lambda _: (None, peers[-1]))
    async with doors(tmp) as found:
        # One in a container, for which nothing is told of its process.
        peers.append(Peer("1001", is_here=False, process=0))
        container = [await found.app("unix") for _ in range(8)]
        # Its own user's on the host: half, each process for itself.
        for process in range(4):
            peers.append(Peer("1001", is_here=True, process=9 + process))
            await found.app("unix")
        for reader, _ in container[4:]:
            await closed(reader)
        peers.append(Peer("1002", is_here=True, process=20))
        other = [await found.app("unix") for _ in range(4)]
        assert found.listener.refused == {"too_many": 8}
        # Whoever has as much as others gets no more, and takes nothing away.
        reader, _ = await found.connect("unix", found.hello())
        await closed(reader)
        for reader, _ in (*container[:2], *other):
            assert not reader.at_eof()
        seated = Counter(each.peer[:2] for each in found.listener.connections)
        assert seated == {("1001", False): 2, ("1001", True): 2, ("1002", True): 4}


#: Holds as many connections as it is told, by as many processes, and says hello on each.
CROWD = """
import os, socket, sys
from trimtab_core.frames import encode
from trimtab_core.messages import Hello
path, forks, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(forks):
    if os.fork():
        continue
    held = []
    for _ in range(each):
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].connect(path)
        held[-1].sendall(encode(Hello("test", "crowd", "", "host", 1, os.urandom(8)).frame()))
        held[-1].recv(100)
    os.write(1, b".")
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the process of a peer")
async def test_processes_of_a_crowd_give_a_place_to_one_that_has_none(tmp: Path) -> None:
    async with doors(tmp) as found:
        pipe = asyncio.subprocess.PIPE
        crowd = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CROWD, found.path, "2", "4"), stdin=pipe, stdout=pipe
        )
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        try:
            async with asyncio.timeout(4 * DEADLINE_S):
                await crowd.stdout.readexactly(2)
            await found.app("unix")
            await found.app("unix")
            assert found.listener.refused == {"too_many": 2}
        finally:
            crowd.stdin.close()  # they all end
            async with asyncio.timeout(DEADLINE_S):
                await crowd.wait()


@pytest.mark.asyncio
async def test_who_comes_and_goes_all_the_time_keeps_no_other_out(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_agent.departed.MAX_DEPARTED", 8)
    peer = Peer("1001", is_here=True, process=9)
    monkeypatch.setattr("trimtab_agent.listener.peer_of", lambda _: (None, peer))
    async with doors(tmp) as found:

        async def come_and_go() -> None:
            _, writer = await found.app("unix")
            writer.write_eof()
            async with asyncio.timeout(DEADLINE_S):
                while found.listener.connections:
                    await asyncio.sleep(0)

        for _ in range(16):
            await come_and_go()
        reader, _ = await found.connect("unix", found.hello())
        await closed(reader)
        for process in (10, 11):
            peer = peer._replace(process=process)
            for _ in range(4):
                await come_and_go()
        assert found.listener.refused == {"departed": 1}
        assert found.listener.leavers.given_up == 8
        left = Counter(app.peer.process for app in found.listener.apps.values())
        assert left == {9: 8, 10: 4, 11: 4}
        # With the end of the window there is room for all.
        for each in found.listener.departed():
            del found.listener.apps[each]
        peer = peer._replace(process=9)
        await come_and_go()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a number for each process")
def test_the_number_of_a_process_is_its_own(tmp: Path) -> None:
    path = str(tmp / "socket")
    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as stack:
        listening.bind(path)
        listening.listen()
        script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        numbers = []
        for _ in range(2):
            end = stack.enter_context(socket.socket(socket.AF_UNIX))
            end.connect(path)
            numbers.append(number_of(stack.enter_context(listening.accept()[0])))
        if not numbers[0]:
            lack("Linux tells the number of a process since 6.9")
        subprocess.run([sys.executable, "-c", script, path], check=True)
        numbers.append(number_of(stack.enter_context(listening.accept()[0])))
    assert numbers[0] == numbers[1] != numbers[2]


async def looks(found: Doors, seen: Callable[[], Awaitable[None]], most: int = 3 * FRAME_S) -> int:
    """Return at how many looks seen was over; between two of them it gets its turn."""
    task = asyncio.ensure_future(seen())
    for number in range(most):
        for _ in range(20):
            await asyncio.sleep(0)
        if task.done():
            await task
            return number
        found.listener.places.look()
    task.cancel()
    raise AssertionError(f"waited {most} looks for a connection to be closed")


@pytest.mark.asyncio
async def test_a_frame_that_does_not_end_ends_its_connection_and_no_other(tmp: Path) -> None:
    async with doors(tmp) as found:
        reader, writer = await found.app("unix")
        _, other = await found.app("unix")
        writer.write(encode(Routes({1: "/a"}).frame())[:-1])
        step = iter(encode(Routes({n: f"/{n}" for n in range(1000)}).frame()))

        async def dribble() -> None:
            while True:
                # A byte between two looks, for longer than a frame may take.
                other.write(bytes([next(step)]))
                for _ in range(10):
                    await asyncio.sleep(0)
                if reader.at_eof():
                    return
                await asyncio.sleep(0)

        closing = asyncio.ensure_future(closed(reader))
        await looks(found, dribble, FRAME_S + 3)
        await closing
        assert found.listener.refused["slow_frame"] >= 1
        await found.app("unix")


@pytest.mark.asyncio
async def test_whole_frames_that_come_in_pieces_are_not_late(tmp: Path) -> None:
    async with doors(tmp) as found:
        _, writer = await found.app("unix")
        frame = encode(Routes({1: "/a"}).frame())
        for _ in range(2 * FRAME_S):
            # The end of one frame and the beginning of the next, between two looks.
            writer.write(frame[5:] if _ else frame + frame[:5])
            writer.write(frame[:5] if _ else b"")
            for _ in range(20):
                await asyncio.sleep(0)
            found.listener.places.look()
        assert found.listener.refused == {}


@pytest.mark.asyncio
async def test_a_hello_that_does_not_come_ends_its_connection(tmp: Path) -> None:
    async with doors(tmp) as found:
        reader, _ = await found.connect("tcp", b"\0\0")
        assert await looks(found, lambda: closed(reader)) <= places.HELLO_S + 3
        assert found.listener.refused == {"no_hello": 1}
