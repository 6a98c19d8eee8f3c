"""Jobs for a real RQ worker, and the worker: `python rq_target.py KIND` on the Redis of QUEUE_URL.

KIND is a class of rq.worker; it performs what is in the queue `mails` and ends when told to.
"""

import os
import signal
import sys

from redis import Redis
from rq import Queue, Retry, get_current_job

from trimtab.instrumentation import instrument


def add(a: int, b: int) -> int:
    """Return a sum."""
    return a + b


def fail(message: str) -> None:
    """Fail."""
    raise KeyError(message)


def again() -> object:
    """Succeed at the second time."""
    job = get_current_job()
    assert job is not None
    return "done" if job.number_of_retries else Retry(max=2)


def kill() -> None:
    """Take the process along."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    instrument("rq")
    import rq.worker

    connection = Redis.from_url(os.environ["QUEUE_URL"])
    kind = getattr(rq.worker, sys.argv[1])
    kind([Queue("mails", connection=connection)], connection=connection).work()
