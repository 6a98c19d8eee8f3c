"""Jobs of RQ that look at their own queue; RQ imports them by this module's name."""

import threading

from support.processes.probing import read
from trimtab_agent.probes.queues import QueueProbe

__all__ = ["fail", "look", "seen"]

#: what the jobs saw, in this process
seen: list[dict[str, float]] = []


def look(url: str, name: str) -> None:
    """Read the queue while this job is being worked on."""
    probe = QueueProbe(f"{url}#rq:{name}")
    # A loop of its own: the worker may run within one.
    thread = threading.Thread(target=lambda: seen.append(dict(read(probe).gauges)))
    thread.start()
    thread.join(5)
    probe.close()


def fail() -> None:
    """Fail, as jobs do."""
    raise ValueError("this job fails")
