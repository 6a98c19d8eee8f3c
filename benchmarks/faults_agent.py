"""What an agent does with a socket file left behind, with odd frames, and with a damaged spool."""

import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from faults_stack import (
    Agent,
    Proc,
    Sizes,
    Stack,
    at_most,
    directory,
    free_port,
    metrics,
    pause,
    stack,
    wait_for,
)
from harness import Row, progress, spread
from processes import cpu_s, rss_mb
from trimtab_agent.spool.spool import Spool
from trimtab_core.frames import MAX_FRAME, encode
from trimtab_core.messages import Hello, Samples
from trimtab_core.records import RECORD_SIZE, Record, pack

__all__ = ["frames", "sockets", "spool"]

BIND_S: Final = 1.0
CLOSE_S: Final = 1.0
GARBAGE_MB: Final = 2.0
BYTEWISE: Final = 5.0
OPEN_S: Final = 3.0
#: what 300 requests a second put into a frame each 250 ms
_RECORDS: Final = 75
_FRAME_S: Final = 0.25
_RETRY_S: Final = 0.005


def sockets(sizes: Sizes) -> list[Row]:
    """Return the rows of an agent that finds a socket: one nobody listens on, one somebody does."""
    progress("an agent that finds a socket file")
    bound: list[float] = []
    refused: list[float] = []
    with stack() as one:
        for _ in range(sizes.rounds):
            one.agent.kill9()
            begun = time.monotonic()
            Proc.start(one.agent)
            while not _connects(one.agent):
                if not one.agent.alive:
                    raise RuntimeError(f"expected an agent that starts:\n{one.agent.tail()}")
                pause(_RETRY_S)
            bound.append(time.monotonic() - begun)
            one.agent.wait_line("listening on")
        with directory() as other:
            second = Agent(other, one.collector.url, "no-key", **_socket_of(one))
            for _ in range(max(2, sizes.rounds - 2)):
                begun = time.monotonic()
                with second:
                    Proc.start(second)
                    code = second.wait_exit()
                    said = "another agent listens" in second.output()
                refused.append(time.monotonic() - begun)
                if code != 2 or not said:
                    raise RuntimeError(f"expected a refusal, got {code}:\n{second.tail()}")
        unharmed = _connects(one.agent)
    start = spread(bound)
    return [
        Row(
            "stale socket file: from start to taking connections", start.median, "s",
            f"<= {BIND_S:g}", start.median <= BIND_S, spread=start,
            note=f"longest {max(bound):.2f} s; Python starts and imports included",
        ),
        Row(
            "second agent on a live socket: refused, the first unharmed", max(refused), "s",
            "refused", unharmed, note="exit code 2 and a sentence that names the socket",
        ),
    ]  # fmt: skip


def frames(sizes: Sizes) -> list[Row]:
    """Return the rows of frames that come byte by byte, and of what is no frame at all."""
    progress("frames byte by byte, and garbage")
    with stack(TRIMTAB_AGENT_MAX_SERIES="1000") as one:
        with _App(one.agent) as warm:
            warm.send(sizes.n(200))
            warm.counted()
        whole = _sent_for(one.agent, sizes.s(6.0), piece=0)
        bytewise = _sent_for(one.agent, sizes.s(6.0), piece=1)
        rows = [
            Row(
                "frames byte by byte: agent CPU, of that with frames in one piece",
                bytewise.percent / whole.percent, "x", f"<= {BYTEWISE:g}",
                bytewise.percent <= BYTEWISE * whole.percent,
                note=f"{bytewise.percent:.1f} % of a core against {whole.percent:.1f} %, for an "
                f"app of 300 requests/s: {1 / _FRAME_S:g} frames/s of {whole.size} bytes",
            ),
            Row(
                "frames byte by byte: agent CPU a frame more",
                (bytewise.percent - whole.percent) * 1e4 * _FRAME_S, "us",
                note="without a goal: the kernel wakes the reader and keeps books for each byte",
            ),
            *_garbage(one, sizes),
        ]  # fmt: skip
        if not _connects(one.agent):
            raise RuntimeError("expected an agent that still takes connections")
    return rows


def spool(sizes: Sizes) -> list[Row]:
    """Return the row of opening a spool of 64 MB whose segments are damaged."""
    megabytes = 8 if sizes.quick else 64
    progress(f"a damaged spool of {megabytes} MB")
    took: list[float] = []
    with directory() as path:
        whole = path / "whole"
        filled = Spool(whole, 256 * 2**20)
        payload = random.Random(1).randbytes(4000)
        count = 0
        while filled.stats.held_bytes < megabytes * 1e6:
            filled.append(payload, samples=10, window_s=1_000_000 + count)
            count += 1
        filled.close()
        for seed in range(max(2, sizes.rounds - 2)):
            damaged = path / "damaged"
            shutil.copytree(whole, damaged)
            hurt = _damage(damaged, random.Random(seed))
            begun = time.monotonic()
            opened = Spool(damaged, 256 * 2**20)
            took.append(time.monotonic() - begun)
            held = opened.stats.held_batches
            live = opened.append(payload, samples=1, window_s=9)
            if not live or held < count * 0.5:
                raise RuntimeError(f"expected most of {count} batches, got {held}")
            opened.close()
            shutil.rmtree(damaged)
    note = f"{count} batches of 4 kB, {hurt}; {held} batches held afterwards"
    return [at_most(f"damaged spool of {megabytes} MB: opened", max(took), OPEN_S, "s", note)]


class _Sent(NamedTuple):
    """CPU of the agent, in percent of a core, and the bytes of a frame."""

    percent: float
    size: int


class _App:
    """A connection that says hello and sends frames of records."""

    def __init__(self, agent: Agent) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(agent.socket_path))
        self._agent = agent
        hello = Hello("bench", "bytes", "1", "bench", os.getpid(), os.urandom(8))
        self._socket.sendall(encode(hello.frame()))
        self._socket.recv(4096)
        self._first = 0
        self._before = metrics(agent)["samples_total"]
        record = Record(
            route=0, method=1, flags=0, status=200, duration_us=1000, ttfb_us=0, bytes=100
        )
        self._data = pack(record) * _RECORDS
        #: bytes of a frame
        self.size = 0

    def send(self, count: int, piece: int = 0) -> None:
        """Send frames, whole or in pieces."""
        for _ in range(count):
            now_us, mono_us = time.time_ns() // 1000, time.monotonic_ns() // 1000
            samples = Samples(now_us, mono_us, self._first, {}, RECORD_SIZE, self._data)
            self._first += _RECORDS
            frame = encode(samples.frame())
            self.size = len(frame)
            step = piece or len(frame)
            for start in range(0, len(frame), step):
                self._socket.sendall(frame[start : start + step])

    def counted(self) -> None:
        """Wait until the agent has counted all that was sent."""
        wanted = self._before + self._first
        wait_for(
            lambda: metrics(self._agent)["samples_total"] >= wanted, "records to be counted", 60
        )

    def __enter__(self) -> "_App":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _sent_for(agent: Agent, seconds: float, piece: int) -> _Sent:
    """Send frames at the pace of an app and return what that cost the agent."""
    with _App(agent) as app:
        before, begun = cpu_s(agent.pid), time.monotonic()
        due = begun
        while due < begun + seconds:
            app.send(1, piece)
            due += _FRAME_S
            pause(max(0.0, due - time.monotonic()))
        percent = (cpu_s(agent.pid) - before) / (time.monotonic() - begun) * 100
        app.counted()
        return _Sent(percent, app.size)


def _garbage(one: Stack, sizes: Sizes) -> list[Row]:
    hello = encode(Hello("bench", "garbage", "1", "bench", 1, b"12345678").frame())
    deep = b"\x91" * 100_000
    draw = random.Random(5)
    kinds: dict[str, Callable[[], bytes]] = {
        "random bytes": lambda: b"\x7f" + draw.randbytes(2000),
        "a length of 4 GB": lambda: b"\xff\xff\xff\xff",
        "100,000 lists in one another": lambda: (
            hello + len(deep).to_bytes(4, "big") + deep[: MAX_FRAME - 4]
        ),
        "an HTTP request": lambda: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    }
    longest: dict[str, float] = {}
    for made in kinds.values():  # what the first of a kind loads is no growth
        _closed_after(one.agent, made())
    before_mb = rss_mb(one.agent.pid)
    for _ in range(sizes.n(100)):
        for kind, made in kinds.items():
            longest[kind] = max(longest.get(kind, 0.0), _closed_after(one.agent, made()))
    grown_mb = rss_mb(one.agent.pid) - before_mb
    note = ", ".join(f"{kind} {seconds * 1e3:.1f} ms" for kind, seconds in longest.items())
    return [
        at_most("garbage: connection closed", max(longest.values()), CLOSE_S, "s", note),
        at_most(
            "garbage: agent memory grown", grown_mb, GARBAGE_MB, "MB",
            f"after {sizes.n(100)} connections of each kind",
        ),
    ]  # fmt: skip


def _closed_after(agent: Agent, data: bytes) -> float:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(10)
        opened.connect(str(agent.socket_path))
        begun = time.monotonic()
        try:
            opened.sendall(data)
            while opened.recv(4096):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass
        return time.monotonic() - begun


def _damage(path: Path, draw: random.Random) -> str:
    segments: Sequence[Path] = sorted(path.glob("*.seg"))
    for segment in draw.sample(segments, len(segments) // 4):
        with segment.open("r+b") as file:
            file.seek(draw.randrange(segment.stat().st_size))
            file.write(b"\x00" * draw.choice((1, 64, 4096)))
    torn = draw.choice(segments)
    with torn.open("r+b") as file:
        file.truncate(draw.randrange(torn.stat().st_size))
    draw.choice([one for one in segments if one is not torn]).unlink()
    return f"{len(segments) // 4} of {len(segments)} segments overwritten, one torn, one deleted"


def _connects(agent: Agent) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(agent.socket_path))
        except OSError:
            return False
        return True


def _socket_of(one: Stack) -> dict[str, str]:
    return {
        "TRIMTAB_AGENT_SOCKET": one.agent.socket,
        "TRIMTAB_AGENT_HTTP": f"127.0.0.1:{free_port()}",
    }
