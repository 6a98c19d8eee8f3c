"""Gauges of this process, read once per second by the emitter's thread.

Reading them costs about 15 us. The delay of the event loop is measured from outside: at each of its
turns the thread posts a callback into the loop and sees how long that takes, so a loop that is
blocked shows while it is. The gauge has the longest delay since it was last read.
"""

import gc
import os
import sys
import threading
from io import FileIO
from time import monotonic, process_time, thread_time
from typing import Any

from trimtab.recorder import Recorder

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["Vitals"]

_FDS_EVERY = 10
_PAGE = os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 4096


class Vitals:
    """Reads the process; `read`, `probe` belong to one thread, `watch_loop` to the loop's own."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._app_thread = threading.get_native_id()
        self._started = monotonic()
        self._cpu: tuple[float, float] | None = None
        self._own: tuple[float, float] | None = None
        self._turn = 0
        self._fds: int | None = None
        self._loop: Any = None  # the asyncio loop, whose module an app may not have loaded
        self._ping: float | None = None
        self._delay_s = 0.0
        self._gc_pause_s = 0.0
        self._gc_started = 0.0
        self._statm = _open_statm()
        #: one object: each look at a method makes another, which is told from others by `==` alone
        self._hook = self._on_gc
        gc.callbacks.append(self._hook)

    def watch_loop(self) -> None:
        """Measure the loop that runs here; does nothing outside one."""
        asyncio = sys.modules.get("asyncio")  # a loop that runs here was made by it
        if asyncio is not None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return
            if loop is not self._loop:
                # What an older loop still has of us, it may never run.
                self._loop, self._ping = loop, None

    def close(self) -> None:
        """Take the collector's hook out again and close the file; a fork's child does so, too."""
        # Not `in` and `remove`: callbacks of the app may raise where they are compared.
        for at, each in enumerate(gc.callbacks):
            if each is self._hook:
                del gc.callbacks[at]
                break
        if self._statm is not None:
            self._statm.close()

    def probe(self) -> None:
        """Post a callback into the loop if the last one has run; called a few times per second."""
        loop = self._loop
        if loop is None or self._ping is not None:
            return
        self._ping = monotonic()
        try:
            loop.call_soon_threadsafe(self._pong, self._ping)
        except RuntimeError:  # closed meanwhile
            self._loop = self._ping = None

    def read(self) -> dict[str, float]:
        """Return the gauges by catalogue name; what cannot be read is absent."""
        now = monotonic()
        values: dict[str, float] = {
            "http.server.active_requests": self._recorder.in_flight(),
            "trimtab.app.websockets": max(0, self._recorder.websockets),
            "trimtab.app.websocket.received": self._recorder.messages_received,
            "trimtab.app.websocket.sent": self._recorder.messages_sent,
            "trimtab.app.event_streams": max(0, self._recorder.event_streams),
            "process.uptime": now - self._started,
            "process.thread.count": threading.active_count(),
            "cpython.gc.collections": sum(each["collections"] for each in gc.get_stats()),
            "cpython.gc.pause.time": self._gc_pause_s,
        }
        times = os.times()
        values["process.cpu.time.user"] = times.user
        values["process.cpu.time.system"] = times.system
        values["cpython.memory.blocks"] = sys.getallocatedblocks()
        if resource is not None:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            values["process.context_switches"] = usage.ru_nivcsw
            values["process.paging.faults"] = usage.ru_majflt
        self._cpu = _rate(values, "process.cpu.utilization", self._cpu, now, process_time())
        if threading.get_native_id() != self._app_thread:  # a greenlet has no CPU time of its own
            self._own = _rate(values, "trimtab.app.overhead", self._own, now, thread_time())
        memory = _resident_bytes(self._statm)
        if memory is not None:
            values["process.memory.usage"] = memory
        if self._turn % _FDS_EVERY == 0:
            self._fds = _count_fds()
        self._turn += 1
        if self._fds is not None:
            values["process.unix.file_descriptor.count"] = self._fds
        delay = self._loop_delay(now)
        if delay is not None:
            values["trimtab.app.loop_delay"] = delay
        return values

    def _loop_delay(self, now: float) -> float | None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return None
        delay, self._delay_s = self._delay_s, 0.0
        ping = self._ping  # still out: the loop is blocked
        return delay if ping is None else max(delay, now - ping)

    def _pong(self, sent: float) -> None:
        self._delay_s = max(self._delay_s, monotonic() - sent)
        self._ping = None

    def _on_gc(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_started = monotonic()
        else:
            self._gc_pause_s += monotonic() - self._gc_started


def _rate(
    values: dict[str, float],
    name: str,
    before: tuple[float, float] | None,
    now: float,
    total: float,
) -> tuple[float, float]:
    if before is not None and now > before[0]:
        values[name] = max(0.0, (total - before[1]) / (now - before[0]))
    return now, total


def _open_statm() -> FileIO | None:
    """Return the file of this process's memory, kept open: opening it costs more than reading."""
    try:
        return FileIO("/proc/self/statm")
    except OSError:
        return None


def _resident_bytes(statm: FileIO | None) -> float | None:
    try:
        return None if statm is None else int(os.pread(statm.fileno(), 64, 0).split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):  # ValueError: closed meanwhile
        return None


def _count_fds() -> int | None:
    if sys.platform != "linux":
        return None
    try:
        # Since Linux 6.2, and without a descriptor that the child of a fork would keep.
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return None
