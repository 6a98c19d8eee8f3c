"""Sends the windows of many agents, one window of all after the other, and times the answers.

Argument: JSON of {"port", "key", "agents", "routes", "windows", "end_s", "rate", "varied", "seed"}.
Each agent has one instance and sends a point for each of its routes and for every 10 seconds before
end_s. A rate of 0 never pauses: a connection sends its next batch when the one before was answered.
At any other rate, batches a second, each is due at its time whatever became of those before, and a
latency counts from then. With varied, no two batches list their series alike, as when some routes
have no request in a window.

Prints what it made as a line of JSON and waits for a line; sends, and prints the result.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

import uvloop
from ingest_client import Maker, request_of

from trimtab_core.batches import Batch, ProcessAccounting, SeriesKey, encode, pack_series

CONNECTIONS = 32
Due = tuple[float, bytes]


def main() -> None:
    """Make, wait, send, print."""
    asked = json.loads(sys.argv[1])
    maker = Maker(random.Random(asked["seed"]), asked["routes"])
    requests = list(made(maker, asked))
    facts = {
        "batches": len(requests),
        "points": len(requests) * asked["routes"],
        "buckets": maker.buckets / maker.points,
        "requests": maker.counted / maker.points,
    }
    print(json.dumps(facts), flush=True)
    sys.stdin.readline()
    print(json.dumps(uvloop.run(drive(asked["port"], requests, asked["rate"]))), flush=True)


def made(maker: Maker, asked: dict[str, Any]) -> Iterator[bytes]:
    """Yield requests, those of a window together."""
    boot = maker.random.randbytes(8)
    agents, windows, count = asked["agents"], asked["windows"], asked["routes"]
    names = [
        [
            SeriesKey("bench", "shop", "1.4.2", f"host-{n}#0", f"/v1/things/{route}/{{id}}", *kind)
            for route in range(count)
        ]
        for n in range(agents)
        for kind in [("GET", "2xx")]
    ]
    packed = list(map(pack_series, names))
    for seq in range(windows):
        window_s = asked["end_s"] - 10 * (windows - seq)
        for agent in range(agents):
            series = packed[agent]
            if asked["varied"]:
                cut = (7 * seq + agent) % count
                series = pack_series(names[agent][cut:] + names[agent][:cut])
            process = ProcessAccounting(
                boot[:4] + agent.to_bytes(4, "big"),
                "bench",
                "shop",
                f"host-{agent}#0",
                [(seq * 1000, 1000)],
                seq * 1000 + 1000,
                {},
            )
            body = encode(
                Batch(
                    f"agent-{agent:04}",
                    boot,
                    seq,
                    window_s,
                    10,
                    (window_s + 10) * 1_000_000,
                    series,
                    count,
                    maker.columns[(seq + agent) % len(maker.columns)],
                    [process],
                )
            )
            yield request_of(body, asked["key"])


async def drive(port: int, requests: list[bytes], rate: float) -> dict[str, Any]:
    """Send all; returns the seconds it took and, for each batch, when it was due and its ms.

    Times are those of time.perf_counter, which all processes of a machine share.
    """
    queue: asyncio.Queue[Due | None] = asyncio.Queue()
    answers: list[tuple[float, float]] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (due := await queue.get()) is not None:
            at, request = due
            begun_s = at or time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
            body = await reader.readexactly(length)
            answers.append((begun_s, (time.perf_counter() - begun_s) * 1e3))
            if b" 202 " not in head[:20] or b'"duplicate":false' not in body:
                raise SystemExit(f"expected 202 for a new batch, got {head[:40]!r} {body!r}")
        writer.close()

    begun_s = time.perf_counter()
    sending = [asyncio.ensure_future(connection()) for _ in range(CONNECTIONS)]
    for place, request in enumerate(requests):
        due_s = begun_s + place / rate if rate else 0.0
        while rate and (early_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(early_s)
        queue.put_nowait((due_s, request))
    for _ in sending:
        queue.put_nowait(None)
    await asyncio.gather(*sending)
    return {"seconds": time.perf_counter() - begun_s, "answers": answers}


if __name__ == "__main__":
    main()
    os._exit(0)
