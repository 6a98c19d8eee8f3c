"""What is around the requests: caches, calls to others, queues, and the apps' own metrics."""

from typing import Final

from trimtab_collector.contract.readbodies import (
    Cache,
    CacheLevel,
    Custom,
    CustomMetric,
    External,
    Host,
    Queue,
    Queues,
    Task,
)
from trimtab_collector.reads.measured import (
    MeasureReads,
    attribute,
    calls_of,
    errors_of,
    grouped,
    ordered,
    share,
    targets_of,
)
from trimtab_collector.reads.ranges import View
from trimtab_collector.reads.source import Source
from trimtab_collector.storage.store import MeasurePart
from trimtab_core.measures import COUNTER, GAUGE, Delta, quantile

__all__ = ["RESERVED", "cache", "custom", "external", "queues"]

#: beginnings of names that are not an app's own
RESERVED: Final = (
    "trimtab.", "db.", "http.", "messaging.", "process.", "system.", "cpython.", "container.",
    "redis.", "postgresql.",
)  # fmt: skip
_HITS, _MISSES = "trimtab.cache.hits", "trimtab.cache.misses"
_DB, _HTTP = "db.client.operation.duration", "http.client.request.duration"
_DEPTH: Final = "trimtab.queue.depth"
_TASK, _WAIT, _SENT = "messaging.process.duration", "trimtab.task.wait", "trimtab.task.sent"


def cache(source: Source, view: View) -> Cache:
    """Return the reads of caches in a range."""
    measured = MeasureReads(source, view, (_HITS, _MISSES, _DB))
    names = {attribute(part, "level") for name in (_HITS, _MISSES) for part in measured.of(name)}
    levels = [
        _level(name, measured.total(_HITS, level=name), measured.total(_MISSES, level=name))
        for name in sorted(names)
    ]
    commands = [part for part in measured.of(_DB) if attribute(part, "db.system.name") == "redis"]
    whole = _level("", sum(each.hits for each in levels), sum(each.misses for each in levels))
    return Cache(
        from_=view.from_text,
        to=view.to_text,
        hits=whole.hits,
        misses=whole.misses,
        hit_rate=whole.hit_rate,
        miss_rate=whole.miss_rate,
        levels=levels,
        calls=calls_of(commands, measured.seconds),
        operations={
            name: calls_of(some, measured.seconds)
            for name, some in sorted(
                grouped(commands, lambda part: attribute(part, "db.operation.name")).items()
            )
        },
        servers=targets_of(source.gauges(view.params), "redis"),
    )


def _level(name: str, hits: float, misses: float) -> CacheLevel:
    reads = hits + misses
    return CacheLevel(
        level=name,
        hits=int(hits),
        misses=int(misses),
        hit_rate=share(hits, reads),
        miss_rate=share(misses, reads),
    )


def external(source: Source, view: View, limit: int) -> External:
    """Return the calls to other services; at most limit hosts, those with the most time first."""
    measured = MeasureReads(source, view, (_HTTP,))
    hosts = [
        Host(host=host, calls=calls_of(some, measured.seconds), errors=errors_of(some))
        for host, some in grouped(
            measured.of(), lambda part: attribute(part, "server.address")
        ).items()
    ]
    return External(
        from_=view.from_text,
        to=view.to_text,
        calls=calls_of(measured.of(), measured.seconds),
        hosts=ordered(hosts)[:limit],
        dependencies=targets_of(source.gauges(view.params), "http", "redis", "postgresql"),
    )


def queues(source: Source, view: View, limit: int) -> Queues:
    """Return the queues now, and the tasks of a range, those with the most time first."""
    measured = MeasureReads(source, view, (_TASK, _WAIT, _SENT, _DEPTH))
    own = grouped(measured.of(_DEPTH), lambda part: attribute(part, "messaging.destination.name"))
    waits = grouped(measured.of(_WAIT), _task_of)
    tasks = [
        _task(names, some, waits.get(names, []), measured.seconds)
        for names, some in grouped(measured.of(_TASK), _task_of).items()
    ]
    looked_at = targets_of(source.gauges(view.params), "queue")
    return Queues(
        from_=view.from_text,
        to=view.to_text,
        queues=[
            Queue(queue=each.target.removeprefix("queue:"), gauges=each.gauges)
            for each in looked_at
        ]
        + [
            Queue(queue=name, gauges={_DEPTH: sum(part.delta.last for part in parts)})
            for name, parts in sorted(own.items())
        ],
        tasks=ordered(tasks)[:limit],
        sent=int(measured.total(_SENT)),
    )


_Names = tuple[str, str, str]


def _task_of(part: MeasurePart) -> _Names:
    return (
        attribute(part, "trimtab.task"),
        attribute(part, "messaging.system"),
        attribute(part, "messaging.destination.name"),
    )


def _task(
    names: _Names, parts: list[MeasurePart], waits: list[MeasurePart], seconds: float
) -> Task:
    states: dict[str, int] = {}
    for part in parts:
        state = attribute(part, "trimtab.task.state")
        states[state] = states.get(state, 0) + part.delta.count
    ended = states.get("success", 0) + states.get("failure", 0)
    return Task(
        task=names[0],
        system=names[1],
        queue=names[2],
        calls=calls_of(parts, seconds),
        states=states,
        success_rate=states.get("success", 0) / ended if ended else None,
        wait=calls_of(waits, seconds) if waits else None,
    )


def custom(source: Source, view: View, name: str, limit: int) -> Custom:
    """Return the apps' own metrics by name and labels; at most limit, in the order of names.

    name is an exact name, a beginning that ends in `*`, or empty for all.
    """
    measured = MeasureReads(source, view, (name or "*",))
    own = [part for part in measured.of() if not part.key.name.startswith(RESERVED)]
    found = grouped(own, lambda part: part.key)
    return Custom(
        from_=view.from_text,
        to=view.to_text,
        metrics=[_metric(found[key]) for key in sorted(found)[:limit]],
        metrics_left_out=max(0, len(found) - limit),
    )


def _metric(parts: list[MeasurePart]) -> CustomMetric:
    key, whole = parts[0].key, Delta()
    for part in parts:
        whole.merge(part.delta)
    # Of gauges each process has its own: together they are the sum of the last values.
    last = sum(part.delta.last for part in parts)

    def at(q: float) -> float | None:
        return quantile(whole.buckets, q, whole.min, whole.max) if whole.buckets else None

    counts = key.kind == COUNTER
    return CustomMetric(
        name=key.name,
        kind=key.kind,
        unit=key.unit,
        labels=dict(key.attributes),
        value=whole.sum if counts else last if key.kind == GAUGE else whole.sum / whole.count,
        count=whole.count,
        sum=whole.sum,
        mean=None if counts else whole.sum / whole.count,
        min=None if counts else whole.min,
        max=None if counts else whole.max,
        p50=at(0.5),
        p95=at(0.95),
        p99=at(0.99),
        instances=len({(part.environment, part.service, part.instance) for part in parts}),
    )
