"""Reads over a store of 30 days and 50 services: how long an answer takes, and an opening.

The store is filled once and kept. One service has 200 routes on 50 instances, 10,000 series that
speak each minute of the last day and each 10 seconds of the last hour or two; 49 have 3 routes on 2
instances and go back 30 days. Questions take turns in random order, each time about another route
and another moment; times are those of `Store.read` and of the quantiles above it.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

import harness
import processes
import storage_stores
from storage_collector import Collector, collector
from storage_stores import Job, Made
from storage_traffic import Host, Service
from trimtab_collector.storage.columns import quantiles_us
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import Selection

ANSWER_MS: Final = 25
OPENING_S: Final = 2
ROUNDS: Final = 100
OPENINGS: Final = 5
VERSIONS: Final = ("numpy", "uvicorn", "zstandard", "msgpack")
QUANTILES: Final = (0.5, 0.95, 0.99)
HOUR_S: Final = 3600
DAY_S: Final = 86_400
BIG: Final = "shop"
#: rows with a goal
GOALS: Final = (
    "one route, 24 h by minutes",
    "top 20 of 200 routes, 1 h ending now",
    "top 20 of 200 routes, 1 h in the past",
)
Question = Callable[[random.Random], int]


def main() -> None:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--fresh", action="store_true", help="fill the store again")

    options = harness.arguments(__doc__, more)
    rounds = options.rounds or (3 if options.quick else ROUNDS)
    name, shape = ("query-quick", Shape.quick()) if options.quick else ("query", Shape())
    made = storage_stores.kept(name, shape.slices, fresh=options.fresh)
    openings = 1 if options.quick else OPENINGS
    clock = storage_stores.Clock(made.now_s)
    with closing(storage_stores.open_store(made.directory, clock)) as store:
        # As a collector's worker does at its start, and every 10 seconds.
        store.compact(made.now_s)
        store.tiering.tidy(made.now_s)
        questions = asked_of(store, shape, made.now_s)
        first = {what: timed(ask, random.Random(0)) for what, ask in questions.items()}
        rows = answered(questions, rounds, first)
    rows += opened(made, openings)
    rows += over_http(made, shape, max(3, rounds // 4), openings)
    rows.append(about(made))
    harness.report("query", rows, options.json, harness.packages(*VERSIONS))


class Shape:
    """How much traffic the store holds."""

    def __init__(
        self,
        routes: int = 200,
        instances: int = 50,
        others: int = 49,
        days: int = 30,
        hours: int = 24,
        fine_hours: int = 48,
    ) -> None:
        #: of everything; of the big service by minutes; of the others by 10 seconds
        self.days, self.hours, self.fine_hours = days, hours, fine_hours
        big = Service(BIG, routes, 0.2, uneven=0.5)
        self.big = [Host(f"shop-{place:02}", (big,)) for place in range(instances)]
        small = tuple(Service(f"service-{n:02}", 3, 0.2, deploys=True) for n in range(others))
        self.small = [Host(name, small) for name in ("rack-a", "rack-b")]

    @classmethod
    def quick(cls) -> "Shape":
        """Return one that is filled in seconds."""
        return cls(routes=20, instances=3, others=3, days=2, hours=3, fine_hours=1)

    def slices(self, now_s: int) -> list[list[Job]]:
        """Return what to fill the store with, by time.

        Windows are as wide as what would be left of them at the end: what is older than 10-second
        or 1-minute windows are kept is sent by the minute or hour.
        """
        start_s = _floor(now_s - self.days * DAY_S, DAY_S)
        minutes_s = max(start_s, _floor(now_s - 16 * DAY_S, DAY_S))
        fine_s = _floor(now_s - self.fine_hours * HOUR_S, HOUR_S)
        late_s = _floor(now_s, HOUR_S) - HOUR_S
        middle_s = late_s - self.hours * HOUR_S
        spans = [
            (self.big[:2], start_s, middle_s, HOUR_S),
            (self.big, middle_s, late_s, 60),
            (self.big, late_s, now_s, 10),
            (self.small, start_s, minutes_s, HOUR_S),
            (self.small, minutes_s, fine_s, 60),
            (self.small, fine_s, now_s, 10),
        ]
        hours_s = min(fine_s, middle_s)
        edges = {*range(start_s, minutes_s, DAY_S), *range(minutes_s, hours_s, DAY_S // 4)}
        edges |= {*range(hours_s, now_s, HOUR_S), now_s}
        return [
            [
                Job(host, max(low, begin), min(high, end), step_s)
                for hosts, begin, end, step_s in spans
                if max(low, begin) < min(high, end)
                for host in hosts
            ]
            for low, high in pairwise(sorted(edges))
        ]


def _floor(t: int, step_s: int) -> int:
    return t - t % step_s


def asked_of(store: SQLiteStore, shape: Shape, now_s: int) -> dict[str, Question]:
    """Return the questions; each answers how many rows it got."""
    everything = Selection(
        (now_s - HOUR_S, now_s), ("route",), {"environment": "bench", "service": BIG}
    )
    paths = sorted(route for (route,) in store.read(everything).groups if route)
    big = {"environment": "bench", "service": BIG}
    by_route = ("environment", "service", "route", "method")
    day_s = min(shape.hours * HOUR_S, DAY_S)

    def rows_of(start_s: int, end_s: int, step_s: int = 0, **more: Any) -> int:
        edges = (*range(start_s, end_s, step_s or end_s - start_s), end_s)
        rows = store.read(Selection(edges, **more))
        quantiles_us(rows.columns, QUANTILES)
        return len(rows.t)

    def route(draw: random.Random) -> int:
        end_s = now_s - now_s % 60 - 60 * draw.randrange(30)
        return rows_of(end_s - day_s, end_s, 60, where={**big, "route": draw.choice(paths)})

    def top(start_s: int, end_s: int) -> int:
        rows = store.read(Selection((start_s, end_s), by_route, big))
        p99 = quantiles_us(rows.columns, (0.99,))[:, 0]
        return len([rows.groups[place] for place in rows.group[np.argsort(-p99)[:20]]])

    def top_now(_draw: random.Random) -> int:
        return top(now_s - HOUR_S, now_s)

    def top_past(draw: random.Random) -> int:
        end_s = now_s - 2 * HOUR_S - 10 * draw.randrange((day_s - 2 * HOUR_S) // 10)
        return top(end_s - HOUR_S, end_s)

    def heatmap(draw: random.Random) -> int:
        end_s = now_s - now_s % 300
        edges = (*range(end_s - day_s, end_s, 300), end_s)
        rows = store.read(Selection(edges, where={**big, "route": draw.choice(paths)}))
        step = np.repeat((rows.t - edges[0]) // 300, rows.columns.buckets)
        place = step * 128 + rows.columns.indexes // 8
        cells = np.bincount(place, weights=rows.columns.counts, minlength=128 * len(edges))
        return int(np.count_nonzero(cells))

    def month(_draw: random.Random) -> int:
        end_s = now_s - now_s % DAY_S + DAY_S
        by = ("environment", "service")
        return rows_of(end_s - shape.days * DAY_S, end_s, DAY_S, group_by=by)

    def month_route(draw: random.Random) -> int:
        end_s = now_s - now_s % HOUR_S
        where = {**big, "route": draw.choice(paths)}
        return rows_of(end_s - shape.days * DAY_S, end_s, HOUR_S, where=where)

    def compare(_draw: random.Random) -> int:
        end_s = now_s - now_s % HOUR_S
        both = ((end_s - day_s // 2, end_s), (end_s - day_s, end_s - day_s // 2))
        return sum(rows_of(*each, group_by=by_route, where=big) for each in both)

    def instances(draw: random.Random) -> int:
        where = {**big, "route": draw.choice(paths)}
        return rows_of(now_s - HOUR_S, now_s, group_by=("instance",), where=where)

    return {
        GOALS[0]: route,
        GOALS[1]: top_now,
        GOALS[2]: top_past,
        "heatmap of one route, 24 h by 5 min": heatmap,
        "all services, 30 days by days": month,
        "one route, 30 days by hours": month_route,
        "routes of a service, 12 h against the 12 h before": compare,
        "one route, 1 h, by instance": instances,
    }


def answered(
    questions: dict[str, Question], rounds: int, first: dict[str, tuple[float, int]]
) -> list[harness.Row]:
    """Ask everything in turns and return the rows."""
    draw = random.Random(1)
    times = harness.interleave(
        {what: lambda ask=ask: timed(ask, draw) for what, ask in questions.items()},  # type: ignore[misc]
        rounds,
        seed=1,
    )
    rows = []
    for what, found in times.items():
        ms = [each[0] for each in found]
        note = f"median {np.median(ms):.1f} ms, first {first[what][0]:.0f} ms, {found[-1][1]} rows"
        rows.append(_row(f"{what}: p95", _p95(ms), what in GOALS, ms, note))
    return rows


def opened(made: Made, openings: int) -> list[harness.Row]:
    """Return how long a process of its own takes to open the store and to answer once."""
    script = processes.CHILDREN / "open_store.py"
    found: list[dict[str, float]] = []
    for _ in range(openings):
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(script), str(made.directory), str(made.now_s), BIG],
            capture_output=True,
            text=True,
            check=True,
        )
        result = json.loads(done.stdout)
        found.append({**result, "process_s": time.perf_counter() - begun})
    return [
        _opening("opening the store, alone", [each["open_s"] for each in found]),
        _opening(
            "opening, from the start of a process to the first top 20",
            [e["process_s"] for e in found],
        ),
    ]


def over_http(made: Made, shape: Shape, rounds: int, openings: int) -> list[harness.Row]:
    """Return the same over HTTP, from a collector over a copy, at the store's own time."""
    place = Path(tempfile.mkdtemp(prefix="query-", dir=processes.CACHE))
    try:
        shutil.copytree(made.directory, place / "data")
        started = []
        for last in range(openings - 1, -1, -1):
            ahead_s = made.now_s - time.time()
            with collector(place, place / "data", ahead_s=ahead_s) as server:
                _top(server)
                started.append(time.perf_counter() - server.begun_s)
                if not last:  # of the openings
                    rows = _asked(server, made.now_s, shape, rounds)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return [_opening("trimtab collector, from its start to its first answer", started), *rows]


def _asked(server: Collector, now_s: int, shape: Shape, rounds: int) -> list[harness.Row]:
    draw = random.Random(2)
    day_s = min(shape.hours * HOUR_S, DAY_S)
    paths = [
        row["route"]
        for row in server.get("/routes", service=BIG, limit=1000, **{"from": "-1h"})["routes"]
    ]

    def history() -> float:
        end_s = now_s - now_s % 60 - 60 * draw.randrange(30)
        return _get(
            server,
            "/metrics/history",
            "series",
            service=BIG,
            route=draw.choice(paths),
            step=60,
            to=end_s,
            **{"from": end_s - day_s},
        )

    times = harness.interleave({GOALS[0]: history, GOALS[1]: lambda: _top(server)}, rounds, seed=2)
    return [
        _row(f"over HTTP: {what}: p95", _p95(ms), False, ms, f"median {np.median(ms):.1f} ms")
        for what, ms in times.items()
    ]


def _top(server: Collector) -> float:
    return _get(server, "/routes", "routes", service=BIG, by="p99", limit=20, **{"from": "-1h"})


def _get(server: Collector, path: str, field: str, **query: object) -> float:
    begun = time.perf_counter()
    data = server.get(path, **query)
    ms = (time.perf_counter() - begun) * 1e3
    if not data[field]:
        raise SystemExit(f"query: expected rows of {path} {query}, got none")
    return ms


def timed(ask: Question, draw: random.Random) -> tuple[float, int]:
    """Return milliseconds and rows of one answer."""
    begun = time.perf_counter()
    rows = ask(draw)
    ms = (time.perf_counter() - begun) * 1e3
    if not rows:
        raise SystemExit("query: an answer came back empty; --fresh fills the store again")
    return ms, rows


def about(made: Made) -> harness.Row:
    """Return the row that says what the store is."""
    facts = made.facts
    tiers = storage_stores.sizes(made.directory)
    kinds = ", ".join(
        f"{name} {size.file_bytes / 1e6:.0f} MB in {size.files}" for name, size in tiers.items()
    )
    total = sum(path.stat().st_size for path in made.directory.iterdir())
    return harness.Row(
        "the store, all files",
        total / 1e6,
        "MB",
        note=f"{facts['points'] / 1e6:.1f} M points sent in {facts['batches']:.0f} batches, "
        f"{facts['buckets'] / facts['points']:.1f} buckets and "
        f"{facts['requests'] / facts['points']:.1f} requests a point; {kinds or 'no tiers'}; "
        f"filled in {facts['build_s']:.0f} s",
    )


def _p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95, method="higher"))


def _row(what: str, value: float, goal: bool, values: Sequence[float], note: str) -> harness.Row:
    text, met = (f"<= {ANSWER_MS}", value <= ANSWER_MS) if goal else ("", None)
    return harness.Row(what, value, "ms", text, met, spread=harness.spread(values), note=note)


def _opening(what: str, seconds: Sequence[float]) -> harness.Row:
    middle = harness.spread(seconds)
    goal = f"<= {OPENING_S}"
    return harness.Row(what, middle.median, "s", goal, middle.median <= OPENING_S, spread=middle)


if __name__ == "__main__":
    main()
