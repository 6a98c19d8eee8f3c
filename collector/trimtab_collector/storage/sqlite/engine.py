"""The engine for one machine: a locked directory with SQLite files.

`metrics.db` holds batches as they came (`journal`), the sequence numbers of merged ones (`seen`),
measures, events and the accounting. Everything that a batch changes is in one transaction with it,
and with synchronous=FULL a commit is on the disk when it returns. Merged batches are in tier files
beside it (`tiers`), which a compactor writes and which are never attached to one another.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from trimtab_collector.room import hold_room, opened_with_room
from trimtab_collector.storage.accounting import AccountingTable
from trimtab_collector.storage.commits import tell
from trimtab_collector.storage.sqlite.accounting import load_accounting
from trimtab_collector.storage.sqlite.ageclock import AgeClock, newest_data_s
from trimtab_collector.storage.sqlite.aside import Aside
from trimtab_collector.storage.sqlite.committer import Committer
from trimtab_collector.storage.sqlite.compactor import METRICS, Compactor
from trimtab_collector.storage.sqlite.consolidation import chunks_aside
from trimtab_collector.storage.sqlite.events import EventTable
from trimtab_collector.storage.sqlite.facts import (
    identity_of_journal,
    read_facts,
    renew_identity,
)
from trimtab_collector.storage.sqlite.gaugehistory import GaugeReader
from trimtab_collector.storage.sqlite.health import SQLiteHealth
from trimtab_collector.storage.sqlite.indexes import mend_indexes
from trimtab_collector.storage.sqlite.journal import JOURNAL_ROW
from trimtab_collector.storage.sqlite.knownfiles import KnownFiles
from trimtab_collector.storage.sqlite.measures import MeasureTable
from trimtab_collector.storage.sqlite.memory import Memory
from trimtab_collector.storage.sqlite.periods import MergedPeriods
from trimtab_collector.storage.sqlite.reading import Reader
from trimtab_collector.storage.sqlite.repeats import set_broken_aside
from trimtab_collector.storage.sqlite.rereading import read_again
from trimtab_collector.storage.sqlite.schema import (
    highest_given,
    migrate,
    open_metrics,
    refuse,
)
from trimtab_collector.storage.sqlite.supervisor import Supervisor
from trimtab_collector.storage.sqlite.tierfacts import highest_of, strangers
from trimtab_collector.storage.sqlite.tierfile import DAMAGED
from trimtab_collector.storage.sqlite.tiering import Floors, JournalSize, Tiering
from trimtab_collector.storage.sqlite.tiers import EVERY, Retention, files_of
from trimtab_collector.storage.sqlite.worker import Setup
from trimtab_collector.storage.store import (
    Admit,
    CommitListener,
    EventSelection,
    GaugeRows,
    GaugeSelection,
    LatestGauge,
    MeasurePart,
    MeasureSelection,
    Numbered,
    Received,
    Rows,
    Selection,
    ServiceAccounting,
    UnavailableError,
)
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.batches import Batch, SeriesKey
from trimtab_core.claim import claim
from trimtab_core.errors import StartupError
from trimtab_core.measures import MeasureKey
from trimtab_core.rows import EventRow

__all__ = ["SQLiteStore"]

logger = logging.getLogger("trimtab.store")


class SQLiteStore:
    """A Store in one directory, which it makes and locks; see the Protocol for each method.

    kept_from_buckets is the size from which on a block of a file stays in memory as it was merged.
    waits is for a collector: on a full disk it waits for room to open its files. With steady, a
    clock that only passes, nothing is deleted because the other one jumped (`AgeClock`). Raises
    StartupError if the directory cannot be used or another collector has locked it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        queue_bytes: int = 32 * 1024 * 1024,
        journal_bytes: int = 4 * 1024**3,
        recent_bytes: int = 32 * 1024 * 1024,
        retention: Retention | None = None,
        max_bytes: int = 0,
        max_series: int = 200_000,
        kept_from_buckets: int = 5_000,
        log_level: str = "info",
        waits: bool = False,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
    ) -> None:
        self.directory = directory
        self._waits = waits
        self._clock = clock
        self._most_journal_bytes = journal_bytes
        self._setup = Setup(str(directory), max_series, log_level)
        self._lock = claim(
            directory,
            what="a collector's data",
            process="collector",
            instead="choose another with --data-dir",
        )
        self._path = directory / METRICS
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._listeners: list[CommitListener] = []
        self.over = SenderTally()
        self._accounting = AccountingTable(self.over)
        self._aside = Aside()
        self._measures = MeasureTable(self._aside, self.over)
        self._events = EventTable(self._aside, self.over)
        try:
            self._writer = opened_with_room(directory, self._opened, waits=waits)
            facts = self._load()
        except (sqlite3.Error, UnicodeDecodeError, StartupError) as error:
            os.close(self._lock)
            refuse(self._path, error)
        if waits:
            hold_room(directory)
        identity = identity_of_journal(self._writer)
        if not identity:
            self._aside.tell("the identity of the journal was lost: it has a new one")
            logger.warning("%s: its identity was lost, it has a new one", self._path)
            identity = renew_identity(self._writer)
        elif highest_of(files_of(directory), identity) > highest_given(self._writer):
            # A copy of metrics.db from before was put back: marks would hide what comes now.
            identity = renew_identity(self._writer)
        self._strangers = strangers(files_of(directory), identity)
        self._chunks_aside = chunks_aside(files_of(directory))
        merged_before_s = facts.get("merged_before_s", 0)
        if self._strangers:
            # What another metrics.db knew is only in these files: memory answers from now on.
            merged_before_s = max(merged_before_s, int(clock()) // 60 * 60)
        newest_s = newest_data_s(self._writer, files_of(directory), clock())
        ages = AgeClock(clock, steady, newest_s, facts)
        floors = Floors(facts, retention or Retention(), ages)
        known = KnownFiles(directory, facts, floors, self._writer)
        self.memory = Memory(
            max_series, recent_bytes, clock, merged_before_s, self._aside, self.over
        )
        self._reads = Reader(
            directory, identity, self.memory.recent, self.memory.live, self._reader, floors,
            MergedPeriods(kept_from_buckets), self._aside, known, highest_given(self._writer),
        )  # fmt: skip
        self._gauge_reader = GaugeReader(self._reads, self.memory.gauges)
        self._replay()
        self._committer = Committer(
            self._writer,
            self._accounting,
            self._measures,
            self._events,
            self._committed,
            queue_bytes,
        )
        self.tiering = Tiering(
            directory,
            floors,
            self.memory,
            self._reads,
            self._committer,
            self._journal,
            (self._accounting, self._measures, self._events),
            self._oldest,
            self._aside,
        )
        self.tiering.max_bytes = max_bytes
        self._supervisor = Supervisor(self.tiering, self._setup, clock)

    def _opened(self) -> sqlite3.Connection:
        """Return the connection that writes, its tables of this version."""
        writer = open_metrics(self._path)
        try:
            migrate(writer, self.directory)
            self._aside.tell(mend_indexes(writer))
            read_again(writer)
        except BaseException:
            writer.close()
            raise
        return writer

    def _load(self) -> dict[str, int]:
        """Load what is kept in memory; returns the facts."""
        self._writer.execute("BEGIN IMMEDIATE")
        broken = set_broken_aside(self._writer)
        load_accounting(self._writer, self._accounting)
        self._measures.load(self._writer)
        self._writer.execute("COMMIT")
        self._aside.confirm(Aside.count(self._writer))
        count, size = self._writer.execute(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM journal"
        ).fetchone()
        self._journal = JournalSize(int(count), int(size))
        facts = read_facts(self._writer)
        if "fact" in broken:
            # Up to when it is merged is not known: what is in files, they say themselves.
            facts["merged_before_s"] = int(self._clock()) // 60 * 60
        return facts

    def start(self) -> None:
        """Start the process that merges and the threads that drive it."""
        self._supervisor.start()

    def wake(self) -> None:
        """Check now for what is due; from any thread."""
        self._supervisor.wake()

    def on_commit(self, listener: CommitListener) -> None:
        """Call a listener with each group of new batches; before `start` only."""
        self._listeners.append(listener)

    def number(self, batch: Batch, window_s: int, admit: Admit) -> Numbered:
        """Return the points of a batch under the numbers of memory's catalogue."""
        return self.memory.catalogue.number(batch, window_s, admit)

    async def append(self, received: Received) -> bool:
        """Keep a batch and return once it is durable; True if it was here before."""
        if self._journal.size_bytes > self._most_journal_bytes:
            raise UnavailableError(
                f"the journal holds {self._journal.size_bytes} bytes, over its limit of "
                f"{self._most_journal_bytes}: send the batch again",
                10,
            )
        return await self._committer.submit(received)

    def show(self, received: Received) -> None:
        """Take a live summary: readable at once, never stored."""
        self.memory.show(received)

    def note_held(self, batch: Batch, held: int) -> None:
        """Take how many records an agent holds besides a batch; loop only."""
        self._accounting.note_held(batch, held)

    def read(self, selection: Selection) -> Rows:
        """Return merged points; from any thread but the loop's."""
        return self._reads.read(selection)

    def read_gauges(self, selection: GaugeSelection) -> GaugeRows:
        """Return what gauges came to over time; from any thread but the loop's."""
        return self._gauge_reader.read(selection)

    def read_measures(self, selection: MeasureSelection) -> list[MeasurePart]:
        """Return what was added to measures; from any thread but the loop's."""
        return self._measures.read(self._reader(), selection)

    def read_events(self, selection: EventSelection) -> list[EventRow]:
        """Return the latest events of a kind; from any thread but the loop's."""
        return self._events.read(self._reader(), selection)

    def latest_gauges(self, now_s: float) -> list[LatestGauge]:
        """Return the latest value of every gauge that is not stale."""
        return self.memory.latest.fresh(now_s)

    def series_names(self) -> Sequence[SeriesKey]:
        """Return the series in memory, and those that sum them up."""
        return self.memory.catalogue.dictionary.keys()

    def measure_names(self) -> Sequence[tuple[str, str, str, MeasureKey]]:
        """Return whose every measure is, and its key."""
        return self._measures.names()

    def arrived(
        self, start_s: int, end_s: int, gap_s: int, *, live: bool = False
    ) -> tuple[int, int] | None:
        """Return start and end of the latest run of windows in memory."""
        head = self.memory.live if live else self.memory.recent
        return head.arrived(start_s, end_s, gap_s)

    def accounting(self) -> list[ServiceAccounting]:
        """Return the accounting of every service; from any thread."""
        return self._accounting.services()

    def health(self) -> SQLiteHealth:
        """Return the state of the store; from any thread."""
        committer, journal = self._committer, self._journal
        trouble = committer.trouble
        if not trouble and journal.size_bytes > self._most_journal_bytes:
            trouble = "the journal is over its limit"
        files = [(tier, path) for tier, _, path in files_of(self.directory)]
        return SQLiteHealth(
            trouble=trouble,
            batches=committer.batches,
            duplicates=committer.duplicates,
            journal_batches=journal.batches,
            journal_bytes=journal.size_bytes,
            waiting_bytes=committer.waiting_bytes,
            tiers={
                tier.name: _sizes([path for other, path in files if other is tier])
                for tier in EVERY
            },
            compaction=self.tiering.trouble or self.tiering.untidy,
            worker=self.tiering.worker,
            damage={
                **self._strangers,
                **self._chunks_aside,
                **self._reads.damage(),
                **self._put_aside(),
            },
            series=len(self.memory.catalogue),
            gauges_left_out=self.memory.latest.left_out,
            rows_left_out=committer.rows_left_out + self._measures.left_out,
            recent_bytes=self.memory.size_bytes,
        )

    def _put_aside(self) -> dict[str, str]:
        """Return what was put aside as broken: rows of metrics.db, and files."""
        rows = self._aside.text()
        found = sorted(self.directory.glob(f"*{DAMAGED}*"))
        files = {path.name: "put aside: it could not be written any more" for path in found}
        return {METRICS: rows, **files} if rows else files

    def compact(self, now_s: float) -> int:
        """Merge what is due and drop what is too old; returns the batches merged. Any thread."""
        setup = self._setup
        compactor = Compactor(self.directory, setup.max_series, self.tiering.max_bytes)
        return self.tiering.compact(compactor, now_s)

    def keep(self, retention: Retention, max_bytes: int) -> None:
        """Keep tiers for other times, in another space, from the next compaction on; any thread."""
        self.tiering.floors.retention, self.tiering.max_bytes = retention, max_bytes
        self._supervisor.wake()

    def close(self) -> None:
        """Stop the helpers, commit what was accepted, release the directory; safe to repeat."""
        if self._lock < 0:
            return
        self._supervisor.stop()
        self._committer.close()
        for connection in (*self._readers, self._writer):
            connection.close()
        if self._waits:
            hold_room(self.directory)
        os.close(self._lock)
        self._lock = -1

    def _committed(self, new: Sequence[Received]) -> None:
        for received in new:
            self.memory.take(received)
        self._journal.add(new)
        if new:
            tell(self._listeners, new)

    def _replay(self) -> None:
        """Fill memory from the journal."""
        floor_s = min(self.memory.recent.floor_s, self.memory.gauges.floor_s)
        rows = self._writer.execute(
            f"SELECT {JOURNAL_ROW} FROM journal WHERE t0 >= ? ORDER BY id",  # noqa: S608
            (floor_s,),
        )
        for row in rows:
            self.memory.replay(row[0], row)

    def _oldest(self) -> int | None:
        """Return the start of the oldest window in the journal, None if it is empty."""
        (oldest_s,) = self._reader().execute("SELECT min(t0) FROM journal").fetchone()
        return None if oldest_s is None else int(oldest_s)

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_metrics(self._path)
            connection.execute("PRAGMA query_only = ON")
            with self._guard:
                self._readers.append(connection)
        return connection


def _sizes(paths: Sequence[Path]) -> tuple[int, int]:
    """Return the number and the bytes of files; one that was just deleted counts as empty."""
    size = 0
    for path in paths:
        try:
            size += path.stat().st_size
        except OSError:
            continue
    return len(paths), size
