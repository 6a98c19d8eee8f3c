"""Floods a collector or an agent as one bad key, client or app could, until its stdin ends.

Arguments: kind, port of the collector, socket of the agent, key. Prints a line when it has begun.
"""

import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

import msgpack

from trimtab_core.batches import (
    Batch,
    GaugeRow,
    Point,
    ProcessAccounting,
    SeriesKey,
    columns_of,
    encode,
    pack_series,
)
from trimtab_core.frames import MAX_FRAME
from trimtab_core.frames import encode as framed
from trimtab_core.messages import Hello

SERIES = 1_000
RANGES = 4_000
CONNECTIONS = 100


def main() -> None:
    kind, port, path, key = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    threading.Thread(target=KINDS[kind], args=(port, path, key), daemon=True).start()
    print("begun", flush=True)
    sys.stdin.read()
    os._exit(0)


def batch(seq: int, boot: bytes, **more: object) -> Batch:
    now = int(time.time()) // 10 * 10
    return Batch("flood", boot, seq, now, 10, now * 1_000_000, **more)  # type: ignore[arg-type]


def post(port: int, key: str, make: Callable[[int, bytes], Batch]) -> None:
    """Send one batch after the other on one connection, whatever the answers are."""
    boot, seq = os.urandom(8), 0
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as end:
                while True:
                    seq += 1
                    body = encode(make(seq, boot))
                    end.sendall(
                        b"POST /agent/v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
                        % (key.encode(), len(body))
                        + body
                    )
                    if not end.recv(65_536):
                        break
        except OSError:
            time.sleep(0.05)


def series(port: int, _path: str, key: str) -> None:
    """Every batch has a thousand names that were never seen."""
    columns = columns_of([(n, Point(sum_us=1000, buckets={500: 1})) for n in range(SERIES)])

    def make(seq: int, boot: bytes) -> Batch:
        tag = boot.hex()
        names = [
            SeriesKey("flood", "flood", "1", "h#0", f"/{tag}/{seq}/{n}", "GET", "2xx")
            for n in range(SERIES)
        ]
        return batch(seq, boot, series=pack_series(names), points=SERIES, columns=columns)

    post(port, key, make)


def ranges(port: int, _path: str, key: str) -> None:
    """Every batch covers thousands of single records, none beside another."""

    def make(seq: int, boot: bytes) -> Batch:
        first = seq * RANGES * 2
        covered = [(first + 2 * n, 1) for n in range(RANGES)]
        own = ProcessAccounting(boot, "flood", "flood", "h#0", covered, first + 2 * RANGES, {})
        return batch(seq, boot, processes=[own])

    post(port, key, make)


def events(port: int, _path: str, key: str) -> None:
    """Every batch has a megabyte of events."""
    noise = random.Random(1).randbytes(15_000).hex()

    def make(seq: int, boot: bytes) -> Batch:
        event = {"kind": "request", "at_us": time.time_ns() // 1_000, "text": noise}
        rows = [[], [["flood", "flood", "h#0", event]] * 30]
        gauge = GaugeRow("flood", "flood", "h#0", "process.memory.usage", 1.0)
        return batch(seq, boot, rows=msgpack.packb(rows), gauges=[gauge])

    post(port, key, make)


def slow(port: int, _path: str, key: str) -> None:
    """A hundred connections send a body of 4 MB, 2 bytes a second each."""
    head = (
        b"POST /agent/v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\n"
        b"Content-Length: 4000000\r\n\r\n" % key.encode()
    )
    dribble(lambda: socket.create_connection(("127.0.0.1", port)), head, 0.5)


def frames(_port: int, path: str, _key: str) -> None:
    """A hundred apps send a frame of 256 KiB byte by byte, a hundred bytes a second each."""

    def connect() -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.connect(path)
        return end

    def head() -> bytes:
        return framed(Hello("flood", "flood", "", "h", 1, os.urandom(8)).frame())

    dribble(connect, lambda: head() + struct.pack(">I", MAX_FRAME), 0.01)


def dribble(
    connect: Callable[[], socket.socket], head: bytes | Callable[[], bytes], every_s: float
) -> None:
    ends: list[socket.socket] = []
    while True:
        while len(ends) < CONNECTIONS:
            try:
                end = connect()
                end.sendall(head() if callable(head) else head)
                ends.append(end)
            except OSError:
                break
        for end in list(ends):
            try:
                end.sendall(b"\x90")
            except OSError:
                end.close()
                ends.remove(end)
        time.sleep(every_s)


KINDS: dict[str, Callable[[int, str, str], None]] = {
    "series": series,
    "ranges": ranges,
    "events": events,
    "slow": slow,
    "frames": frames,
}

if __name__ == "__main__":
    main()
