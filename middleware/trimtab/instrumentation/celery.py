"""Celery: tasks that are published and tasks that a worker runs, by Celery's own signals.

A message takes the time of its publishing along, in the header `trimtab_sent_ms` (ms since 1970),
so that the worker knows how long it waited. A task with an eta waits from then on: what it was
asked to wait is no delay. Queues go by their routing keys, which sender and worker both know. A
task that runs eagerly, in the process that calls it, is a call and no task.
"""

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
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
from trimtab.runtime import PROCESS
from trimtab_core.logs import app_logger
from trimtab_core.measures import GAUGE

__all__ = ["HEADER", "gauges", "patch"]

log = app_logger("trimtab.instrument")

#: header with the time of publishing
HEADER: Final = "trimtab_sent_ms"
SYSTEM: Final = "celery"
_STATES: Final = {"SUCCESS": SUCCESS, "FAILURE": FAILURE, "RETRY": RETRY}
#: exceptions in the name of a process that ended with its task
_LOST: Final = frozenset({"TimeLimitExceeded", "WorkerLostError"})
#: tasks that run at once in one process; of more it is not known when they began
_MOST_RUNNING: Final = 10_000

_GAUGES: Final = {
    name: PROCESS.measures.family(f"trimtab.celery.{name}", GAUGE, unit)
    for name, unit in {
        "prefetch_multiplier": "1",
        "concurrency": "{process}",
        "max_tasks_per_child": "{task}",
        "acks_late": "1",
        "result_expires": "s",
        "compression": "1",
        "broker_pool_limit": "{connection}",
    }.items()
}

#: settings that this process works or publishes with, by name; the child of a worker inherits them
_settings: Final[dict[str, float]] = {}

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
        module.worker_init: _worker_init,
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
        _settings.clear()


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
    if "broker_pool_limit" not in _settings:
        from celery import current_app  # type: ignore[import-untyped]

        _note_app(current_app.conf)


@_quietly
def _prerun(task_id: str, task: Any, **_: Any) -> None:
    process_started()
    request = task.request
    if request.is_eager:
        return
    _settings["acks_late"] = min(float(bool(task.acks_late)), _settings.get("acks_late", 1.0))
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


@_quietly
def _worker_init(sender: Any, **_: Any) -> None:
    # After the command line was read, and before children are forked.
    _settings["prefetch_multiplier"] = float(sender.prefetch_multiplier)
    _settings["max_tasks_per_child"] = float(sender.max_tasks_per_child or 0)
    if isinstance(sender.concurrency, int):
        _settings["concurrency"] = float(sender.concurrency)
    conf = sender.app.conf
    _note_app(conf)
    if conf.result_backend and not conf.task_ignore_result:
        expires = conf.result_expires
        seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
        _settings["result_expires"] = float(seconds or 0)


def _note_app(conf: Any) -> None:
    """Note what publishers have set; 0 connections are no pool."""
    _settings["broker_pool_limit"] = float(conf.broker_pool_limit or 0)
    _settings["compression"] = float(bool(conf.task_compression))


def gauges() -> None:
    """Add settings to their gauges; once per second, from any thread."""
    for name, value in tuple(_settings.items()):
        _GAUGES[name].at().add(value)


PROCESS.measures.before(gauges)


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
