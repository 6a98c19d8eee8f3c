"""Keeps the compaction worker running and applies its steps, in a thread of the collector.

A worker that ends is started again, after pauses that grow. Nothing is lost by that, since the
journal waits. Without compaction the collector goes on, says so in /health, and accepts no more
batches once the journal is full.
"""

import contextlib
import logging
import select
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Final

import msgspec

from trimtab_collector.storage.sqlite.tiering import Tiering
from trimtab_collector.storage.sqlite.worker import (
    GO,
    NEXT,
    CompactionRun,
    Done,
    Failed,
    Idle,
    Said,
    Setup,
    Told,
)
from trimtab_collector.storage.store import UnavailableError
from trimtab_core.logs import RateLimited

__all__ = ["Supervisor"]

logger = logging.getLogger("trimtab.compaction")

_EVERY_S: Final = 30.0
_TIDY_S: Final = 10.0
#: pauses before a failed worker is started again
_LEAST_S: Final = 1.0
_MOST_S: Final = 60.0
#: time for a worker to finish when the collector stops; killing it at any time is safe, too
_STOP_S: Final = 1.0
#: readers wait during a commit; a worker that takes this long is killed
_COMMIT_S: Final = 20.0


class _EndedError(Exception):
    """The worker has ended, or sent a message that makes no sense."""


class _Worker:
    """The process and the pipes to and from it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "trimtab_collector.storage.sqlite.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self.pid = self._process.pid
        self._poll = select.poll()
        self._poll.register(self._pipe("stdout"), select.POLLIN)

    def send(self, line: bytes) -> None:
        """Send a line; raises _EndedError."""
        pipe = self._pipe("stdin")
        try:
            pipe.write(line + b"\n")
            pipe.flush()
        except (OSError, ValueError) as error:
            raise _EndedError(f"its process has ended ({self._process.poll()})") from error

    def hear(self, timeout_s: float | None = None) -> Said:
        """Return the next message of the worker; raises _EndedError."""
        if timeout_s is not None and not self._poll.poll(timeout_s * 1000):
            self._process.kill()
            raise _EndedError(f"its process took over {timeout_s:g} s for a commit and was killed")
        line = self._pipe("stdout").readline()
        if not line:
            raise _EndedError(f"its process has ended ({self._process.poll()})")
        said: Said = msgspec.json.decode(line, type=Said)
        return said

    def end(self) -> None:
        """Kill the process; from any thread, may be repeated."""
        with contextlib.suppress(OSError, ValueError):
            self._pipe("stdin").close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Close the pipes; for the thread that reads them."""
        self._pipe("stdout").close()

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] | None = getattr(self._process, name)
        if pipe is None:
            raise _EndedError("its process has no pipes")
        return pipe


class Supervisor:
    """Runs the worker; `start` and `stop` are for the owner of the store."""

    def __init__(
        self, tiering: Tiering, setup: Setup, clock: Callable[[], float] = time.time
    ) -> None:
        self._tiering = tiering
        self._setup = setup
        self._clock = clock
        self._stop = threading.Event()
        self._due = threading.Event()
        self._guard = threading.Lock()
        self._child: _Worker | None = None
        self._threads = [
            threading.Thread(target=self._supervise, name="trimtab-compact"),
            threading.Thread(target=self._tidy, name="trimtab-tidy"),
        ]
        self._log = RateLimited(logger)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Check now for what is due; from any thread."""
        self._due.set()

    def stop(self) -> None:
        """End worker and threads; may be called without `start`, and repeatedly."""
        with self._guard:
            self._stop.set()
            self._due.set()
            child = self._child
        if child is not None:
            child.end()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _supervise(self) -> None:
        pause_s = _LEAST_S
        while not self._stop.is_set():
            try:
                self._serve(self._started())
                pause_s = _LEAST_S
            except Exception as error:
                if self._stop.is_set():
                    break
                if not isinstance(error, (_EndedError, OSError, msgspec.MsgspecError)):
                    logger.exception("the thread that drives compaction did not expect this")
                why = self._tiering.trouble = f"compaction does not work: {error}"
                self._log.warning("worker", "%s; tried again in %.0f s", why, pause_s)
                self._let_go()
                self._pause(pause_s)
                pause_s = min(_MOST_S, 2 * pause_s)
        self._let_go()

    def _started(self) -> _Worker:
        with self._guard:
            if self._child is not None:
                return self._child
            if self._stop.is_set():
                raise _EndedError("the collector is stopping")
            self._child = _Worker()
            self._tiering.worker = self._child.pid
        self._child.send(msgspec.json.encode(self._setup))
        return self._child

    def _serve(self, child: _Worker) -> None:
        """Ask for one run and apply its steps, then wait for the next run."""
        now_s, begun_s = self._clock(), time.monotonic()
        age_s = min(now_s, self._tiering.floors.age_s())
        run = CompactionRun(
            age_s,
            self._tiering.cutoff_s(now_s),
            dict(self._tiering.floors()),
            self._tiering.max_bytes,
        )
        child.send(msgspec.json.encode(run))
        batches = 0
        while not isinstance(said := child.hear(), Idle):
            if isinstance(said, Failed):
                self._tiering.trouble = f"compaction waits: {said.why}"
                self._log.warning("failed", "%s", self._tiering.trouble)
                self._pause(_EVERY_S)
                return
            if not isinstance(said, Told):
                raise _EndedError(f"expected a step of the worker, got {said!r:.80}")
            self._take(child, said)
            batches += len(said.step.journal)
        if batches:
            logger.debug("compacted batches=%d seconds=%.2f", batches, time.monotonic() - begun_s)
        try:
            self._tiering.release(run.cutoff_s)
        except (sqlite3.Error, UnavailableError) as error:
            self._log.warning("release", "what is merged stays in memory for now: %s", error)
        trouble = self._tiering.retire(age_s)
        self._tiering.trouble = f"compaction left out {said.failed}" if said.failed else trouble
        self._pause(_EVERY_S)

    def _take(self, child: _Worker, told: Told) -> None:
        """Have a step committed and apply it, while readers wait."""
        with self._tiering.publication.moving():
            self._tiering.announce(told.step)
            child.send(GO)
            said = child.hear(_COMMIT_S)
            if not isinstance(said, Done):
                raise _EndedError(f"expected a commit of the worker, got {said!r:.200}")
            try:
                self._tiering.apply(told.step)
            except (sqlite3.Error, UnavailableError) as error:
                # Rows are in tiers and journal now, and marked: the next worker deletes them.
                raise _EndedError(f"the journal cannot be written: {error}") from error
        child.send(NEXT)

    def _pause(self, seconds: float) -> None:
        self._due.wait(seconds)
        self._due.clear()

    def _let_go(self) -> None:
        with self._guard:
            child, self._child = self._child, None
            self._tiering.worker = None
        if child is not None:
            child.end()
            child.close()

    def _tidy(self) -> None:
        while not self._stop.wait(_TIDY_S):
            try:
                self._tiering.tidy(self._clock())
                self._tiering.untidy = ""
            except Exception as error:
                logger.exception("summing up the latest windows failed and is tried again")
                self._tiering.untidy = f"memory is not tidied: {error!r:.200}"
