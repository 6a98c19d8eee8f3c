"""What a process has once: a `Process`, and in it a `Runtime` for each set of settings.

Nothing is started at import or when an app is wrapped: a server may fork after that. A fork's
child forgets the parent's records and connection, and starts its own thread at its first request,
or when it first adds to a measure, as a child of multiprocessing does (`children.py`).
All of that goes through one hook (`Process.after_fork`); what else has to forget or to replace
something there is a `Part` of the process.
"""

import atexit
import os
import sys
import threading
import weakref
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

from trimtab.children import before_end, before_results, is_child
from trimtab.connection import Connections
from trimtab.emitter import Emitter
from trimtab.events import EventQueue
from trimtab.metrics.measures import Measures
from trimtab.metrics.registry import Registry
from trimtab.pending import Pending
from trimtab.recorder import Recorder
from trimtab.routes import RouteTable
from trimtab.settings import AppSettings, read_settings
from trimtab.vitals import Vitals
from trimtab_core.config import Address, default_socket, parse_address
from trimtab_core.errors import SettingsError
from trimtab_core.logs import app_logger
from trimtab_core.messages import Hello
from trimtab_core.records import RECORD_SIZE

__all__ = [
    "PROCESS",
    "Part",
    "Process",
    "Runtime",
    "flush_all",
    "is_connected",
    "runtime_for",
    "wake_default",
]

log = app_logger("trimtab.runtime")

#: The pause after a start that failed, and the longest after several, in seconds.
_START_PAUSE_S: Final = (5.0, 30.0)
#: The budget of a flush at the end of a process, in seconds.
FLUSH_S: Final = 0.25


class Part(Protocol):
    """What belongs to a process, and has something to do in the child of a fork."""

    def after_fork(self) -> None:
        """Forget what is the parent's, and replace locks that its threads may have held."""
        ...


class Runtime:
    """Recorder, emitter and vitals of one service; made by `runtime_for`, safe from any thread."""

    def __init__(self, settings: AppSettings, process: "Process") -> None:
        self.settings = settings
        self.process = process
        self.recorder = Recorder(settings.buffer_kib * 1024, process.routes)
        self._emitter: Emitter | None = None
        self._vitals: Vitals | None = None
        # A request that ends in a finalizer wakes the emitter, too.
        self._lock = threading.RLock()
        self._address = _address(settings.agent)
        #: starts that failed, one after the other, and when the next one is tried
        self._failed_starts = 0
        self._next_start_s = 0.0

    def wake(self) -> None:
        """Start the emitter when it does not run; called by the first request of a process.

        Never raises. Where no thread or socket can be made, a request some seconds later tries
        again; what is recorded until then is kept, as far as the buffer goes.
        """
        try:
            with self._lock:
                if not self.recorder.asleep:
                    if self._vitals is not None:
                        self._vitals.watch_loop()
                    return
                if self._next_start_s and monotonic() < self._next_start_s:
                    return
                if sys.is_finalizing():
                    # The interpreter ends: who starts a thread now may wait for it for ever.
                    return
                self.recorder.asleep = False
                if self._address is None:
                    return
                if self._vitals is not None:
                    # Those of an emitter whose thread has ended on its own.
                    self._vitals.close()
                emitter = self._emitter = self._new_emitter(self._address)
            # Without the lock: where threads are greenlets, others run while this one starts.
            emitter.start()
            self._failed_starts, self._next_start_s = 0, 0.0
        except Exception as error:  # noqa: BLE001 - a request is worth more than its measurement
            self._start_failed(error)

    def _start_failed(self, error: Exception) -> None:
        """Have a later request try again."""
        with self._lock:
            emitter, self._emitter = self._emitter, None
            vitals, self._vitals = self._vitals, None
            self._failed_starts += 1
            pause_s = min(_START_PAUSE_S[0] * 2 ** (self._failed_starts - 1), _START_PAUSE_S[1])
            self._next_start_s = monotonic() + pause_s
            self.recorder.fall_asleep()
        with suppress(Exception):
            if emitter is not None:
                emitter.abandon()
            if vitals is not None:
                vitals.close()
        if self._failed_starts == 1 and not self.process.is_ending:
            log.warning(
                "trimtab could not start its thread (%s: %.200s): a request tries again after %g s",
                type(error).__name__, error, pause_s,
            )  # fmt: skip

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Send everything recorded so far; return True if it ended within timeout_s."""
        emitter = self._emitter
        if emitter is None:
            return not self._failed_starts or not self.recorder.buffer
        return emitter.flush(timeout_s)

    def stop(self) -> None:
        """Send everything, say bye and end the thread; a later request starts it again."""
        with self._lock:
            emitter, self._emitter = self._emitter, None
            vitals, self._vitals = self._vitals, None
            self.recorder.fall_asleep()
        if emitter is not None:
            emitter.stop(FLUSH_S)
        if vitals is not None:
            vitals.close()

    @property
    def is_connected(self) -> bool:
        """Tell whether an agent takes what this process sends."""
        emitter = self._emitter
        return emitter is not None and emitter.is_connected

    @property
    def accounting(self) -> dict[str, int]:
        """Records sent, held and dropped by this process."""
        emitter = self._emitter
        if emitter is None:
            return {"sent": 0, "held": len(self.recorder.buffer) // RECORD_SIZE, "dropped": 0}
        return emitter.accounting

    def after_fork(self) -> None:
        """Forget the parent's records, thread and connection; runs in the child of a fork."""
        emitter, self._emitter = self._emitter, None
        vitals, self._vitals = self._vitals, None
        self._lock = threading.RLock()
        self._failed_starts, self._next_start_s = 0, 0.0
        if emitter is not None:
            emitter.abandon()
        if vitals is not None:
            vitals.close()
        self.recorder.after_fork()

    def _new_emitter(self, address: Address) -> Emitter:
        settings = self.settings
        self._vitals = Vitals(self.recorder) if settings.gauges else None
        process = os.urandom(8)
        emitter = Emitter(
            self.recorder,
            address,
            lambda sent, worker: self._hello(process, sent, worker),
            self._vitals.read if self._vitals else None,
            connections=self.process.connections,
            pending=Pending(self.process.measures, self.process.events),
            interval_s=settings.interval_ms / 1000,
            backlog_bytes=settings.backlog_kib * 1024,
            peer_uids=_peer_uids(),
            token=settings.agent_token,
            probe=self._vitals.probe if self._vitals else None,
        )
        if self._vitals is not None:
            self._vitals.watch_loop()
        before_end(self.process.flush)
        before_results(self.process.measures, self.flush)
        return emitter

    def _hello(self, process: bytes, sent: int, worker: int) -> Hello:
        settings = self.settings
        return Hello(
            environment=settings.environment,
            service=settings.service,
            version=settings.version,
            host=settings.host,
            pid=os.getpid(),
            process=process,
            sent=sent,
            worker=worker,
            facts={"python": sys.version.split()[0], "platform": sys.platform},
        )


class Process:
    """What this process has once, whatever it measures; any thread.

    `PROCESS` is the one of this process. Parts that are made elsewhere `join` it.
    """

    def __init__(self) -> None:
        self.routes = RouteTable()
        self.events = EventQueue()
        self.measures = Measures()
        self.measures.on_first = self._first_added
        #: metrics that the app has named
        self.registry = Registry(self.measures)
        self.connections = Connections()
        #: whether exit handlers run: from Python 3.12 on no thread can be started by then
        self.is_ending = False
        self._runtimes: dict[AppSettings, Runtime] = {}
        self._lock = threading.Lock()
        #: what has joined, in this order; a part leaves when nobody holds it any more
        self._parts: dict[weakref.ref[Part], None] = {}

    def join(self, part: Part) -> None:
        """Call a part in the child of a fork, behind all that the process owns itself."""
        self._parts[weakref.ref(part, lambda gone: self._parts.pop(gone, None))] = None

    def runtime(self, settings: AppSettings) -> Runtime:
        """Return the runtime for these settings; the same one for the same settings."""
        with self._lock:
            runtime = self._runtimes.get(settings)
            if runtime is None:
                if not self._runtimes:
                    atexit.register(self._at_exit)
                runtime = self._runtimes[settings] = Runtime(settings, self)
                # They share the table: the largest cap is the one that none of them is short of.
                self.routes.most = max(each.routes for each in self._runtimes)
            return runtime

    def runtimes(self) -> list[Runtime]:
        """Return the runtimes there are."""
        return list(self._runtimes.values())

    def is_connected(self) -> bool:
        """Tell whether an agent takes what this process sends."""
        return any(runtime.is_connected for runtime in self.runtimes())

    def wake(self) -> None:
        """Have what this process measures sent, where no request does so: in workers of queues.

        Never raises; nothing is sent when measuring is off.
        """
        try:
            for runtime in self.runtimes():
                runtime.wake()
                return
            settings = read_settings()
            if settings.enabled:
                self.runtime(settings).wake()
        except Exception:
            log.warning("trimtab could not start", exc_info=True)

    def _first_added(self) -> None:
        # A child that serves no requests is told by nobody else. In the process that makes children
        # no thread is started for a value alone.
        if is_child():
            self.wake()

    def _at_exit(self) -> None:
        self.is_ending = True
        self.flush()

    def flush(self) -> None:
        """Send everything and say bye; at the end of the process, safe to repeat."""
        for runtime in self.runtimes():
            try:
                runtime.stop()
            except Exception:
                log.debug("could not stop", exc_info=True)

    def after_fork(self) -> None:
        """Begin anew in the child of a fork; the only hook of its kind that trimtab has."""
        self._lock = threading.Lock()
        self.is_ending = False
        self.measures.on_first = self._first_added
        owned: tuple[Part, ...] = (
            self.connections, self.routes, self.events, self.measures, self.registry,
        )  # fmt: skip
        joined = [part for ref in list(self._parts) if (part := ref()) is not None]
        for part in (*owned, *self._runtimes.values(), *joined):
            try:
                part.after_fork()
            except Exception:
                log.debug("a part was not made anew in the child of a fork", exc_info=True)


#: The one of this process.
PROCESS: Final = Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=PROCESS.connections.before_fork,
        after_in_parent=PROCESS.connections.forked,
        after_in_child=PROCESS.after_fork,
    )

#: What most callers want of it.
runtime_for = PROCESS.runtime
is_connected = PROCESS.is_connected
wake_default = PROCESS.wake
flush_all = PROCESS.flush


def _address(text: str) -> Address | None:
    try:
        return parse_address(text or default_socket())
    except SettingsError as error:
        log.warning("TRIMTAB_AGENT: %s; requests go on unmeasured", error)
        return None


def _peer_uids() -> frozenset[int]:
    # The app obeys only root and its own user.
    return frozenset({0, os.getuid()}) if hasattr(os, "getuid") else frozenset()
