"""The overview of 200 services over 24 hours, and how often what it judges is wrong.

The store is filled once and kept: two hosts with an instance of each service each, with requests
of two routes and gauges of every process, each minute of 26 hours, each 10 seconds of the last two.
Times are those of the collector's computation, of an answer that is not kept itself while what it
takes from earlier ranges is (a note has the first, with nothing kept); and what 20 dashboards that
ask every ten seconds cost together while agents write.

The other rows are of steady traffic that is made up: requests independent of each other, lognormal
response times of different widths, few and many of them. They count how often a figure that is as
usual is judged worse, with one earlier hour to compare with and with three.
"""

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final

import numpy as np

import harness
import storage_stores
from storage_stores import Job, Made
from storage_traffic import Host, Service
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.languages import LANG
from trimtab_collector.contract.overview import OVERVIEW_LIMIT, Overview
from trimtab_collector.contract.parameters import APDEX, OWNERS, RANGE, Parameters, parse
from trimtab_collector.marks import Marks
from trimtab_collector.overview.overviews import Overviews
from trimtab_collector.overview.situation import Sources
from trimtab_collector.overview.usual import (
    ERRORS_KIND,
    MEAN_KIND,
    P95_KIND,
    WORSE,
    FigureKind,
    baseline_of,
    judged,
)
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.statefile import StateFile
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_core.batches import Batch, GaugeRow, encode, pack_series

ANSWER_MS: Final = 300
CORE: Final = 0.1
WRONG: Final = 0.001
DASHBOARDS: Final = 20
EVERY_S: Final = 10
ROUNDS: Final = 15
HOUR_S: Final = 3600
#: gauges of every process
PROCESS: Final = {
    "process.uptime": 4e5,
    "process.cpu.utilization": 0.2,
    "process.memory.usage": 1.2e8,
    "http.server.active_requests": 2.0,
}
HOST: Final = {
    "system.cpu.utilization": 0.4,
    "system.cpu.logical.count": 8.0,
    "system.memory.utilization": 0.5,
    "system.memory.usage": 8e9,
    "system.filesystem.utilization": 0.3,
}
_DECLARED: Final = (*OWNERS[:2], *RANGE, OVERVIEW_LIMIT, APDEX, LANG)


class _Nothing:
    """No alert ever fired."""

    def between(self, *_: object) -> Sequence[AlertBody]:
        """Return no alert."""
        return ()

    def open(self, *_: object) -> Sequence[AlertBody]:
        """Return no alert."""
        return ()


def main() -> None:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--fresh", action="store_true", help="fill the store again")

    options = harness.arguments(__doc__, more)
    rounds = options.rounds or (3 if options.quick else ROUNDS)
    services, hours = (20, 3) if options.quick else (200, 26)
    hosts = _hosts(services)
    name = "overview-quick" if options.quick else "overview"
    made = storage_stores.kept(
        name, lambda now_s: _slices(hosts, now_s, hours), fresh=options.fresh
    )
    clock = storage_stores.Clock(made.now_s)
    with closing(storage_stores.open_store(made.directory, clock)) as store:
        _gauges(store, made, hosts, hours)
        store.compact(made.now_s)
        rows = _timed(store, made, rounds, services)
    rows += _wrong(2_000 if options.quick else 20_000)
    harness.report("overview", rows, options.json, harness.packages("numpy", "msgspec"))


def _hosts(services: int) -> list[Host]:
    every = tuple(Service(f"service-{place:03}", 2, 0.3) for place in range(services))
    return [Host("rack-a", every), Host("rack-b", every)]


def _slices(hosts: Sequence[Host], now_s: int, hours: int) -> list[list[Job]]:
    end_s = now_s - now_s % HOUR_S
    edges = [*range(end_s - hours * HOUR_S, end_s, HOUR_S), end_s, now_s]
    return [
        [Job(host, start_s, to_s, 10 if start_s >= end_s - HOUR_S else 60) for host in hosts]
        for start_s, to_s in itertools.pairwise(edges)
        if start_s < to_s
    ]


def _gauges(store: SQLiteStore, made: Made, hosts: Sequence[Host], hours: int) -> None:
    """Add gauges of every process and host, unless they are there."""
    if any(row.name == "process.uptime" for row in store.latest_gauges(made.now_s)
           if row.service == hosts[0].services[-1].name):  # fmt: skip
        return
    harness.progress("adding gauges of every process")

    def bodies() -> Iterator[bytes]:
        start_s = made.now_s - hours * HOUR_S
        times = itertools.chain(
            range(start_s - start_s % 60, made.now_s - 2 * HOUR_S, 60),
            range(made.now_s - 2 * HOUR_S, made.now_s, 10),
        )
        for seq, t in enumerate(times):
            for host in hosts:
                rows = [GaugeRow("", "", host.name, name, value) for name, value in HOST.items()]
                rows += [
                    GaugeRow("bench", service.name, f"{host.name}#0", name, value)
                    for service in host.services
                    for name, value in PROCESS.items()
                ]
                yield encode(Batch(
                    agent=f"gauges-{host.name}", boot=b"gauges00", seq=seq, window_s=t, step_s=10,
                    closed_us=(t + 10) * 1_000_000, series=pack_series([]), points=0, columns={},
                    processes=[], gauges=rows,
                ))  # fmt: skip

    storage_stores.append(store, bodies(), {})


def _timed(store: SQLiteStore, made: Made, rounds: int, services: int) -> list[harness.Row]:
    state = StateFile(made.directory / "bench-state", (AUDIT,))
    try:
        sources = Sources(StoreReader(store), Marks(state), _Nothing())
        asked = {"24 h": "-24h", "1 h": "-1h", "15 min": "-15m"}
        rows = []
        for what, back in asked.items():
            times = []
            for _ in range(rounds):
                overviews = Overviews(sources)
                begun = time.perf_counter()
                answer = overviews.overview(_parameters(made.now_s, back))
                times.append((time.perf_counter() - begun) * 1e3)
                if len(answer.services) != services or not answer.tiles[0].value:
                    raise SystemExit("overview: an answer lacks services; --fresh fills the store")
            middle = statistics.median(times)
            goal, met = (f"<= {ANSWER_MS}", middle <= ANSWER_MS) if what == "24 h" else ("", None)
            rows.append(harness.Row(
                f"overview of {services} services, {what}", middle, "ms", goal, met,
                spread=harness.spread(times), note=f"the first {times[0]:.0f} ms",
            ))  # fmt: skip
        rows.append(_dashboards(sources, made.now_s, "-1h"))
        return rows
    finally:
        state.close()


def _parameters(now_s: float, back: str) -> Parameters:
    pairs = {"from": back, "limit": "1000"}
    return parse(_DECLARED, pairs.items(), now_s, HOUR_S)


def _dashboards(sources: Sources, now_s: float, back: str) -> harness.Row:
    """Return the share of a core that dashboards take, each commit a second apart."""
    at = [0.0]

    def clock() -> float:
        # Seconds of the schedule below, and those that the computation takes.
        return at[0] + time.thread_time()

    overviews = Overviews(sources, clock)
    draw = random.Random(1)
    length_s = 60
    asking = sorted(
        start + EVERY_S * turn
        for start in (draw.uniform(0, EVERY_S) for _ in range(DASHBOARDS))
        for turn in range(length_s // EVERY_S)
    )
    begun_s = time.thread_time()
    answers: set[int] = set()
    kept: list[Overview] = []
    for at[0] in asking:
        overviews.changed()
        answer = overviews.overview(_parameters(now_s, back))
        if id(answer) not in answers:
            answers.add(id(answer))
            kept.append(answer)
    share = (time.thread_time() - begun_s) / length_s
    return harness.Row(
        f"{DASHBOARDS} dashboards that ask every {EVERY_S} s, agents write", share, "of a core",
        f"<= {CORE}", share <= CORE,
        note=f"{len(kept)} computed for {len(asking)} questions",
    )  # fmt: skip


def _wrong(looks: int) -> list[harness.Row]:
    """Return how often what is as usual is judged worse."""
    random_ = np.random.default_rng(5)
    rows = []
    for what, kind, draw in (
        ("p95, narrow", P95_KIND, lambda n: _p95(random_, n, 0.3)),
        ("p95, wide", P95_KIND, lambda n: _p95(random_, n, 1.0)),
        ("mean, narrow", MEAN_KIND, lambda n: _mean(random_, n, 0.3)),
        ("mean, wide", MEAN_KIND, lambda n: _mean(random_, n, 1.0)),
        ("mean, very wide", MEAN_KIND, lambda n: _mean(random_, n, 1.5)),
        ("error rate 0.1 %", ERRORS_KIND, lambda n: random_.binomial(n, 0.001) / n),
        ("error rate 2 %", ERRORS_KIND, lambda n: random_.binomial(n, 0.02) / n),
    ):
        for requests in (100, 300, 3000):
            count = looks if requests < 3000 or kind is ERRORS_KIND else looks // 10
            found = {one: _share(kind, draw, requests, one, count) for one in (1, 3)}
            rows.append(harness.Row(
                f"judged worse though as usual: {what}, {requests} requests", found[1],
                "of looks", f"<= {WRONG:g}", found[1] <= WRONG,
                note=f"beside one earlier hour; beside three {found[3]:.2g}; {count} looks",
            ))  # fmt: skip
    return rows


def _p95(draw: np.random.Generator, requests: int, sigma: float) -> float:
    return float(np.quantile(draw.lognormal(4, sigma, requests), 0.95))


def _mean(draw: np.random.Generator, requests: int, sigma: float) -> float:
    return float(draw.lognormal(4, sigma, requests).mean())


def _share(
    kind: FigureKind, draw: Callable[[int], float], requests: int, baselines: int, looks: int
) -> float:
    wrong = 0
    for _ in range(looks):
        before = [
            baseline_of(kind, "yesterday", [draw(requests) for _ in range(12)], [requests] * 12)
            for _ in range(baselines)
        ]
        found = judged(kind, draw(requests), requests, [each for each in before if each])
        wrong += found is not None and found.judgement == WORSE
    return wrong / looks


if __name__ == "__main__":
    main()
