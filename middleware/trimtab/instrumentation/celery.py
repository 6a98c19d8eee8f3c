"""Celery: tasks that are published and tasks that a worker runs, by Celery's own signals.

A message takes the time of its publishing along, in the header `trimtab_sent_ms` (ms since 1970),
so that the worker knows how long it waited. A task with an eta waits from then on: what it was
asked to wait is no delay. Queues go by their routing keys, which sender and worker both know. A
task that runs eagerly, in the process that calls it, is a call and no task.
"""

import logging
import sys
import time
from collections.abc import Callable
from datetime import datetime
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

__all__ = ["HEADER", "patch"]

log = logging.getLogger("trimtab.instrument")

#: header with the time of publishing
HEADER: Final = "trimtab_sent_ms"
SYSTEM: Final = "celery"
_STATES: Final = {"SUCCESS": SUCCESS, "FAILURE": FAILURE, "RETRY": RETRY}
#: exceptions in the name of a process that ended with its task
_LOST: Final = frozenset({"TimeLimitExceeded", "WorkerLostError"})
#: tasks that run at once in one process; of more it is not known when they began
_MOST_RUNNING: Final = 10_000

#: id of a task that runs here -> ns of the monotonic clock at its start
_running: Final[dict[str, int]] = {}


def patch(module: ModuleType, patches: Patches) -> None:
    """Connect to the signals of the module `celery.signals`."""
    _connection.signals = {
        module.before_task_publish: _before_publish,
        module.after_task_publish: _after_publish,
        module.task_prerun: _prerun,
        module.task_postrun: _postrun,
        module.task_failure: _failure,
        module.worker_process_shutdown: _process_shutdown,
    }
    patches.replace(_connection, "connected", lambda _: True)


class _Connection:
    """Connects as its attribute is set and disconnects as that is taken away, as patches do it."""

    signals: dict[Any, Callable[..., None]]

    @property
    def connected(self) -> bool:
        return True

    @connected.setter
    def connected(self, _: bool) -> None:
        for signal, receiver in self.signals.items():
            signal.connect(receiver, weak=False, dispatch_uid=__name__)

    @connected.deleter
    def connected(self) -> None:
        for signal, receiver in self.signals.items():
            signal.disconnect(receiver, dispatch_uid=__name__)


_connection: Final = _Connection()


def _quietly(receiver: Callable[..., None]) -> Callable[..., None]:
    # Celery would log the exception of a receiver as an error of the app.
    def receive(**sent: Any) -> None:
        try:
            receiver(**sent)
        except Exception:
            log.debug("a task is not measured", exc_info=True)

    return receive


@_quietly
def _before_publish(headers: dict[str, Any], **_: Any) -> None:
    headers[HEADER] = time.time_ns() // 1_000_000


@_quietly
def _after_publish(sender: str, routing_key: str, exchange: Any, **_: Any) -> None:
    book_sent(SYSTEM, _queue(routing_key, exchange), sender)


@_quietly
def _prerun(task_id: str, task: Any, **_: Any) -> None:
    process_started()
    request = task.request
    if request.is_eager:
        return
    if len(_running) < _MOST_RUNNING:
        _running[task_id] = time.monotonic_ns()
    ready_ms = _ready_ms(request)
    if ready_ms is not None:
        wait_s = time.time() - ready_ms / 1000
        book_wait(SYSTEM, _queue_of(request), task.name, wait_s)


@_quietly
def _postrun(task_id: str, task: Any, retval: Any = None, state: Any = None, **_: Any) -> None:
    start_ns = _running.pop(task_id, None)
    if start_ns is None:
        return
    duration_s = (time.monotonic_ns() - start_ns) / 1e9
    ended, error = _STATES.get(state, str(state).lower()), ""
    if state is None:
        # What ends the worker, too, passes by without having been made a state.
        found = sys.exc_info()[0]
        ended, error = FAILURE, error_type(found) if found else ""
    elif state == "FAILURE" and isinstance(retval, BaseException):
        error = error_type(type(retval))
    elif state == "RETRY":
        cause = getattr(retval, "exc", None)
        error = error_type(type(cause)) if isinstance(cause, BaseException) else ""
    book_run(SYSTEM, _queue_of(task.request), task.name, duration_s, ended, error)


@_quietly
def _failure(sender: Any, exception: Any = None, **_: Any) -> None:
    # All others pass by `_postrun`, too; these are told by the worker's first process.
    error = error_type(type(exception))
    if error in _LOST:
        book_lost(SYSTEM, _queue_of(sender.request), sender.name, error)


@_quietly
def _process_shutdown(**_: Any) -> None:
    # A child of the pool leaves by os._exit.
    runtime.flush_all()


def _queue_of(request: Any) -> str:
    info = request.delivery_info or {}
    return _queue(info.get("routing_key"), info.get("exchange"))


def _queue(routing_key: Any, exchange: Any) -> str:
    for name in (routing_key, getattr(exchange, "name", exchange)):
        if name and isinstance(name, str):
            return name
    return "unknown"


def _ready_ms(request: Any) -> float | None:
    """Return when a task could have begun, in ms since 1970; None where that is not known."""
    sent_ms = request.get(HEADER)
    if type(sent_ms) is not int:
        return None
    eta = request.eta
    if not eta:
        return sent_ms
    when = eta if isinstance(eta, datetime) else datetime.fromisoformat(eta)
    if when.tzinfo is None:
        return None
    return max(float(sent_ms), when.timestamp() * 1000)
