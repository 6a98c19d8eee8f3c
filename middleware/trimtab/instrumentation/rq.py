"""RQ: jobs that are put into a queue, and jobs that a worker performs.

A job that a queue performs at once (`is_async=False`) is a call: it is counted as sent alone. A
worker's work horse ends by os._exit after one job, so what it measured is sent before.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from time import monotonic_ns
from types import ModuleType
from typing import Any, Final

from trimtab import runtime
from trimtab.instrumentation.calls import error_type
from trimtab.instrumentation.patching import Patches
from trimtab.instrumentation.tasks import (
    FAILURE,
    RETRY,
    SUCCESS,
    book_lost,
    book_run,
    book_sent,
    book_wait,
    process_started,
)
from trimtab_core.logs import app_logger

__all__ = ["patch"]

log = app_logger("trimtab.instrument")

SYSTEM: Final = "rq"
#: methods that put a job into a queue: every way to enqueue one ends in one of them
_PUTS: Final = ("_enqueue_job", "_enqueue_rate_limited_job")
#: status of a job that will be performed again
_AGAIN: Final = frozenset({"queued", "scheduled", "rate_limited"})

#: class of the exception that a thread's job ended with
_seen: Final = threading.local()


def patch(module: ModuleType, patches: Patches) -> None:
    """Patch the module `rq.worker` or `rq.queue`."""
    if module.__name__ == "rq.queue":
        queue = module.Queue
        # Jobs that are many, scheduled or tried again pass by the public method.
        for name in [each for each in _PUTS if hasattr(queue, each)] or ["enqueue_job"]:
            patches.replace(queue, name, _enqueue)
        return
    worker = module.Worker
    for name, make in _WORKER.items():
        # The class that has it is that of all kinds of workers.
        owner = next(each for each in worker.__mro__ if name in vars(each))
        patches.replace(owner, name, make)


def _enqueue(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def enqueue_job(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(self, *args, **kwargs)
        try:
            job = args[0] if args else kwargs["job"]
            book_sent(SYSTEM, self.name, job.func_name)
        except Exception:
            log.debug("a job is not counted", exc_info=True)
        return found

    return enqueue_job


def _handle(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def handle_exception(self: Any, job: Any, *exc_info: Any) -> Any:
        if exc_info and isinstance(exc_info[0], type):
            _seen.error = error_type(exc_info[0])
        return original(self, job, *exc_info)

    return handle_exception


def _killed(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def handle_work_horse_killed(self: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            book_lost(SYSTEM, job.origin, job.func_name, "WorkHorseKilled")
        except Exception:
            log.debug("a job is not counted", exc_info=True)
        return original(self, job, *args, **kwargs)

    return handle_work_horse_killed


def _perform(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def perform_job(self: Any, *args: Any, **kwargs: Any) -> Any:
        job = args[0] if args else kwargs["job"]
        start_ns = _begin(job)
        done = False
        try:
            done = original(self, *args, **kwargs)
            return done
        finally:
            _end(self, job, start_ns, bool(done))

    return perform_job


def _begin(job: Any) -> int:
    try:
        process_started()
        _seen.error = ""
        since = job.enqueued_at
        if since is not None:
            if since.tzinfo is None:
                since = since.replace(tzinfo=UTC)
            wait_s = (datetime.now(UTC) - since).total_seconds()
            book_wait(SYSTEM, job.origin, job.func_name, wait_s)
    except Exception:
        log.debug("a job is not measured", exc_info=True)
    return monotonic_ns()


def _end(worker: Any, job: Any, start_ns: int, done: bool) -> None:
    duration_s = (monotonic_ns() - start_ns) / 1e9
    try:
        state, error = (SUCCESS, "") if done else (FAILURE, _seen.error)
        status = job.get_status(refresh=False)
        if getattr(status, "value", status) in _AGAIN:
            state = RETRY
        book_run(SYSTEM, job.origin, job.func_name, duration_s, state, error)
        if worker.is_horse:
            runtime.flush_all()
    except Exception:
        log.debug("a job is not measured", exc_info=True)


_WORKER: Final = {
    "perform_job": _perform,
    "handle_exception": _handle,
    "handle_work_horse_killed": _killed,
}
