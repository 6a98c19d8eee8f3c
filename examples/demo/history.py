"""A day before the demo began, generated: so that there is something to compare with.

It is made of what was measured in the first half minute: each route keeps its distribution of
response times and statuses and its shares of database, cache and calls, and gets as many requests
as the shape of the day asks for at that time. It travels as every agent's batches do, under a key
and a name of its own, and is as late as the backlog of an agent that was cut off for a day. A mark
says where it ends.
"""

import hashlib
import http.client
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np

from examples.demo.api import Api
from examples.demo.day import DAY_S, pace
from examples.demo.services import HOST
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
from trimtab_core.names import STOPPING
from trimtab_core.sketch import bucket_of, middle_us

__all__ = ["AGENT", "Measured", "measured", "send", "windows"]

AGENT: Final = "demo-generated-history"
_DAY_S: Final = 86_400
_STEP_S: Final = 60
#: the latest hour is as fine as what an agent sends
_FINE_S, _FINE_STEP_S = 3_600, 10
_BUCKETS: Final = 16
_EVEN: Final = np.full(_BUCKETS, 1 / _BUCKETS)
_ROUTES: Final = 60
#: a busy service is this much slower than a quiet one
_LOAD: Final = 0.25
_BOOT: Final = b"history1"
_P95: Final = NormalDist().inv_cdf(0.95)
#: cause of `/explain` -> columns of a point: its time and its calls
_CAUSES: Final = {
    "database": ("db_us", "db_calls"),
    "external": ("external_us", "external_calls"),
    "cache": ("cache_us", "cache_hits"),
}


class Measured(NamedTuple):
    """What is known of a route; times in us."""

    service: str
    version: str
    instances: Sequence[str]
    route: str
    method: str
    #: requests per second at the full rate of its service
    full_rate: float
    p95_ms: float
    #: how its requests spread over `_BUCKETS` equally likely response times
    times_us: Sequence[float]
    #: status code -> its share
    statuses: Mapping[int, float]
    #: column of a point -> its amount per request
    sums: Mapping[str, float]
    bytes: float


async def measured(api: Api, versions: Mapping[str, str], from_s: float) -> list[Measured]:
    """Return the busiest routes as they have been since a time; raises ApiError."""
    now_s = time.time()
    span = {"from_": int(from_s), "to": int(now_s)}
    found = await api.read(
        "/routes", by="requests", limit=_ROUTES, environment="demo", kind="request", **span
    )
    groups = await api.read(
        "/metrics/history", groupBy="service,instance", limit=100, step=3600, **span
    )
    instances: dict[str, list[str]] = {}
    for each in groups["groups"]:
        instances.setdefault(each["group"]["service"], []).append(each["group"]["instance"])
    rows = []
    for row in found["routes"]:
        service = row["service"]
        if service not in versions or not row["requests"]:
            continue
        where = {name: row[name] for name in ("service", "route", "method")}
        # Compared with itself, for it is asked for where its time goes.
        same = {"againstFrom": span["from_"], "againstTo": span["to"], "minRequests": 1}
        explained = await api.read("/explain", **span, **same, **where)
        busy = [pace(service, t) for t in np.linspace(from_s, now_s, 30)]
        rows.append(
            Measured(
                service,
                versions[service],
                sorted(instances.get(service, ["host#0"])),
                row["route"],
                row["method"],
                row["requestsPerSecond"] / (sum(busy) / len(busy)),
                row["p95"],
                _times(row),
                {
                    int(code): count / row["requests"]
                    for code, count in row["statusCodes"].items()
                    if code.isdigit()
                },
                _sums(explained["causes"]),
                row["bytes"] / row["requests"],
            )
        )
    return rows


def windows(end_s: float) -> Iterator[tuple[int, int]]:
    """Yield (start, seconds) of windows of the day before: the latest first, then in order.

    The latest says that its agent stops in order, so that nobody waits for more of it.
    """
    end = int(end_s) - int(end_s) % _STEP_S
    fine = end - _FINE_S
    found = [
        *((start, _STEP_S) for start in range(end - _DAY_S, fine, _STEP_S)),
        *((start, _FINE_STEP_S) for start in range(fine, end, _FINE_STEP_S)),
    ]
    yield found[-1]
    yield from found[:-1]


def send(
    port: int, key: str, routes: Sequence[Measured], end_s: float, ending: threading.Event
) -> int:
    """Send the day before `end_s`; returns the number of requests. For a thread of its own.

    Raises OSError or ValueError if the collector does not take it.
    """
    chance = np.random.default_rng(8620)
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    counted: dict[tuple[str, str], int] = {}
    headers = {"Authorization": f"Bearer {key}"}
    try:
        for seq, (start, seconds) in enumerate(windows(end_s)):
            if ending.is_set():
                break
            batch = _batch(chance, routes, start, seconds, seq, counted)
            connection.request("POST", "/agent/v1/batches", encode(batch), headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 202:
                raise ValueError(f"expected 202 for a batch, got {answer.status}: {said!r:.200}")
    except http.client.HTTPException as error:
        raise OSError(f"expected an answer for a batch, got {error!r}") from error
    finally:
        connection.close()
    return sum(counted.values())


def _batch(
    chance: np.random.Generator,
    routes: Sequence[Measured],
    start: int,
    seconds: int,
    seq: int,
    counted: dict[tuple[str, str], int],
) -> Batch:
    points: dict[SeriesKey, Point] = {}
    before = dict(counted)
    for route in routes:
        busy = pace(route.service, start + seconds / 2)
        # Each day has its own luck.
        busy *= 1 + 0.06 * math.sin(17.0 * math.floor((start + seconds / 2) / DAY_S))
        slower = 1 + _LOAD * (busy - 0.4)
        for instance in route.instances:
            expected = route.full_rate * busy * seconds / len(route.instances)
            requests = int(chance.poisson(expected))
            if requests:
                _add(chance, points, route, instance, requests, slower)
                place = (route.service, instance)
                counted[place] = counted.get(place, 0) + requests
    return Batch(
        agent=AGENT,
        boot=_BOOT,
        seq=seq,
        window_s=start,
        step_s=seconds,
        closed_us=(start + seconds) * 1_000_000,
        series=pack_series(points),
        points=len(points),
        columns=columns_of(list(enumerate(points.values()))),
        processes=[
            _accounting(place, before.get(place, 0), total)
            for place, total in counted.items()
            if total != before.get(place, 0)
        ],
        gauges=[GaugeRow("", "", "", STOPPING, 1.0)] if not seq else [],
    )


def _add(
    chance: np.random.Generator,
    points: dict[SeriesKey, Point],
    route: Measured,
    instance: str,
    requests: int,
    slower: float,
) -> None:
    codes = list(route.statuses)
    shares = np.array([*route.statuses.values()])
    buckets = [bucket_of(int(time_us * slower)) for time_us in route.times_us]
    counts = chance.multinomial(requests, shares / shares.sum()).tolist()
    for code, count in zip(codes, counts, strict=True):
        if not count:
            continue
        key = SeriesKey(
            *("demo", route.service, route.version, instance, route.route, route.method),
            f"{code // 100}xx",
        )
        point = points.setdefault(key, Point())
        sum_us = 0.0
        for bucket, times in zip(buckets, chance.multinomial(count, _EVEN).tolist(), strict=True):
            if times:
                point.buckets[bucket] = point.buckets.get(bucket, 0) + times
                sum_us += middle_us(bucket) * times
        point.max_us = int(middle_us(max(point.buckets)))
        point.sum_us += int(sum_us)
        point.ttfb_us += int(sum_us)
        point.bytes += int(route.bytes * count)
        point.errors += count if code >= 500 else 0
        point.statuses[code] = point.statuses.get(code, 0) + count
        for column, amount in route.sums.items():
            scale = slower if column.endswith("_us") else 1.0
            setattr(point, column, getattr(point, column) + round(amount * scale * count))


def _accounting(place: tuple[str, str], before: int, total: int) -> ProcessAccounting:
    service, instance = place
    process = hashlib.blake2b(f"{service} {instance}".encode(), digest_size=8).digest()
    return ProcessAccounting(
        process, "demo", service, instance, [(before, total - before)], total, {}
    )


def _times(row: Mapping[str, Any]) -> Sequence[float]:
    """Return response times in us that have the median and the p95 of a row (lognormal)."""
    median = max(row["p50"], 0.001)
    spread = math.log(max(row["p95"], median) / median) / _P95
    law = NormalDist(math.log(median * 1000), min(max(spread, 0.05), 1.2))
    ranks = [(rank + 0.5) / _BUCKETS for rank in range(_BUCKETS)]
    return [math.exp(law.inv_cdf(rank)) for rank in ranks]


def _sums(causes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found = {}
    for each in causes:
        time_us, calls = _CAUSES.get(each["cause"], ("", ""))
        if time_us and each["b"] > 0:
            found[time_us] = each["b"] * 1000
            if each["calls"]:
                found[calls] = each["calls"]["b"]
    return found
