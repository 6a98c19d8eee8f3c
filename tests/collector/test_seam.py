"""The collector over an engine of another kind: no answer tells which one it is."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from support.processes.api import TOKEN, Api
from support.processes.drive import served as serving
from support.stores.batches import Sender, a_batch, accounting_of, key_of, point_of, window
from support.stores.rowbatches import row_of
from trimtab_collector.app import CollectorApp
from trimtab_collector.auth.keys import KeyFile
from trimtab_collector.settings import CollectorSettings
from trimtab_collector.storage.memory.engine import MemoryStore
from trimtab_collector.storage.store import Store
from trimtab_core.batches import Batch, GaugeRow
from trimtab_core.rows import EventRow, pack_rows

READS = (
    *("/services", "/routes", "/routes/latency", "/response-time", "/heatmap", "/compare"),
    *("/metrics", "/metrics/history", "/gauges?name=process.memory.usage", "/application"),
    *("/database", "/cache", "/external", "/queues", "/custom", "/system", "/memory"),
    *("/slow-queries", "/slow-requests"),
)


class Served(NamedTuple):
    """A collector in this process, asked over a socket as agents and readers ask it."""

    agent: Sender
    api: Api

    def get(self, path: str, **params: str) -> Any:
        path, _, query = path.partition("?")
        return self.api.get(path, **dict(parse_qsl(query)), **params)


@contextmanager
def served(directory: Path, store: Store | None, *services: str) -> Iterator[Served]:
    text, _ = KeyFile(directory).new(services=services, agents=["*"])
    app = CollectorApp(CollectorSettings(data_dir=str(directory), token=TOKEN), store)
    try:
        with (
            serving(app, lifespan="on") as address,
            Sender(int(address.rpartition(":")[2]), text) as agent,
        ):
            yield Served(agent, Api(f"http://{address}"))
    finally:
        app.close()


def batches(begin_s: int) -> list[Batch]:
    """Return a minute of two services, with all that a batch may carry."""
    found = []
    for n in range(6):
        points = {
            key_of(f"/{n % 2}"): point_of([1_000 * n + 500, 90_000], db_us=300),
            key_of("/pay", service="bank", status_class="5xx"): point_of([7_000], errors=1),
        }
        gauges = [GaugeRow("test", "shop", "host#0", "process.memory.usage", 1e7 + n)]
        event = {"kind": "request", "at_us": (begin_s + 10 * n) * 10**6, "route": "/0"}
        (rows,) = pack_rows([row_of([0.5, n + 1.0])], [EventRow("test", "shop", "host#0", event)])
        batch = a_batch(
            n,
            points,
            window_s=begin_s + 10 * n,
            gauges=gauges,
            processes=[accounting_of([(3 * n, 3)], 3 * n + 4)],
        )
        found.append(replace(batch, rows=rows))
    return found


def test_both_engines_give_the_same_answers(tmp: Path) -> None:
    begin_s = window(12)
    edges = [datetime.fromtimestamp(t, UTC).isoformat() for t in (begin_s - 600, begin_s + 60)]
    with ExitStack() as stack:
        both = [
            stack.enter_context(served(tmp / name, store))
            for name, store in (("sqlite", None), ("memory", MemoryStore()))
        ]
        for batch in batches(begin_s):
            for expected in (False, True):
                answers = [each.agent.post(batch) for each in both]
                assert answers[0] == answers[1]
                assert (answers[0][0], answers[0][1]["duplicate"]) == (202, expected)
        for path in READS:
            one, other = [each.get(path, from_=edges[0], to=edges[1]) for each in both]
            for answer in (one, other):
                answer.pop("timestamp", None)
            assert one == other, path
        shop = {each["service"]: each for each in both[1].get("/services", from_="-1h")["services"]}
        assert shop["shop"]["requests"] == 12
        assert shop["bank"]["errors"] == 6
        assert both[1].get("/custom", from_="-1h")["metrics"][0]["count"] == 12
        stores = [each.get("/health")["store"] for each in both]
        same = ("trouble", "batches", "duplicates", "refused", "damage", "series")
        assert [stores[0][name] for name in same] == [stores[1][name] for name in same]
        assert (stores[1]["batches"], stores[1]["duplicates"]) == (6, 6)
        own = {"journalBatches", "journalBytes", "tiers"}
        assert stores[0].keys() - stores[1].keys() == own
        assert stores[1]["compaction"] == {"trouble": None}
        assert stores[0]["compaction"].keys() == {"trouble", "worker"}


def test_live_summaries_and_refusals_go_through_the_same_doors(tmp: Path) -> None:
    with served(tmp, MemoryStore(), "shop") as collector:
        live = a_batch(1, window_s=int(time.time()) - 1, step_s=1, live=True)
        assert collector.agent.post(live)[0] == 202
        assert collector.get("/metrics/current")["requestsPerSecond"] > 0
        foreign = a_batch(2, {key_of(service="bank"): point_of([1])})
        assert collector.agent.post(foreign)[0] == 403
        assert collector.agent.post(replace(a_batch(3), series=b"\xff"))[0] == 400
        assert collector.get("/health")["store"]["series"] == 1
        assert collector.get("/health")["status"] == "healthy"


def test_a_store_that_is_full_makes_the_collector_say_so(tmp: Path) -> None:
    with served(tmp, MemoryStore(max_bytes=1)) as collector:
        assert collector.agent.post(a_batch(0))[0] == 202
        status, body = collector.agent.post(a_batch(1))
        assert (status, body["error"]["code"]) == (503, "unavailable")
        health = collector.get("/health")
        assert health["status"] == "degraded"
        assert "memory is full" in health["store"]["trouble"]
