"""The changes in metrics.db and in memory when batches move from the journal into tiers.

A `Supervisor` drives this with a worker process; `compact` does the same in the caller's thread.
"""

import contextlib
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from trimtab_collector.storage.accounting import AccountingTable, Retirement, Staged
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.sqlite.accounting import book_unreadable, retire_processes
from trimtab_collector.storage.sqlite.ageclock import AgeClock
from trimtab_collector.storage.sqlite.amountrolls import drop_amounts, roll_up_amounts
from trimtab_collector.storage.sqlite.aside import Aside
from trimtab_collector.storage.sqlite.committer import Committer
from trimtab_collector.storage.sqlite.compaction import Step
from trimtab_collector.storage.sqlite.compactor import METRICS, Compactor, locked
from trimtab_collector.storage.sqlite.events import EventTable
from trimtab_collector.storage.sqlite.facts import note_facts, set_facts
from trimtab_collector.storage.sqlite.head import RECENT_S
from trimtab_collector.storage.sqlite.indexes import mend_large_indexes
from trimtab_collector.storage.sqlite.journal import lose
from trimtab_collector.storage.sqlite.measures import MeasureTable
from trimtab_collector.storage.sqlite.memory import Memory
from trimtab_collector.storage.sqlite.planes import ChunkError
from trimtab_collector.storage.sqlite.reading import Reader
from trimtab_collector.storage.sqlite.repeats import note_merged
from trimtab_collector.storage.sqlite.schema import open_metrics
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.store import Received, UnavailableError
from trimtab_core.logs import RateLimited

__all__ = ["FLOOR", "JournalSize", "Tiering"]

logger = logging.getLogger("trimtab.compaction")

#: slices of measures rolled up per run
_MOST_ROLLS: Final = 50
#: names of merged batches are kept longer than late windows are accepted (7 days)
_SEEN_S: Final = 8 * 24 * 3600
FLOOR: Final = "floor_"


#: changes of the accounting, and rows that were set aside; None if nothing was unreadable
_Applied = tuple[tuple[Staged, Retirement], Mapping[str, int]] | None


class JournalSize:
    """Batches in the journal and their bytes; any thread."""

    def __init__(self, batches: int, size_bytes: int) -> None:
        self._guard = threading.Lock()
        self.batches = batches
        self.size_bytes = size_bytes

    def add(self, received: Sequence[Received]) -> None:
        """Count batches that have become durable."""
        self.change(len(received), sum(len(each.raw) for each in received))

    def change(self, batches: int, size_bytes: int) -> None:
        """Add to both."""
        with self._guard:
            self.batches += batches
            self.size_bytes += size_bytes


class Floors:
    """The time from which on each tier holds everything; any thread."""

    def __init__(self, facts: Mapping[str, int], retention: Retention, clock: AgeClock) -> None:
        self._dropped = {
            name.removeprefix(FLOOR): value
            for name, value in facts.items()
            if name.startswith(FLOOR)
        }
        #: may be replaced at any time
        self.retention = retention
        #: the time by which it is judged what is too old
        self.age_s = clock

    def __call__(self) -> Mapping[str, int]:
        """Return the floor of each tier by name, epoch seconds."""
        return self.retention.floors(self.age_s(), dict(self._dropped))

    def raise_to(self, floors: Mapping[str, int]) -> Mapping[str, int]:
        """Note the new floors of files deleted for lack of space, and return them as facts."""
        for tier, floor_s in floors.items():
            self._dropped[tier] = max(floor_s, self._dropped.get(tier, 0))
        return {FLOOR + tier: self._dropped[tier] for tier in floors}


class Tiering:
    """Applies the steps of a compactor; one thread at a time, not the loop's."""

    def __init__(
        self,
        directory: Path,
        floors: Floors,
        memory: Memory,
        reader: Reader,
        committer: Committer,
        journal: JournalSize,
        tables: tuple[AccountingTable, MeasureTable, EventTable],
        oldest: Callable[[], int | None],
        aside: Aside,
    ) -> None:
        self.aside = aside
        self._directory = directory
        self.floors = floors
        #: of the whole store, 0 for no limit; may be changed at any time
        self.max_bytes = 0
        self._memory = memory
        self._reader = reader
        self._known = reader.known
        self._committer = committer
        self._journal = journal
        self._accounting, self._measures, self._events = tables
        self._oldest = oldest
        self._log = RateLimited(logger)
        #: floors that the disk had no space to store
        self._unsaved: dict[str, int] = {}
        #: the indexes of measures and events were compared with their tables
        self._is_compared = False
        #: of metrics.db at the last look
        self._metrics_bytes = 0
        #: why compaction does not work, and the id of its process: set by the driver
        self.trouble = ""
        #: why memory was not tidied, else empty
        self.untidy = ""
        self.worker: int | None = None
        self.publication = reader.publication

    def cutoff_s(self, now_s: float) -> int:
        """Return the time before which to merge: what memory need not or cannot hold.

        It is a full minute, so that no minute is merged in two steps.
        """
        cutoff_s = max(int(now_s) - RECENT_S - WINDOW_S, self._memory.recent.floor_s)
        return cutoff_s - cutoff_s % 60

    def announce(self, step: Step) -> None:
        """Note the floors of tiers that a step will change, before it is committed.

        This needs no space: on a full disk they are kept in memory and stored with a later step.
        """
        self._unsaved.update(self.floors.raise_to(step.floors))
        try:
            if self._unsaved:
                self._committer.run(lambda connection: note_facts(connection, self._unsaved))
                self._unsaved.clear()
        except (sqlite3.Error, UnavailableError) as error:
            self._log.warning("floors", "what is dropped cannot be noted yet: %s", error)

    def apply(self, step: Step) -> None:
        """Change metrics.db after a step was committed.

        Raises sqlite3.Error if the disk refuses the write: the step is then repeated.
        """
        for name, why in step.damaged.items():
            self._reader.damaged(self._directory / name, ChunkError(why))
        if step.what == "drop":
            self._reader.files.let_go()
            # There may be space now.
            self.announce(step)
        elif step.journal:
            self._committer.run(partial(self._apply, step), partial(self._applied, step))
        self._journal.change(-len(step.journal), -step.size_bytes)

    def _apply(self, step: Step, connection: sqlite3.Connection) -> _Applied:
        lost: Counter[tuple[str, str]] = Counter()
        behind: Counter[tuple[str, str]] = Counter()
        for number, why in step.unreadable:
            for service, (requests, backgrounds) in lose(connection, number, why).items():
                lost[service] += requests
                behind[service] += backgrounds
        connection.executemany("DELETE FROM journal WHERE id = ?", [(row,) for row in step.journal])
        note_merged(connection, step.seen)
        note_facts(connection, {"merged_before_s": step.merged_before_s})
        self._known.add(connection, step.files, len(step.journal))
        if not step.unreadable:
            return None
        both = {service: (lost[service], behind[service]) for service in lost}
        booked = book_unreadable(connection, self._accounting, both)
        return booked, self.aside.count(connection)

    def _applied(self, step: Step, applied: _Applied) -> None:
        self._known.confirm(step.files, len(step.journal))
        if applied is not None:
            (staged, retirement), rows = applied
            self._accounting.confirm(staged)
            self._accounting.retire(retirement)
            self.aside.confirm(rows)

    def release(self, cutoff_s: int) -> None:
        """Drop the windows from memory that tiers hold, after a run to cutoff_s."""
        left_s = self._oldest()
        floor_s = cutoff_s if left_s is None else min(cutoff_s, left_s)
        # A full minute, so that reads below it find whole minutes in the tiers.
        self._memory.release(floor_s - floor_s % 60)

    def retire(self, now_s: float) -> str:
        """Delete old names of batches, silent processes, and names without data.

        Returns which of this failed and why, empty if nothing did. What fails keeps nothing else
        from being done, and is tried again.
        """
        run, measures = self._committer.run, self._measures

        def drop(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM seen WHERE t < ?", (int(now_s) - _SEEN_S,))
            drop_amounts(connection, now_s)
            self._events.drop(connection, now_s)

        def roll_up() -> None:
            for _ in range(_MOST_ROLLS):
                if not run(partial(roll_up_amounts, now_s=now_s)):
                    break

        retire = partial(retire_processes, table=self._accounting)
        forget = partial(measures.forget, now_s=now_s)
        trouble = ""
        for what, work in (
            # What a wrong clock stores from now on must not vouch for it at the next start.
            ("noting the time", lambda: run(partial(set_facts, facts=self.floors.age_s.facts()))),
            ("looking at metrics.db", self._look_whole),
            # A row that an index has twice would be rolled up twice.
            ("comparing indexes", self._compare_indexes),
            ("dropping what is too old", lambda: run(drop)),
            ("forgetting deleted files", self._forget_files),
            ("adding up processes", lambda: run(retire, self._accounting.retire)),
            ("forgetting agents", self._committer.forget_origins),
            ("forgetting measures", lambda: run(forget, measures.confirm_forgotten)),
            ("rolling up measures", roll_up),
            ("counting what is set aside", lambda: run(self.aside.count, self.aside.confirm)),
        ):
            try:
                work()
            except Exception as error:
                if not isinstance(error, (sqlite3.Error, UnavailableError)):
                    logger.exception("%s raised", what)
                self._log.warning(what, "%s failed and is tried again: %s", what, error)
                trouble = trouble or f"{what} failed: {error!r:.200}"
        with self.publication.moving():
            # Files that were deleted while a read had them open.
            self._reader.files.let_go()
        return trouble

    def _look_whole(self) -> None:
        """Raise sqlite3.DatabaseError where the file is smaller than it was: it never shrinks.

        SQLite keeps pages in memory, and would not notice until it reads one that is gone. The file
        is not opened: to close it again would end the locks that SQLite has on it.
        """
        path = self._directory / METRICS
        size = path.stat().st_size
        if size < self._metrics_bytes:
            raise sqlite3.DatabaseError(
                f"expected at least {self._metrics_bytes} bytes in {path}, got {size}: something "
                "has cut it; stop the collector and restore a backup"
            )
        self._metrics_bytes = size

    def _forget_files(self) -> None:
        """Forget files that retention has deleted; a look at the others tells which are missing."""
        self._known.missing()
        if gone := self._known.too_old():
            self._committer.run(
                lambda connection: self._known.drop(connection, gone),
                lambda _: self._known.confirm_dropped(gone),
            )

    def _compare_indexes(self) -> None:
        """Compare the indexes of measures and events once: at the start it would take too long."""
        if self._is_compared:
            return
        with contextlib.closing(open_metrics(self._directory / METRICS)) as connection:
            self.aside.tell(mend_large_indexes(connection, self._committer.run))
        self._is_compared = True

    def tidy(self, now_s: float) -> None:
        """Prepare memory for readers, and drop what is not used; any thread."""
        self._memory.tidy(now_s)

    def compact(self, compactor: Compactor, now_s: float) -> int:
        """Take all steps that are due; returns the number of batches merged."""
        self.tidy(now_s)
        total = 0
        with locked(self._directory, 10):
            cutoff_s = self.cutoff_s(now_s)
            age_s = min(now_s, self.floors.age_s())
            for step, commit in compactor.steps(age_s, cutoff_s, self.floors()):
                with self.publication.moving():
                    self.announce(step)
                    commit()
                    self.apply(step)
                total += len(step.journal)
        self.release(cutoff_s)
        self.trouble = self.retire(age_s)
        return total
