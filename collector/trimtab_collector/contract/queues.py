"""Queues and the tasks that are taken from them."""

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.calls import Calls

__all__ = ["QueueGauges", "Queues", "TaskCalls"]


class TaskCalls(Body, kw_only=True):
    """A task of a queue: how often it ran and how it ended."""

    task: str
    system: str
    queue: str
    calls: Calls
    #: success, failure, retry -> how often
    states: dict[str, int]
    success_rate: float | None
    #: time between being sent and being started
    wait: Calls | None


class QueueGauges(Body, kw_only=True):
    """A queue that an agent looks at, or that an app names: its latest gauges."""

    queue: str
    gauges: dict[str, float]


class Queues(RangeBody, kw_only=True):
    """Queues now, and the tasks of the range."""

    queues: list[QueueGauges]
    tasks: list[TaskCalls]
    tasks_left_out: int
    #: tasks that were sent, and tasks whose process ended while they ran
    sent: int
    lost: int
