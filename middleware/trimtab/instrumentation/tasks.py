"""Tasks of queues: how many were sent, how long they waited and ran, and how they ended.

Names of tasks and queues are kept, never ids, arguments or results.
"""

from typing import Final

from trimtab.runtime import PROCESS
from trimtab_core.measures import COUNTER, HISTOGRAM, Attributes

__all__ = [
    "FAILURE",
    "RETRY",
    "SUCCESS",
    "book_lost",
    "book_run",
    "book_sent",
    "book_wait",
    "process_started",
]

#: how a task may end; Celery has `ignored` and `rejected` besides
SUCCESS: Final = "success"
FAILURE: Final = "failure"
RETRY: Final = "retry"

_durations: Final = PROCESS.measures.family("messaging.process.duration", HISTOGRAM, "s")
_waits: Final = PROCESS.measures.family("trimtab.task.wait", HISTOGRAM, "s")
_sent: Final = PROCESS.measures.family("trimtab.task.sent", COUNTER)
_lost: Final = PROCESS.measures.family("trimtab.task.lost", COUNTER)


class _Waking:
    """Whether this process has been asked to send what it measures."""

    is_done = False

    def after_fork(self) -> None:
        """Ask anew: the parent's thread is not in the child."""
        self.is_done = False


_waking: Final = _Waking()
PROCESS.join(_waking)


def process_started() -> None:
    """Have what is measured in this process sent; at every task, it acts at the first.

    A worker serves no requests, whose first would start the sending.
    """
    if not _waking.is_done:
        _waking.is_done = True
        PROCESS.wake()


def book_sent(system: str, queue: str, task: str) -> None:
    """Count a task that was put into a queue."""
    _sent.at(_attributes(system, queue, task)).add(1)


def book_wait(system: str, queue: str, task: str, wait_s: float) -> None:
    """Book how long a task was ready before a worker began it; 0 where clocks disagree."""
    _waits.at(_attributes(system, queue, task)).add(max(0.0, wait_s))


def book_run(
    system: str, queue: str, task: str, duration_s: float, state: str, error: str = ""
) -> None:
    """Book a task that has ended in a state, with the class of its exception if there was one."""
    attributes = _attributes(system, queue, task)
    if error:
        attributes = (("error.type", error), *attributes)
    _durations.at((*attributes, ("trimtab.task.state", state))).add(duration_s)


def book_lost(system: str, queue: str, task: str, error: str) -> None:
    """Count a task whose process ended while it ran; called by the process that noticed.

    Its run was booked only if the process could still tell: not if it was killed.
    """
    process_started()
    _lost.at((("error.type", error), *_attributes(system, queue, task))).add(1)


def _attributes(system: str, queue: str, task: str) -> Attributes:
    return (
        ("messaging.destination.name", queue),
        ("messaging.system", system),
        ("trimtab.task", task),
    )
