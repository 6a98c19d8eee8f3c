"""Queues of the app's own: how much waits in them, read once a second."""

from collections.abc import Callable

from trimtab.runtime import PROCESS
from trimtab_core.measures import GAUGE

__all__ = ["watch_queue"]

_DEPTH = PROCESS.measures.family("trimtab.queue.depth", GAUGE, "{message}", cap=200)


def watch_queue(name: str, depth: Callable[[], float]) -> None:
    """Show a queue of this process by name, such as `webhook` or `notifications`.

    depth is called once a second, in trimtab's own thread: it must be safe there and quick, as
    `queue.Queue.qsize` is, or `lambda: len(waiting)`. What it raises is left out. The processes of
    a service add up.
    """
    measure = _DEPTH.at((("messaging.destination.name", str(name)),))
    PROCESS.measures.before(lambda: measure.add(depth()))
