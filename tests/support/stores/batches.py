"""Batches as an agent would send them, and a connection to send them over."""

import http.client
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

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
from trimtab_core.sketch import bucket_of

__all__ = [
    "BOOT",
    "Connect",
    "Sender",
    "a_batch",
    "accounting_of",
    "coded",
    "key_of",
    "point_of",
    "window",
]

BOOT = b"boot-one"


def window(back: int = 1, step_s: int = 10) -> int:
    """Return the start of the window that many steps ago."""
    now = int(time.time())
    return now - now % step_s - back * step_s


def key_of(
    route: str = "/",
    service: str = "shop",
    status_class: str = "2xx",
    environment: str = "test",
    instance: str = "host#0",
    method: str = "GET",
    version: str = "1",
) -> SeriesKey:
    """Return a series."""
    return SeriesKey(environment, service, version, instance, route, method, status_class)


def coded(point: Point, statuses: Mapping[int, int]) -> Point:
    """Return a point, with its requests by status code."""
    point.statuses.update(statuses)
    return point


def point_of(durations_us: Sequence[int], errors: int = 0, **sums: int) -> Point:
    """Return the point of requests of these durations, without their status codes."""
    point = Point(errors=errors, sum_us=sum(durations_us), max_us=max(durations_us, default=0))
    for duration in durations_us:
        bucket = bucket_of(duration)
        point.buckets[bucket] = point.buckets.get(bucket, 0) + 1
    for name, value in sums.items():
        setattr(point, name, value)
    return point


def accounting_of(
    ranges: Sequence[tuple[int, int]],
    sent: int = 0,
    dropped: Mapping[str, int] | None = None,
    process: bytes = b"process1",
    service: str = "shop",
) -> ProcessAccounting:
    """Return what a batch says of one process."""
    return ProcessAccounting(process, "test", service, "host#0", ranges, sent, dropped or {})


def a_batch(
    seq: int,
    points: Mapping[SeriesKey, Point] | None = None,
    *,
    agent: str = "agent-1",
    boot: bytes = BOOT,
    window_s: int | None = None,
    step_s: int = 10,
    closed_us: int | None = None,
    processes: Sequence[ProcessAccounting] = (),
    gauges: Sequence[GaugeRow] = (),
    live: bool = False,
    rows: bytes = b"",
) -> Batch:
    """Return a batch; without points it has one request of 2 ms."""
    points = {key_of(): point_of([2_000])} if points is None else points
    return Batch(
        agent=agent,
        boot=boot,
        seq=seq,
        window_s=window(step_s=step_s) if window_s is None else window_s,
        step_s=step_s,
        closed_us=int(time.time() * 1e6) if closed_us is None else closed_us,
        series=pack_series(points),
        points=len(points),
        columns=columns_of(list(enumerate(points.values()))),
        processes=processes,
        gauges=gauges,
        live=live,
        rows=rows,
    )


class Sender:
    """A keep-alive connection of an agent; each method answers (status, decoded body)."""

    def __init__(self, port: int, key: str, timeout_s: float = 20) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        self.key = key
        #: headers of the last answer
        self.headers: dict[str, str] = {}
        #: headers to send beside the key
        self.more: dict[str, str] = {}

    def post(self, body: Batch | bytes) -> tuple[int, Any]:
        """Send a batch; raises OSError or HTTPException when the collector is gone."""
        data = encode(body) if isinstance(body, Batch) else body
        return self.request("POST", "/agent/v1/batches", data)

    def commands(self, agent: str = "agent-1", wait: float = 0) -> tuple[int, Any]:
        """Ask for commands."""
        return self.request("GET", f"/agent/v1/commands?agent={agent}&wait={wait}")

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Send one request."""
        headers = {"Authorization": f"Bearer {self.key}", **self.more}
        try:
            self.connection.request(method, path, body, headers)
            with self.connection.getresponse() as answer:
                self.headers = {name.lower(): value for name, value in answer.getheaders()}
                return answer.status, json.loads(answer.read())
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def insist(self, batch: Batch, tries: int = 200) -> Any:
        """Send a batch until it is taken, over whatever happens to the collector."""
        pause = random.Random(batch.seq)
        for _ in range(tries):
            try:
                status, body = self.post(batch)
            except (OSError, http.client.HTTPException):
                time.sleep(pause.uniform(0.01, 0.05))  # as an agent backs off
                continue
            if status == 202:
                return body
            assert status == 503, f"batch {batch.seq} was answered {status}: {body}"
        raise AssertionError(f"batch {batch.seq} was not taken in {tries} tries")


#: Opens a connection with a key; it is closed at the end of the test.
Connect = Callable[[str], Sender]
