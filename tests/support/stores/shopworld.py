"""An hour of a small shop, as agents would have sent it: what pages of the dashboard show.

The shop becomes slow ten minutes ago, with version 2; the library is well. Names may be given that
an app would never have, as some do.
"""

import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any, Final, NamedTuple

from support.stores.batches import Sender, a_batch, coded, key_of, point_of
from trimtab_core.batches import Batch, GaugeRow
from trimtab_core.columns import Point
from trimtab_core.measures import COUNTER, HISTOGRAM, Delta, MeasureKey, value_buckets
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

__all__ = ["ENVIRONMENT", "Names", "kept_up", "send_hour", "shop_hour"]

ENVIRONMENT: Final = "demo"
_AGENT: Final = "agent-1"
#: a window of ten seconds in every thirty: each step of a chart of an hour has one
_STEP_S: Final = 30
_SLOW_S: Final = 600
_QUERY: Final = "SELECT day, sum(total) FROM orders GROUP BY day"


class Names(NamedTuple):
    """What apps call things."""

    service: str = "shop"
    route: str = "/reports/daily"
    query: str = _QUERY
    site: str = "shop/reports.py:41 in daily"
    instance: str = "web-1#0"
    metric: str = "orders_total"
    label: str = "KR"


def send_hour(port: int, key: str, names: Names | None = None, routes: int = 3) -> None:
    """Send an hour that ends now to a collector."""
    with Sender(port, key) as sender:
        for batch in shop_hour(time.time(), names or Names(), routes):
            sender.insist(batch)


@contextmanager
def kept_up(port: int, key: str, names: Names | None = None, routes: int = 3) -> Iterator[None]:
    """Send an hour that ends now, and go on every ten seconds: collectors notice who is silent."""
    send_hour(port, key, names, routes)
    done = threading.Event()
    sending = threading.Thread(
        target=_go_on, args=(port, key, names or Names(), routes, done), daemon=True
    )
    sending.start()
    try:
        yield
    finally:
        done.set()
        sending.join()


def _go_on(port: int, key: str, names: Names, routes: int, done: threading.Event) -> None:
    seq = 1000
    while not done.is_set():
        now_s = int(time.time()) // 10 * 10
        # A collector that a test restarts takes nothing for a while.
        with suppress(OSError, HTTPException), Sender(port, key) as sender:
            sender.post(a_window(seq, now_s - 10, names, routes, slow=True, step_s=10))
            seq += 1
        done.wait(5)


def shop_hour(now_s: float, names: Names, routes: int = 3, length_s: int = 3600) -> Iterable[Batch]:
    """Yield a window of every half minute of the hour before now, the earliest first."""
    end_s = int(now_s) // _STEP_S * _STEP_S
    for seq, window_s in enumerate(range(end_s - length_s, end_s, _STEP_S)):
        slow = window_s >= end_s - _SLOW_S
        yield a_window(seq, window_s, names, routes, slow=slow, step_s=10)


def a_window(
    seq: int, window_s: int, names: Names, routes: int, *, slow: bool, step_s: int
) -> Batch:
    """Return the batch of one window, of 10 or 60 seconds."""
    dice = random.Random(seq)
    events = list(_events(window_s, names)) if slow else []
    rows = pack_rows(list(_measures(dice, names, slow)), events)
    return a_batch(
        seq,
        dict(_points(dice, names, routes, slow)),
        agent=_AGENT,
        window_s=window_s,
        step_s=step_s,
        gauges=list(_gauges(dice, names)),
        rows=rows[0],
    )


def _points(
    dice: random.Random, names: Names, routes: int, slow: bool
) -> Iterable[tuple[Any, Point]]:
    version = "2" if slow else "1"
    shop: dict[str, Any] = {
        "service": names.service,
        "environment": ENVIRONMENT,
        "instance": names.instance,
        "version": version,
    }
    for number in range(routes):
        route = names.route if number == 0 else f"/things/{number}/{{id}}"
        took = 400_000 if slow and number == 0 else 20_000
        times = [int(took * dice.lognormvariate(0, 0.4)) for _ in range(40)]
        sums = {"db_us": sum(times) * 7 // 10, "db_calls": 80, "cache_us": sum(times) // 20}
        yield key_of(route, **shop), coded(point_of(times, **sums), {200: 40})
    failed = point_of([30_000] * 2, errors=2)
    yield key_of(names.route, status_class="5xx", **shop), coded(failed, {500: 2})
    library = {"service": "library", "environment": ENVIRONMENT, "version": "7"}
    times = [int(9_000 * dice.lognormvariate(0, 0.3)) for _ in range(50)]
    yield key_of("/books", instance="web-2#0", **library), coded(point_of(times), {200: 50})


def _gauges(dice: random.Random, names: Names) -> Iterable[GaugeRow]:
    owner = (ENVIRONMENT, names.service, names.instance)
    yield GaugeRow(*owner, "process.memory.usage", 5e7 + dice.random() * 1e6)
    yield GaugeRow(*owner, "process.cpu.utilization", 0.2 + dice.random() * 0.1)
    yield GaugeRow(*owner, "trimtab.app.loop_delay", 0.001)
    yield GaugeRow("", "", "web-1", "system.cpu.utilization", 0.3 + dice.random() * 0.1)
    yield GaugeRow("", "", "web-1", "system.cpu.logical.count", 4)
    yield GaugeRow("", "", "web-1", "system.memory.utilization", 0.5)
    yield GaugeRow("", "", "web-1", "system.memory.usage", 8e9)
    yield GaugeRow("", "", "web-1", "system.filesystem.utilization", 0.4)


def _measures(dice: random.Random, names: Names, slow: bool) -> Iterable[MeasureRow]:
    owner = (ENVIRONMENT, names.service, names.instance)
    query = (("db.query.text", names.query), ("db.system.name", "postgresql"))
    took = 0.3 if slow else 0.01
    durations = [took * dice.lognormvariate(0, 0.3) for _ in range(40)]
    yield _row(owner, MeasureKey("db.client.operation.duration", HISTOGRAM, "s", query), durations)
    placed = (("country", names.label), ("trimtab.own", "1"))
    yield _row(owner, MeasureKey(names.metric, COUNTER, "", placed), [3.0])
    yield _row(owner, MeasureKey("trimtab.cache.hits", COUNTER, "1", (("level", "redis"),)), [30.0])
    yield _row(
        owner, MeasureKey("trimtab.cache.misses", COUNTER, "1", (("level", "redis"),)), [10.0]
    )


def _row(owner: tuple[str, str, str], key: MeasureKey, values: list[float]) -> MeasureRow:
    delta = Delta()
    delta.add(values)
    if key.kind == HISTOGRAM:
        delta.buckets = dict(value_buckets(values))
    return MeasureRow(*owner, key, delta)


def _events(window_s: int, names: Names) -> Iterable[EventRow]:
    owner = (ENVIRONMENT, names.service, names.instance)
    at_us = (window_s + 30) * 1_000_000
    of_route: Mapping[str, Any] = {"route": names.route, "method": "GET", "at_us": at_us}
    spans = [["db", 5_000, 300_000, names.query], ["cache", 310_000, 2_000, "GET day:?"]]
    yield EventRow(*owner, {
        "kind": "request", "reason": "slow", "status": 200, "duration_us": 612_000,
        "db_us": 300_000, "db_calls": 1, "cache_us": 2_000, "cache_misses": 1, "spans": spans,
        "version": "2", **of_route,
    })  # fmt: skip
    yield EventRow(*owner, {
        "kind": "request", "reason": "failed", "status": 500, "duration_us": 30_000,
        "error": "ZeroDivisionError", "error_site": names.site, "version": "2", **of_route,
    })  # fmt: skip
    yield EventRow(*owner, {
        "kind": "slow_query", "query": names.query, "system": "postgresql", "site": names.site,
        "duration_us": 300_000, **of_route,
    })  # fmt: skip
    yield EventRow(*owner, {
        "kind": "n_plus_one", "query": "SELECT name FROM items WHERE id = ?", "count": 21,
        "system": "postgresql", "site": names.site, "duration_us": 40_000, **of_route,
    })  # fmt: skip
