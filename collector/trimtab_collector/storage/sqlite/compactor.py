"""One run of the compactor over a data directory, in a separate process or in the caller's.

Its driver takes each step, keeps readers waiting while the step is committed and metrics.db is
changed, and only then asks for the next one.
"""

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trimtab_collector.storage.sqlite.compaction import Prepared, units
from trimtab_collector.storage.sqlite.consolidation import consolidations, drops
from trimtab_collector.storage.sqlite.tiers import Tier, files_of
from trimtab_collector.storage.sqlite.writers import Writers
from trimtab_core.errors import StartupError
from trimtab_core.logs import RateLimited

__all__ = ["METRICS", "Compactor", "locked"]

logger = logging.getLogger("trimtab.compaction")

#: the file of journal, measures, events and accounting
METRICS: Final = "metrics.db"
_LOCK: Final = "compaction.lock"
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
#: once a period is over, sets of chunks that came late wait this long to be merged
_AGAIN_S: Final = 600.0


@contextmanager
def locked(directory: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock on tier files.

    Raises StartupError if another process keeps it too long, or if it is no file of one's own.
    """
    path = directory / _LOCK
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise StartupError(
            f"expected a file that can be locked at {path}, got: {error.strerror}; remove it"
        ) from error
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise StartupError(
                        f"expected {directory} to be at rest, a compaction or backup works in it: "
                        "wait for it to end, then try again"
                    ) from error
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


class Compactor:
    """Merges, consolidates and drops; one thread, whose caller holds `locked`."""

    def __init__(self, directory: Path, max_series: int, max_bytes: int = 0) -> None:
        self._directory = directory
        self._max_series = max_series
        #: of the whole store, 0 for no limit; may be changed between two runs
        self.max_bytes = max_bytes
        self._log = RateLimited(logger)
        self._writers = Writers()
        self._consolidated: dict[Path, float] = {}
        #: what this run could not do, and why; empty if it did all
        self.failed: dict[str, str] = {}
        self._is_first = True

    def steps(self, now_s: float, cutoff_s: int, floors: Mapping[str, int]) -> Iterator[Prepared]:
        """Yield prepared steps until nothing is due; floors are those of Retention.floors.

        cutoff_s is the start of what memory still holds. Raises sqlite3.Error and OSError if the
        disk refuses a write: nothing is left half done, and the next run continues. An hour or a
        file that fails in any other way is left as it is, named in `failed`, and the rest goes on.
        """
        self.failed.clear()
        path = self._directory / METRICS
        journal = sqlite3.connect(path, isolation_level=None, timeout=5)
        try:
            journal.execute("PRAGMA query_only = ON")
            # First, because it frees space on a full disk and needs none.
            kept = dict(floors)
            for step, commit in drops(
                self._directory, self._writers, floors, now_s, self.max_bytes, self._log
            ):
                kept |= {name: max(kept[name], floor) for name, floor in step.floors.items()}
                yield step, commit
            # At first all: what an earlier process had in memory is now read from the journal.
            yield from units(
                journal,
                self._writers,
                self._max_series,
                self._directory,
                cutoff_s,
                kept,
                all_of_it=self._is_first,
                on_failure=self._note,
            )
            self._is_first = False
            for tier, start_s, file in list(files_of(self._directory)):
                if self._is_due(tier, start_s, file, kept):
                    self._consolidated[file] = time.monotonic()
                    try:
                        yield from consolidations(self._writers, file, tier, cutoff_s, self._log)
                    except (sqlite3.Error, OSError):
                        raise
                    except Exception as error:  # noqa: BLE001 - one file; the others go on
                        self._note(file.name, error)
        finally:
            journal.close()
            self._writers.close()

    def _note(self, what: str, error: Exception) -> None:
        """Set aside what cannot be done, until the next run tries it again."""
        why = self.failed[what] = f"{type(error).__name__}: {error!s:.200}"
        self._log.warning(what, "%s is left as it is for now: %s", what, why)
        logger.debug("it raised", exc_info=error)

    def _is_due(self, tier: Tier, start_s: int, file: Path, floors: Mapping[str, int]) -> bool:
        """Return whether to look at a file: at the start all, later those that were written."""
        if tier.span(start_s)[1] <= floors[tier.name] or not file.stat().st_size:
            return False
        before = self._consolidated.get(file)
        if before is None:
            return True
        if file not in self._writers.touched or time.monotonic() - before < _AGAIN_S:
            return False
        self._writers.touched.discard(file)
        return True
