"""What a process has once: recorder, emitter and vitals, started when first needed.

Nothing is started at import or when an app is wrapped: a server may fork after that. A fork's
child forgets the parent's records and connection, and starts its own thread at its first request.
"""

import atexit
import logging
import os
import sys
import threading

from trimtab.connection import close_all
from trimtab.emitter import Emitter
from trimtab.recorder import Recorder
from trimtab.settings import AppSettings, read_settings
from trimtab.vitals import Vitals
from trimtab_core.config import Address, default_socket, parse_address
from trimtab_core.errors import SettingsError
from trimtab_core.messages import Hello

__all__ = ["Runtime", "flush_all", "is_connected", "runtime_for", "wake_default"]

log = logging.getLogger("trimtab.runtime")

#: The budget of a flush at the end of a process, in seconds.
FLUSH_S = 0.25


class Runtime:
    """The parts of one process and service; made by `runtime_for`, safe from any thread."""

    def __init__(self, settings: AppSettings) -> None:
        self.settings = settings
        self.recorder = Recorder(settings.buffer_kib * 1024, settings.routes)
        self._emitter: Emitter | None = None
        self._vitals: Vitals | None = None
        self._lock = threading.Lock()
        self._address = _address(settings.agent)

    def wake(self) -> None:
        """Start the emitter when it does not run; called by the first request of a process.

        Never raises: a process that cannot start a thread goes on unmeasured, its buffer bounded.
        """
        try:
            with self._lock:
                if not self.recorder.asleep:
                    if self._vitals is not None:
                        self._vitals.watch_loop()
                    return
                self.recorder.asleep = False
                if self._address is None:
                    return
                emitter = self._emitter = self._new_emitter(self._address)
            # Without the lock: where threads are greenlets, others run while this one starts.
            emitter.start()
        except Exception:
            log.warning("trimtab could not start its thread", exc_info=True)

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Send everything recorded so far; tell whether that, or giving up, took no longer."""
        emitter = self._emitter
        return emitter is None or emitter.flush(timeout_s)

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
    def accounts(self) -> dict[str, int]:
        """Records sent, held and dropped by this process."""
        emitter = self._emitter
        if emitter is None:
            return {"sent": 0, "held": len(self.recorder.buffer) // 48, "dropped": 0}
        return emitter.accounts

    def after_fork(self) -> None:
        """Forget the parent's records, thread and connection; runs in the child of a fork."""
        emitter, self._emitter = self._emitter, None
        vitals, self._vitals = self._vitals, None
        self._lock = threading.Lock()
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
            interval_s=settings.interval_ms / 1000,
            backlog_bytes=settings.backlog_kib * 1024,
            peer_uids=_peer_uids(),
            token=settings.agent_token,
            probe=self._vitals.probe if self._vitals else None,
        )
        if self._vitals is not None:
            self._vitals.watch_loop()
        _flush_before_multiprocessing_ends()
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


_runtimes: dict[AppSettings, Runtime] = {}
_runtimes_lock = threading.Lock()


def runtime_for(settings: AppSettings) -> Runtime:
    """Return the runtime of this process for these settings; the same one for the same settings."""
    with _runtimes_lock:
        runtime = _runtimes.get(settings)
        if runtime is None:
            if not _runtimes:
                _install_hooks()
            runtime = _runtimes[settings] = Runtime(settings)
        return runtime


def is_connected() -> bool:
    """Tell whether an agent takes what this process sends."""
    return any(runtime.is_connected for runtime in list(_runtimes.values()))


def wake_default() -> None:
    """Have what this process measures sent, where no request does so: in workers of queues.

    Never raises; nothing is sent when measuring is off.
    """
    try:
        for runtime in list(_runtimes.values()):
            runtime.wake()
            return
        settings = read_settings()
        if settings.enabled:
            runtime_for(settings).wake()
    except Exception:
        log.warning("trimtab could not start", exc_info=True)


def flush_all() -> None:
    """Send everything and say bye; at the end of the process, safe to repeat."""
    for runtime in list(_runtimes.values()):
        runtime.stop()


def _install_hooks() -> None:
    atexit.register(flush_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _flush_before_multiprocessing_ends() -> None:
    # Its children leave by os._exit: of what is registered, they run its own finalizers alone.
    module = sys.modules.get("multiprocessing.util")
    if module is not None:
        module.Finalize(None, flush_all, exitpriority=0)


def _after_fork() -> None:
    global _runtimes_lock
    _runtimes_lock = threading.Lock()
    close_all()
    for runtime in _runtimes.values():
        runtime.after_fork()


def _address(text: str) -> Address | None:
    try:
        return parse_address(text or default_socket())
    except SettingsError as error:
        log.warning("TRIMTAB_AGENT: %s; requests go on unmeasured", error)
        return None


def _peer_uids() -> frozenset[int]:
    # The app obeys only root and its own user.
    return frozenset({0, os.getuid()}) if hasattr(os, "getuid") else frozenset()
