"""Sends batches of 200 series-points as 32 agents would, and times the answers.

Arguments: port, key, number of batches, seed. Prints what it made as a line of JSON and waits for
a line; then sends, each connection its next batch when the one before was answered, and prints the
result as a line of JSON. Making the batches is outside the time between the lines.
"""

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import replace

from trimtab_core.batches import (
    Batch,
    Column,
    Point,
    ProcessAccounting,
    SeriesKey,
    columns_of,
    encode,
    pack_series,
)
from trimtab_core.sketch import bucket_of

CONNECTIONS = 32
SERIES = 200
WINDOWS = 60
#: different contents; more would only take longer to make
VARIANTS = 8


def main() -> None:
    port, key, count, seed = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    made = Maker(random.Random(seed))
    each = count // CONNECTIONS
    requests = [made.requests(agent, each, key) for agent in range(CONNECTIONS)]
    wire = sum(len(request) for mine in requests for request in mine) / (each * CONNECTIONS)
    facts = {
        "points": each * CONNECTIONS * SERIES,
        "batches": each * CONNECTIONS,
        "buckets": made.buckets / made.points,
        "requests": made.counted / made.points,
        "wire_bytes": wire / SERIES,
    }
    print(json.dumps(facts), flush=True)
    sys.stdin.readline()
    print(json.dumps(asyncio.run(drive(port, requests))), flush=True)


class Maker:
    """Makes the requests of an agent: random contents, a number of its own for every batch."""

    def __init__(self, random_: random.Random, series: int = SERIES) -> None:
        self.random = random_
        self.series = series
        self.points = self.buckets = self.counted = 0
        self.columns = [columns_of(self.window()) for _ in range(VARIANTS)]

    def window(self) -> list[tuple[int, Point]]:
        return [(index, self.point()) for index in range(self.series)]

    def point(self) -> Point:
        """Return a point of some ten requests: nine buckets, as a route at one request a second."""
        count = max(1, round(self.random.gammavariate(3, 3.7)))
        middle = self.random.lognormvariate(9.5, 1.0)
        point = Point()
        for _ in range(count):
            duration = min(2**31, int(middle * self.random.lognormvariate(0, 0.5)))
            point.sum_us += duration
            point.max_us = max(point.max_us, duration)
            bucket = bucket_of(duration)
            point.buckets[bucket] = point.buckets.get(bucket, 0) + 1
        point.bytes = count * self.random.randrange(200, 20_000)
        point.ttfb_us = point.sum_us * 9 // 10
        point.db_us = point.sum_us // 2
        point.db_calls = 2 * count
        point.errors = int(self.random.random() < 0.05)
        point.statuses = {200: count}
        if count > 1 and self.points % 5 == 0:
            point.statuses = {200: count - 1, 204: 1}
        self.points += 1
        self.buckets += len(point.buckets)
        self.counted += count
        return point

    def requests(self, agent: int, count: int, key: str) -> list[bytes]:
        now = int(time.time()) // 10 * 10
        boot = self.random.randbytes(8)
        names = [
            SeriesKey("bench", "shop", "1.4.2", f"host-{agent}#0", f"/v1/things/{n}/{{id}}", *kind)
            for n in range(SERIES // 4)
            for kind in (("GET", "2xx"), ("GET", "4xx"), ("POST", "2xx"), ("POST", "5xx"))
        ]
        series = pack_series(names)
        batch = Batch(f"agent-{agent:04}", boot, 0, now, 10, now * 1_000_000, series, SERIES)
        made = []
        for seq in range(count):
            columns: dict[str, Column] = self.columns[seq % VARIANTS]
            process = ProcessAccounting(
                boot,
                "bench",
                "shop",
                f"host-{agent}#0",
                [(seq * 1000, 1000)],
                seq * 1000 + 1000,
                {},
            )
            body = encode(
                replace(
                    batch,
                    seq=seq,
                    window_s=now - 10 * (seq % WINDOWS),
                    columns=columns,
                    processes=[process],
                )
            )
            made.append(request_of(body, key))
        return made


def request_of(body: bytes, key: str) -> bytes:
    """Return the HTTP request of a batch."""
    head = (
        "POST /agent/v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/x-trimtab-batch\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def drive(port: int, requests: list[list[bytes]]) -> dict[str, float]:
    latencies: list[float] = []

    async def connection(mine: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in mine:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
            body = await reader.readexactly(length)
            latencies.append(time.perf_counter() - begun)
            if b" 202 " not in head[:20] or b'"duplicate":false' not in body:
                raise SystemExit(f"expected 202 for a new batch, got {head[:40]!r} {body!r}")
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*map(connection, requests))
    seconds = time.perf_counter() - begun
    latencies.sort()
    return {
        "seconds": seconds,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    main()
    os._exit(0)
