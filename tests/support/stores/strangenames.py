"""Names as apps may have them and nobody would want them: markup, scripts, formulas, turned text.

Batches with them in every place where a page of the dashboard shows a name, each as long as the
wire lets it in.
"""

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from support.stores.batches import a_batch, key_of, point_of
from support.stores.shopworld import ENVIRONMENT, Names, a_window
from trimtab_core.batches import Batch, GaugeRow
from trimtab_core.measures import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    Attributes,
    Delta,
    MeasureKey,
    value_buckets,
)
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

__all__ = ["FORMULAS", "LONG", "MARKUP", "STRANGE", "TURNED", "strange_batches"]

#: sets a global of the page if it ever runs
_IMAGE: Final = '<img src=x onerror="window.harmed=1">'
_SCRIPT: Final = "<script>window.harmed=2</script>"
_QUOTES: Final = "\"'`&lt;b&gt;\\${id}"
_TURNED: Final = "\u202eexe.gnp\u2066\u2069\u2069\u200f"
_CONTROL: Final = "\x00\x07\x1b[31m\t\r\n\u2028\ufeff"
_FACES: Final = "👩‍👩‍👧‍👦 한국어 Z͑͗͆a̴l̶g̷o"

MARKUP: Final = Names(
    service=_IMAGE + _SCRIPT,
    route=f"/{_SCRIPT}{_IMAGE}/" + "{id}",
    query=f"SELECT '{_IMAGE}' FROM {_QUOTES}",
    site=f"{_IMAGE}.py:1 in {_SCRIPT}",
    instance=f"{_IMAGE}#0",
    metric=f"{_IMAGE}_total",
    label=_SCRIPT + _QUOTES,
)
TURNED: Final = Names(
    service=f"shop{_TURNED}",
    route=f"/{_TURNED}/{_FACES}/{_CONTROL}",
    query=f"SELECT {_TURNED} FROM {_FACES}{_CONTROL}",
    site=f"{_TURNED}.py:1 in {_FACES}",
    instance=f"{_TURNED}#0",
    metric=f"{_TURNED}_total",
    label=_TURNED + _FACES + _CONTROL,
)
FORMULAS: Final = Names(
    service='=HYPERLINK("//evil.example","x")',
    route="javascript:window.harmed=3",
    query="@SUM(A1:A9)",
    site="-2+3|cmd' /C calc'!A0",
    instance="+1+1#0",
    metric="\uff1d1+1",
    label="\t=1+1",
)
#: as long as the wire lets them in: a name 128, a route 256, a label 1024, an event 32,768
LONG: Final = Names(
    service="W" * 128,
    route="/" + "w" * 255,
    query="SELECT " + "x" * 1000,
    site="s" * 9000,
    instance="I" * 128,
    metric="m" * 128,
    label="L" * 1024,
)
STRANGE: Final = (MARKUP, TURNED, FORMULAS, LONG)
_MINUTES: Final = 3


def strange_batches() -> Iterator[Batch]:
    """Yield some minutes of apps, hosts, caches, queues and databases with these names."""
    end_s = int(time.time()) // 60 * 60
    for number, names in enumerate(STRANGE):
        agent = names.instance[:100]
        for minute in range(_MINUTES):
            window_s = end_s - (_MINUTES - minute) * 60
            seq = number * 100 + minute * 2
            batch = a_window(seq, window_s, names, 1, slow=True, step_s=60)
            yield replace(batch, agent=agent)
            yield _more(seq + 1, window_s, names, agent)


def _more(seq: int, window_s: int, names: Names, agent: str) -> Batch:
    """Return what a shop has not: names of everything else."""
    key = key_of(
        names.route,
        service=names.service,
        environment=names.instance,
        instance=names.instance,
        method=names.label[:100],
        version=names.instance,
    )
    long_ago = [*_events(window_s, names)]
    return a_batch(
        seq,
        {key: point_of([900_000] * 9, errors=3)},
        agent=agent,
        window_s=window_s,
        step_s=60,
        gauges=[*_gauges(names)],
        rows=pack_rows([*_measures(names)], long_ago)[0],
    )


def _gauges(names: Names) -> Iterable[GaugeRow]:
    for name in ("system.cpu.utilization", "system.memory.utilization", "system.disk.read.rate"):
        yield GaugeRow("", "", names.instance, name, 0.97)
    yield GaugeRow("", "", names.instance, "trimtab.probe.up", 0.0)
    yield GaugeRow(ENVIRONMENT, names.service, names.instance, "process.thread.count", 4)


def _measures(names: Names) -> Iterable[MeasureRow]:
    label = names.label
    calls = (("http.request.method", label[:99]), ("server.address", label), ("server.port", "80"))
    yield _row(names, "http.client.request.duration", HISTOGRAM, "s", calls)
    failing = (("error.type", label), *calls)
    yield _row(names, "http.client.request.duration", HISTOGRAM, "s", failing)
    tasks = (
        ("messaging.destination.name", label),
        ("messaging.system", label[:99]),
        ("trimtab.task", label),
    )
    yield _row(names, "messaging.process.duration", HISTOGRAM, "s", tasks)
    yield _row(names, "trimtab.queue.depth", GAUGE, "", tasks[:1])
    for name in ("trimtab.cache.hits", "trimtab.cache.misses"):
        yield _row(names, name, COUNTER, "1", (("key", label), ("level", label[:99])))
    command = (("db.operation.name", label), ("db.system.name", "redis"))
    yield _row(names, "db.client.operation.duration", HISTOGRAM, "s", command)
    statement = (("db.query.text", label), ("db.system.name", label[:99]), ("error.type", label))
    yield _row(names, "db.client.operation.duration", HISTOGRAM, "s", statement)
    pool = (("db.client.connection.pool.name", label), ("db.client.connection.state", "used"))
    yield _row(names, "db.client.connection.count", GAUGE, "", pool)
    yield _row(
        names, names.metric, COUNTER, label[:20], ((label[:99], label), ("trimtab.own", "1"))
    )


def _row(names: Names, name: str, kind: str, unit: str, attributes: Attributes) -> MeasureRow:
    delta = Delta()
    values = [0.5 * random.Random(name).random() + 0.1] * 5
    delta.add(values)
    if kind == HISTOGRAM:
        delta.buckets = dict(value_buckets(values))
    placed = tuple(sorted(attributes))
    key = MeasureKey(name, kind, unit, placed)
    return MeasureRow(ENVIRONMENT, names.service, names.instance, key, delta)


def _events(window_s: int, names: Names) -> Iterable[EventRow]:
    """Yield a request that was kept, with every text that one can have."""
    yield EventRow(ENVIRONMENT, names.service, names.instance, {
        "kind": "request", "reason": "failed", "status": 500, "duration_us": 2_000_000,
        "route": names.route, "method": names.label[:99], "at_us": (window_s + 20) * 1_000_000,
        "error": names.label, "error_site": names.site, "version": names.instance,
        "trace": names.label[:99],
        "spans": [["query", 1000, 9000, names.query], [names.label[:50], 1000, 9000, names.label]],
    })  # fmt: skip
