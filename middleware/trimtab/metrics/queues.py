"""Queues inside the app: how many items wait in them, read once per second."""

from collections.abc import Callable

from trimtab.runtime import PROCESS
from trimtab_core.measures import GAUGE

__all__ = ["watch_queue"]

_DEPTH = PROCESS.measures.family("trimtab.queue.depth", GAUGE, "{message}", cap=200)


def watch_queue(name: str, depth: Callable[[], float]) -> None:
    """Show a queue of this process by name, such as `webhook` or `notifications`.

    depth is called once per second, in trimtab's own thread: it must be quick and thread-safe, as
    `queue.Queue.qsize` is, or `lambda: len(waiting)`. When it raises, that value is left out. The
    processes of a service add up.
    """
    measure = _DEPTH.at((("messaging.destination.name", str(name)),))
    PROCESS.measures.before(lambda: measure.add(depth()))
