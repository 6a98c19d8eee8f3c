"""Queues now, and the tasks of a range: how often they ran, how they ended, how they waited."""

from collections.abc import Iterable
from typing import Final

from trimtab_collector.contract.calls import CALLS_BY, RANKED_CALLS
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.contract.queues import QueueGauges, Queues, TaskCalls
from trimtab_collector.reads.digits import whole_of
from trimtab_collector.reads.latest import amount, targets_of
from trimtab_collector.reads.measures import MeasureReads, attribute, calls_of, grouped, ordered
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import LatestGauge, MeasurePart

__all__ = ["DEPTH", "queues", "queues_of"]

DEPTH: Final = "trimtab.queue.depth"
_TASK: Final = "messaging.process.duration"
_WAIT: Final = "trimtab.task.wait"
_SENT: Final = "trimtab.task.sent"
_LOST: Final = "trimtab.task.lost"


def queues(reader: StoreReader, parameters: Parameters) -> Queues:
    """Return the queues now, and the tasks of a range, those with the most of a figure first."""
    time_range = reader.ranges.stored(parameters)
    measures = MeasureReads(reader, time_range, (_TASK, _WAIT, _SENT, _LOST, DEPTH))
    own = grouped(measures.of(DEPTH), lambda part: attribute(part, "messaging.destination.name"))
    waits = grouped(measures.of(_WAIT), _task_of)
    tasks = [
        _task(names, some, waits.get(names, []), measures.seconds)
        for names, some in grouped(measures.of(_TASK), _task_of).items()
    ]
    limit = parameters[LIMIT]
    return Queues(
        **time_range.fields(),
        queues=queues_of(reader.gauges(parameters))
        + [
            QueueGauges(
                queue=name, gauges={DEPTH: amount(DEPTH, sum(part.delta.last for part in parts))}
            )
            for name, parts in sorted(own.items())
        ],
        tasks=ordered(tasks, RANKED_CALLS[parameters[CALLS_BY]])[:limit],
        tasks_left_out=max(0, len(tasks) - limit),
        sent=whole_of(measures.total(_SENT)),
        lost=whole_of(measures.total(_LOST)),
    )


def queues_of(gauges: Iterable[LatestGauge]) -> list[QueueGauges]:
    """Return the queues that agents look at."""
    return [
        QueueGauges(queue=each.target.removeprefix("queue:"), gauges=each.gauges)
        for each in targets_of(gauges, "queue")
    ]


_Names = tuple[str, str, str]


def _task_of(part: MeasurePart) -> _Names:
    return (
        attribute(part, "trimtab.task"),
        attribute(part, "messaging.system"),
        attribute(part, "messaging.destination.name"),
    )


def _task(
    names: _Names, parts: list[MeasurePart], waits: list[MeasurePart], seconds: float
) -> TaskCalls:
    states: dict[str, int] = {}
    for part in parts:
        state = attribute(part, "trimtab.task.state")
        states[state] = states.get(state, 0) + part.delta.count
    ended = states.get("success", 0) + states.get("failure", 0)
    return TaskCalls(
        task=names[0],
        system=names[1],
        queue=names[2],
        calls=calls_of(parts, seconds),
        states=states,
        success_rate=states.get("success", 0) / ended if ended else None,
        wait=calls_of(waits, seconds) if waits else None,
    )
