"""The compactor as a separate process, so that long work never delays ingest.

It exchanges lines of JSON with the collector over stdin and stdout and ends with it. It announces a
step, commits it only on `go`, and begins the next one only when the collector has applied it:

    collector -> {"directory", "max_series", "log_level"}           once
    collector -> {"now_s", "cutoff_s", "floors", "max_bytes"}       a run
    worker    -> {"type": "step", ...}    collector -> "go"         readers wait now
    worker    -> {"type": "done"}         collector -> "next"       metrics.db has changed
    worker    -> {"type": "idle", "failed"} or {"type": "failed", "why"}      the run is over
"""

import contextlib
import logging
import os
import sqlite3
import sys
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from trimtab_collector.storage.sqlite.compaction import Step
from trimtab_collector.storage.sqlite.compactor import Compactor, locked
from trimtab_core import logs
from trimtab_core.errors import StartupError

__all__ = ["GO", "NEXT", "CompactionRun", "Done", "Failed", "Idle", "Said", "Setup", "Told", "main"]

logger = logging.getLogger("trimtab.compaction")

GO: Final = b"go"
NEXT: Final = b"next"
#: time to wait for a backup, or for the worker of a collector that has just ended
_LOCK_S: Final = 30.0
_NICE: Final = 5


class Setup(msgspec.Struct):
    """The first line to a worker."""

    directory: str
    max_series: int
    log_level: str


class CompactionRun(msgspec.Struct):
    """Ask a worker to do all that is due."""

    now_s: float
    cutoff_s: int
    floors: dict[str, int]
    max_bytes: int


class Told(msgspec.Struct, tag="step"):
    """A step is prepared and waits for `go`."""

    step: Step


class Done(msgspec.Struct, tag="done"):
    """The step is committed and waits for `next`."""


class Idle(msgspec.Struct, tag="idle"):
    """Nothing more is due; `failed` names what could not be done and was set aside."""

    failed: str = ""


class Failed(msgspec.Struct, tag="failed"):
    """The run ended early; the next one continues from there."""

    why: str


Said = Told | Done | Idle | Failed


class _GoneError(Exception):
    """The collector has ended, or wants no more of this run."""


class _Line:
    """The pipes from and to the collector."""

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self.source = source
        self._target = target

    def say(self, message: Said) -> None:
        self._target.write(msgspec.json.encode(message) + b"\n")
        self._target.flush()

    def expect(self, word: bytes) -> None:
        if self.source.readline().strip() != word:
            raise _GoneError


def main() -> int:
    """Serve one collector until it closes stdin; returns the exit code."""
    # A print anywhere must not get into the messages.
    line = _Line(sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    first = line.source.readline()
    if not first:
        return 0
    setup = msgspec.json.decode(first, type=Setup)
    logs.configure(setup.log_level)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    directory = Path(setup.directory)
    compactor = Compactor(directory, setup.max_series)
    try:
        while ask := line.source.readline():
            run = msgspec.json.decode(ask, type=CompactionRun)
            compactor.max_bytes = run.max_bytes
            try:
                # Only while it works, so that a backup can lock the files in between.
                with locked(directory, _LOCK_S):
                    _run(compactor, run, line)
            except StartupError as error:
                line.say(Failed(str(error)))
    except (_GoneError, BrokenPipeError):
        logger.debug("the collector has gone")
    return 0


def _run(compactor: Compactor, run: CompactionRun, line: _Line) -> None:
    try:
        for step, commit in compactor.steps(run.now_s, run.cutoff_s, run.floors):
            line.say(Told(step))
            line.expect(GO)
            commit()
            line.say(Done())
            line.expect(NEXT)
    except (_GoneError, BrokenPipeError):
        raise
    except Exception as error:  # a failing step ends the run, never the worker
        if not isinstance(error, (sqlite3.Error, OSError)):
            logger.exception("a step of compaction failed")
        line.say(Failed(f"{type(error).__name__}: {error!s:.300}"))
    else:
        failed = "; ".join(f"{what}: {why}" for what, why in compactor.failed.items())
        line.say(Idle(failed[:500]))


if __name__ == "__main__":
    sys.exit(main())
