"""What judging costs: a thousand rules over ten thousand series, and a preview of seven days."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

import harness
import storage_stores
from storage_stores import Job
from storage_traffic import Host, Service, batches
from trimtab_collector.alerts.judge import Judge
from trimtab_collector.alerts.preview import Previews
from trimtab_collector.alerts.reading import MetricReader
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.alerts.values import Values

__all__ = ["preview_rows", "rule_rows"]

HOUR_S: Final = 3600
DAY_S: Final = 86_400
SERVICES: Final = 100
ROUTES: Final = 100
METRICS: Final = (
    *("responseTime", "p50", "p90", "p99", "p999", "mean", "max", "ttfb"),
    *("errorRate", "requestsPerSecond"),
)
GOAL_CPU_S: Final = 1.0
GOAL_PREVIEW_S: Final = 1.0


def rule_rows(rounds: int, *, quick: bool = False) -> list[harness.Row]:
    """Return CPU of one evaluation: ten rules for each of the services, by route."""
    services, routes = (10, 10) if quick else (SERVICES, ROUTES)
    hosts = [
        Host(f"host-{n}", tuple(Service(f"service-{m:03}", routes, 2.0)
                                for m in range(n, services, 5)))
        for n in range(5)
    ]  # fmt: skip
    now_s = int(time.time()) // 60 * 60
    rules = [
        Rule(
            *(f"{metric}-{n}", metric, metric, "gt", (1e9, None)),
            group_by=("environment", "service", "route"),
            where={"service": f"service-{n:03}"},
            min_requests=1,
        )
        for n in range(services)
        for metric in METRICS
    ]
    directory = Path(tempfile.mkdtemp(prefix="tt-judge-"))
    try:
        with closing(storage_stores.open_store(directory, storage_stores.Clock(now_s))) as store:
            facts: dict[str, float] = {}
            for host in hosts:
                storage_stores.append(store, batches(host, now_s - 120, now_s, 10), facts)
            reader, judge = MetricReader(store), Judge()
            judged = reader.at(rules, now_s)
            values = judged[0].values
            series = len(values.groups) if isinstance(values, Values) else 0
            times = []
            for place in range(rounds):
                begun = time.thread_time()
                judge.step(now_s + 10 * place, 10, reader.at(rules, now_s - 10 * (place % 6)))
                times.append(time.thread_time() - begun)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [
        harness.Row(
            f"one evaluation: {len(rules)} rules over {series} series, CPU",
            median(times),
            "s",
            f"<= {GOAL_CPU_S:g}",
            None if quick else median(times) <= GOAL_CPU_S,
            spread=harness.spread(times),
            note="every rule is by route of one service, over the last minute",
        )
    ]


def _slices(now_s: int, days: int, services: int) -> Sequence[Sequence[Job]]:
    small = tuple(Service(f"service-{n:02}", 3, 0.2, deploys=True) for n in range(services))
    hosts = [Host(name, small) for name in ("rack-a", "rack-b")]
    start_s = now_s // HOUR_S * HOUR_S - days * DAY_S
    edges = [*range(start_s, now_s, DAY_S // 4), now_s]
    return [[Job(host, low, high, 60) for host in hosts] for low, high in pairwise(edges)]


def preview_rows(rounds: int, *, quick: bool = False) -> list[harness.Row]:
    """Return how long a preview takes: of one service, also over both lines, and of all at once."""
    days, services = (1, 3) if quick else (7, 49)
    name = "judge-quick" if quick else "judge"
    made = storage_stores.kept(name, lambda now_s: _slices(now_s, days, services))
    one = Rule("preview", "preview", "responseTime", "gt", (100.0, 400.0),
               where={"service": "service-01"})  # fmt: skip
    over = replace(one, lines=(1.0, 2.0))
    every = Rule("preview", "preview", "responseTime", "gt", (100.0, 400.0))
    rows = []
    clock = storage_stores.Clock(made.now_s)
    with closing(storage_stores.open_store(made.directory, clock)) as store:
        previews = Previews(store)
        for what, rule, goal in (
            ("one service", one, True),
            ("one service, over both lines", over, True),
            (f"{services} services", every, False),
        ):
            times = []
            for _ in range(rounds):
                begun = time.perf_counter()
                found = previews.run(rule, made.now_s - days * DAY_S, made.now_s, made.now_s)
                times.append(time.perf_counter() - begun)
            rows.append(
                harness.Row(
                    f"preview of one rule over {days} days, {what}",
                    median(times),
                    "s",
                    f"<= {GOAL_PREVIEW_S:g}" if goal else "",
                    median(times) <= GOAL_PREVIEW_S if goal and not quick else None,
                    spread=harness.spread(times),
                    note=f"fired {found.fired}, told {found.messages_total}, step {found.step} s",
                )
            )
    return rows
