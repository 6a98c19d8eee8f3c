"""Sends requests' facts to an agent or to a statsd server, as an app would, and prints JSON.

    python feeder.py frames SOCKET SECONDS RATE      records in frames, to a trimtab agent
    python feeder.py statsd HOST:PORT SECONDS RATE   text lines over TCP

RATE is requests a second in tenths of a second; 0 sends as fast as the other side drains. Both
forms tell the same requests: 60 routes, two methods, one in a hundred failed; count, latency,
bytes and errors of each. Ends when the other side has read everything and closed, and prints
{"samples", "seconds"}.
"""

import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from trimtab_core import frames, messages
from trimtab_core.records import METHOD_IDS, RECORD_SIZE, Record, pack

ROUTES: Final = 60
METHODS: Final = ("GET", "POST")
#: requests a frame or write; at the rate of 10,000 a second the frames of a tenth of a second
BATCH: Final = 1000
#: different batches, sent in turn
VARIETY: Final = 32


class Request(NamedTuple):
    """The facts of one request."""

    route: int
    method: str
    status: int
    latency_us: int
    bytes: int


def requests(seed: int) -> list[Request]:
    """Return a batch of requests; latencies are lognormal with a heavy tail."""
    draw = random.Random(seed)
    return [
        Request(
            1 + int(ROUTES * draw.random() ** 2),
            METHODS[draw.random() < 0.2],
            500 if draw.random() < 0.01 else 404 if draw.random() < 0.03 else 200,
            int(draw.lognormvariate(9.2, 1.0)) + 100,
            int(draw.lognormvariate(8.0, 1.0)),
        )
        for _ in range(BATCH)
    ]


def records(batch: list[Request]) -> bytes:
    """Return a batch as packed records."""
    return b"".join(
        pack(
            Record(
                route=one.route,
                method=METHOD_IDS[one.method],
                flags=0,
                status=one.status,
                duration_us=one.latency_us,
                ttfb_us=one.latency_us * 9 // 10,
                bytes=one.bytes,
            )
        )
        for one in batch
    )


def lines(batch: list[Request]) -> bytes:
    """Return a batch as statsd lines: a timer, a counter of bytes, a counter where it failed."""
    text = []
    for one in batch:
        name = f"web.r{one.route}.{one.method}.{one.status // 100}xx"
        text.append(f"{name}.time:{one.latency_us / 1000:g}|ms\n{name}.bytes:{one.bytes}|c\n")
        if one.status >= 500:
            text.append(f"{name}.errors:1|c\n")
    return "".join(text).encode()


class Frames:
    """An app's connection to a trimtab agent."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.sent = 0
        hello = messages.Hello("bench", "feeder", "1", "bench", os.getpid(), os.urandom(8))
        self.socket.sendall(frames.encode(hello.frame()))
        routes = messages.Routes({route: f"/r{route}/{{id}}" for route in range(1, ROUTES + 1)})
        self.socket.sendall(frames.encode(routes.frame()))

    def send(self, data: bytes) -> None:
        """Send a batch of records; waits while the agent is behind."""
        now_us = time.time_ns() // 1000
        count = len(data) // RECORD_SIZE
        samples = messages.Samples(now_us, now_us, self.sent, {}, RECORD_SIZE, data)
        self.socket.sendall(frames.encode(samples.frame()))
        self.sent += count

    def second(self) -> None:
        """Send the gauges that an app sends each second."""
        gauges = messages.Gauges(time.time_ns() // 1000, self.sent, {}, {})
        self.socket.sendall(frames.encode(gauges.frame()))

    def finish(self) -> None:
        """Say good-bye and wait until the agent has read it."""
        self.socket.sendall(frames.encode(messages.Bye(self.sent, {}).frame()))
        _drained(self.socket)


class Lines:
    """A connection to a statsd server."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))

    def send(self, data: bytes) -> None:
        """Send a batch of lines; waits while the server is behind."""
        self.socket.sendall(data)

    def second(self) -> None:
        """An app has nothing to tell a statsd server each second."""

    def finish(self) -> None:
        """Wait until the server has read everything."""
        _drained(self.socket)


def _drained(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(60)
    while connection.recv(65536):
        pass


def feed(sink: Frames | Lines, batches: list[bytes], seconds: float, rate: int) -> int:
    """Send for that long and return the number of requests told."""
    begin = time.monotonic()
    until, tick, sent = begin + seconds, begin, 0
    told = begin
    while (now := time.monotonic()) < until:
        if rate:
            tick += 0.1
            for _ in range(max(1, rate // 10 // BATCH)):
                sink.send(batches[sent // BATCH % VARIETY])
                sent += BATCH
            time.sleep(max(0.0, tick - time.monotonic()))
        else:
            sink.send(batches[sent // BATCH % VARIETY])
            sent += BATCH
        if now - told >= 1:
            sink.second()
            told = now
    return sent


def main() -> None:
    """Feed and print."""
    form, address, seconds, rate = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    make: Callable[[list[Request]], bytes] = records if form == "frames" else lines
    batches = [make(requests(seed)) for seed in range(VARIETY)]
    sink: Frames | Lines = Frames(address) if form == "frames" else Lines(address)
    # The parent opens its measurement on this line: making batches is no load.
    print("ready", flush=True)
    begin = time.monotonic()
    sent = feed(sink, batches, seconds, rate)
    sink.finish()
    print(json.dumps({"samples": sent, "seconds": time.monotonic() - begin}))


if __name__ == "__main__":
    main()
