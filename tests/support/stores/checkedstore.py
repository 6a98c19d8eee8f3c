"""Stores of two days for tests of their check, and how to change a file of one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, accounting_of, key_of, point_of
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check
from trimtab_collector.storage.sqlite.upkeep.findings import CheckReport
from trimtab_core.batches import Batch, GaugeRow

__all__ = [
    "DAY_S",
    "HOUR_S",
    "NOW",
    "TODAY",
    "YESTERDAY",
    "batch",
    "change",
    "checked",
    "make",
    "opened",
    "texts",
]

HOUR_S = 3600
DAY_S = 86_400
#: some minutes past noon of 2023-11-15
NOW = 1_700_050_000
TODAY, YESTERDAY = "20231115", "20231114"


def batch(seq: int, t: int, service: str = "shop") -> Batch:
    """Return a batch of one service: several routes, instances, classes and values."""
    chance = Random(seq)
    points = {}
    for route in range(6):
        durations = [chance.randrange(100, 3_000_000) for _ in range(chance.randrange(1, 5))]
        key = key_of(
            f"/{route}", service, "5xx" if route == 3 else "2xx", instance=f"host#{seq % 3}"
        )
        points[key] = point_of(durations, errors=len(durations) * (route == 3), db_us=seq % 900)
    process = accounting_of([(seq, 1)], seq + 1, process=b"%8d" % seq, service=service)
    gauges = [
        GaugeRow("test", service, f"host#{seq % 3}", name, chance.random() * 10**n)
        for n, name in enumerate(("cpu", "rss", "threads"))
    ]
    return a_batch(
        seq,
        points,
        agent=f"agent-{service}",
        window_s=t - t % 10,
        processes=[process],
        gauges=gauges,
    )


@contextmanager
def opened(directory: Path, clock: Clock, **limits: object) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=clock, **limits)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        store.close()


def fill(store: SQLiteStore, first: int, now_s: int, batches: int = 240, step_s: int = 600) -> int:
    """Append batches of two services, one every step_s up to now_s; returns the next number."""
    numbers = range(first, first + batches)
    found = [batch(n, now_s - (numbers[-1] - n) * step_s, ("shop", "café")[n % 2]) for n in numbers]
    for begin in range(0, batches, 100):
        assert not any(append(store, *found[begin : begin + 100]))
    return first + batches


def checked(directory: Path, now_s: float = NOW) -> CheckReport:
    return check(directory, Retention(), lambda line: None, now_s)


def make(directory: Path) -> None:
    """Make a store of two days, merged but for the latest."""
    with opened(directory, Clock(NOW)) as store:
        fill(store, 0, NOW)
        assert store.compact(NOW) > 200


def texts(report: CheckReport) -> str:
    assert not report.sound
    return report.text()


def change(path: Path, statement: str, *values: object) -> None:
    """Run one statement in a file and bring it into the main file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(statement, values).rowcount != 0
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
