"""The engine for one machine: a locked directory with SQLite files.

`metrics.db` holds batches as they came (`journal`), the numbers of those that were merged (`seen`),
the names of series, and the accounts; everything a batch changes is in one transaction with it,
and with synchronous=FULL a commit is on the disk when it returns. Merged batches lie in tier files
beside it (`tiers`), which a compactor writes and which are never attached to one another.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from trimtab_collector.storage.catalogue import Catalogue
from trimtab_collector.storage.columns import WINDOW_S, columns_of_batch
from trimtab_collector.storage.gauges import LatestGauges
from trimtab_collector.storage.sqlite.accounting import AccountingTable, insert_rows
from trimtab_collector.storage.sqlite.committer import Committer
from trimtab_collector.storage.sqlite.compaction import Step
from trimtab_collector.storage.sqlite.compactor import METRICS, Compactor, locked
from trimtab_collector.storage.sqlite.gaugehead import GAUGES_S, GaugeHead
from trimtab_collector.storage.sqlite.gaugehistory import GaugeReader
from trimtab_collector.storage.sqlite.head import LIVE_S, RECENT_S, Head
from trimtab_collector.storage.sqlite.locking import lock
from trimtab_collector.storage.sqlite.measures import (
    EventSelection,
    MeasurePart,
    MeasureSelection,
    MeasureTable,
)
from trimtab_collector.storage.sqlite.publication import Publication
from trimtab_collector.storage.sqlite.reading import Reader
from trimtab_collector.storage.sqlite.schema import migrate, note_facts, open_metrics, refuse
from trimtab_collector.storage.sqlite.tierfile import DAMAGED
from trimtab_collector.storage.sqlite.tiers import EVERY, Retention, files_of
from trimtab_collector.storage.store import (
    GaugeRows,
    GaugeSelection,
    Health,
    Received,
    Rows,
    Selection,
    ServiceAccounting,
    UnavailableError,
)
from trimtab_core.batches import Batch, SeriesKey, decode
from trimtab_core.errors import BatchError
from trimtab_core.logs import RateLimited
from trimtab_core.rows import EventRow

__all__ = ["SQLiteStore"]

logger = logging.getLogger("trimtab.sqlite")

#: numbers of merged batches are kept longer than any window is taken (7 days)
#: slices of measures rolled up in one go
_MOST_ROLLS: Final = 50
_SEEN_S: Final = 8 * 24 * 3600
#: a window is summed up for readers when it began so long ago
_SETTLE_S: Final = 20
_FLOOR: Final = "floor_"


class SQLiteStore:
    """A Store in one directory, which it makes and locks; see the Protocol for each method.

    Raises StartupError when the directory cannot be used or another collector has it.
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._clock = clock
        self._retention = retention or Retention()
        self._max_bytes = max_bytes
        self._most_journal_bytes = journal_bytes
        self._log = RateLimited(logger)
        self._lock = lock(directory)
        self._path = directory / METRICS
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self.series = Catalogue(max_series)
        self._accounting = AccountingTable()
        self.measures = MeasureTable()
        try:
            self._writer = open_metrics(self._path)
            migrate(self._writer)
            self._load()
        except sqlite3.Error as error:
            os.close(self._lock)
            refuse(self._path, error)
        #: floors that the disk had no room for
        self._unsaved: dict[str, int] = {}
        #: why compaction does not work, and its process: for whoever drives it to set
        self.compaction = ""
        self.worker: int | None = None
        self.gauges = LatestGauges()
        self.recent = Head(
            None,
            WINDOW_S,
            recent_bytes,
            clock=clock,
            floor_s=self._facts.get("merged_before_s", 0),
            parents=self.series.parents,
        )
        self.live = Head(LIVE_S, 1, recent_bytes // 4, clock=clock)
        self._reads = Reader(
            directory, self.series, self.recent, self.live, self._reader, self.floors
        )
        self.gauge_head = GaugeHead(
            GAUGES_S, recent_bytes // 2, clock, self._facts.get("merged_before_s", 0)
        )
        self._gauge_history = GaugeReader(self._reads, self.gauge_head)
        self._replay()
        self._committer = Committer(
            self._writer, self.series, self._accounting, self.measures, self._committed, queue_bytes
        )

    @property
    def publication(self) -> Publication:
        """What keeps readers and moving batches apart."""
        return self._reads.publication

    def _load(self) -> None:
        """Read what is kept in memory, and give roll-ups that an earlier version lacked a row."""
        rows = self._writer.execute("SELECT * FROM series ORDER BY id")
        self.series.load((row[0], SeriesKey(*row[1:])) for row in rows)
        unsaved = [(number, *key) for number, key in self.series.unsaved()]
        if unsaved:
            self._writer.execute("BEGIN IMMEDIATE")
            insert_rows(self._writer, "INSERT INTO series VALUES", unsaved)
            self._writer.execute("COMMIT")
            self.series.saved(len(unsaved))
        self._accounting.load(self._writer)
        self.measures.load(self._writer)
        count, size = self._writer.execute(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM journal"
        ).fetchone()
        self._journal = [int(count), int(size)]
        self._facts = dict(self._writer.execute("SELECT name, value FROM fact"))

    async def append(self, received: Received) -> bool:
        """Keep a batch and return once it is durable; True when it was here before."""
        if self._journal[1] > self._most_journal_bytes:
            raise UnavailableError(
                f"the journal holds {self._journal[1]} bytes, over its limit of "
                f"{self._most_journal_bytes}: send the batch again",
                10,
            )
        return await self._committer.submit(received)

    def show(self, received: Received) -> None:
        """Take a live summary: readable at once, never stored."""
        batch = received.batch
        columns = received.columns
        self.live.add(received.window_s, columns, (batch.agent, batch.boot, batch.seq))
        self.gauges.note(batch, received.read_s)

    def read(self, selection: Selection) -> Rows:
        """Return merged points; from any thread but the loop's."""
        return self._reads.read(selection)

    def read_gauges(self, selection: GaugeSelection) -> GaugeRows:
        """Return what gauges came to over time; from any thread but the loop's."""
        return self._gauge_history.read(selection)

    def read_measures(self, selection: MeasureSelection) -> list[MeasurePart]:
        """Return what was added to measures; from any thread but the loop's."""
        return self.measures.read(self._reader(), selection)

    def read_events(self, selection: EventSelection) -> list[tuple[EventRow, int]]:
        """Return the latest events of a kind; from any thread but the loop's."""
        return self.measures.events(self._reader(), selection)

    def note_held(self, batch: Batch, held: int) -> None:
        """Take how many records an agent holds besides a batch; loop only."""
        self._accounting.note_held(batch, held)

    def accounts(self) -> list[ServiceAccounting]:
        """Return the account of every service; from any thread."""
        return self._accounting.accounts()

    def health(self) -> Health:
        """Return how the store does; from any thread."""
        committer = self._committer
        trouble = committer.trouble
        if not trouble and self._journal[1] > self._most_journal_bytes:
            trouble = "the journal is over its limit"
        files = [(tier, path) for tier, _, path in files_of(self.directory)]
        return Health(
            trouble=trouble,
            batches=committer.batches,
            duplicates=committer.duplicates,
            journal_batches=self._journal[0],
            journal_bytes=self._journal[1],
            waiting_bytes=committer.waiting_bytes,
            tiers={
                tier.name: _sizes([path for other, path in files if other is tier])
                for tier in EVERY
            },
            compaction=self.compaction,
            worker=self.worker,
            damage={**self._reads.damage(), **self._put_aside()},
            series=len(self.series),
            recent_bytes=sum(ring.size_bytes for ring in (self.recent, self.live, self.gauge_head)),
        )

    def _put_aside(self) -> dict[str, str]:
        """Return the files that were put aside because they were broken."""
        found = sorted(self.directory.glob(f"*{DAMAGED}*"))
        return {path.name: "put aside: it could not be written any more" for path in found}

    def floors(self) -> Mapping[str, int]:
        """Return from when on each tier is whole, epoch seconds; from any thread."""
        dropped = {
            name.removeprefix(_FLOOR): value
            for name, value in list(self._facts.items())
            if name.startswith(_FLOOR)
        }
        return self._retention.floors(self._clock(), dropped)

    def cutoff_s(self, now_s: float) -> int:
        """Return what to merge into tiers: windows that are over, and those memory has no room for.

        It is a full minute, so that no minute is merged in two.
        """
        cutoff_s = max(int(now_s) - RECENT_S - WINDOW_S, self.recent.floor_s)
        return cutoff_s - cutoff_s % 60

    def release(self, cutoff_s: int) -> None:
        """Let memory go of windows that tiers hold, after a run to cutoff_s; not from the loop."""
        (left_s,) = self._reader().execute("SELECT min(t0) FROM journal").fetchone()
        floor_s = cutoff_s if left_s is None else min(cutoff_s, left_s)
        # A full minute: below it reads then find whole minutes in the tiers.
        self.recent.release(floor_s - floor_s % 60)

    def tidy(self, now_s: float) -> None:
        """Prepare the latest windows for readers and forget stale gauges; any thread."""
        self.gauges.forget(now_s)
        self.recent.settle(int(now_s) - _SETTLE_S)

    def announce(self, step: Step) -> None:
        """Note from when on tiers are whole once a step is committed, before it is; any thread.

        Needs no room: on a full disk it is kept in memory, and noted with a later step.
        """
        for tier, floor_s in step.floors.items():
            name = _FLOOR + tier
            self._facts[name] = self._unsaved[name] = max(floor_s, self._facts.get(name, 0))
        try:
            if self._unsaved:
                self._committer.run(lambda connection: note_facts(connection, self._unsaved))
                self._unsaved.clear()
        except (sqlite3.Error, UnavailableError) as error:
            self._log.warning("floors", "what is dropped cannot be noted yet: %s", error)

    def apply(self, step: Step) -> None:
        """Change the small file after a step was committed; not from the loop.

        Raises sqlite3.Error when the disk does not take it: the step is then repeated.
        """
        if step.what == "drop":
            self._reads.files.let_go()
            # There may be room now.
            self.announce(step)
        elif step.journal:
            self._committer.run(partial(_apply, step))
        with self._guard:
            self._facts["merged_before_s"] = max(
                step.merged_before_s, self._facts.get("merged_before_s", 0)
            )
            self._journal[0] -= len(step.journal)
            self._journal[1] -= step.size_bytes

    def retire(self, now_s: float) -> None:
        """Let go of what is kept to know repeats and silent processes; not from the loop."""

        def drop(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM seen WHERE t < ?", (int(now_s) - _SEEN_S,))
            self._accounting.retire(connection)
            self.measures.drop(connection, now_s)

        self._committer.run(drop)
        for _ in range(_MOST_ROLLS):
            if not self._committer.run(lambda connection: self.measures.roll_up(connection, now_s)):
                break
        with self.publication.moving():
            # What a read was in when it was deleted.
            self._reads.files.let_go()

    def compact(self, now_s: float) -> int:
        """Merge what is due and drop what is too old; returns the batches merged. Any thread.

        The collector has a process for it (`supervisor`); this does the same in the caller's.
        """
        self.tidy(now_s)
        total = 0
        compactor = Compactor(self.directory, self.series, self._max_bytes)
        with locked(self.directory, 10):
            cutoff_s = self.cutoff_s(now_s)
            for step, commit in compactor.steps(now_s, cutoff_s, self.floors()):
                with self.publication.moving():
                    self.announce(step)
                    commit()
                    self.apply(step)
                total += len(step.journal)
        self.release(cutoff_s)
        self.retire(now_s)
        return total

    def close(self) -> None:
        """Finish what was taken, then let go of the directory."""
        self._committer.close()
        for connection in (*self._readers, self._writer):
            connection.close()
        os.close(self._lock)

    def _committed(self, new: Sequence[Received]) -> None:
        for received in new:
            self.recent.add(received.window_s, received.columns)
            self.gauges.note(received.batch, received.read_s)
            self.gauge_head.add(received.batch, received.window_s)
        with self._guard:
            self._journal[0] += len(new)
            self._journal[1] += sum(len(received.raw) for received in new)

    def _replay(self) -> None:
        """Fill the ring and the gauges from the journal."""
        rows = self._writer.execute(
            "SELECT t0, received_us, payload FROM journal WHERE t0 >= ? ORDER BY id",
            (min(self.recent.floor_s, self.gauge_head.floor_s),),
        )
        for t0, received_us, payload in rows:
            try:
                batch = decode(payload)
                columns = columns_of_batch(batch, self.series.know(batch.series).ids, t0)
            except BatchError as error:
                self._log.warning("replay", "a batch of the journal cannot be read: %s", error)
                continue
            self.recent.add(t0, columns)
            self.gauges.note(batch, min(t0 + batch.step_s, received_us / 1e6))
            self.gauge_head.add(batch, t0)

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_metrics(self._path)
            connection.execute("PRAGMA query_only = ON")
            with self._guard:
                self._readers.append(connection)
        return connection


def _apply(step: Step, connection: sqlite3.Connection) -> None:
    connection.executemany("DELETE FROM journal WHERE id = ?", [(row,) for row in step.journal])
    connection.executemany(
        "INSERT OR REPLACE INTO seen (origin, first, last, t) VALUES (?, ?, ?, ?)", step.seen
    )
    note_facts(connection, {"merged_before_s": step.merged_before_s})


def _sizes(paths: Sequence[Path]) -> tuple[int, int]:
    """Return the number and the bytes of files; one that has just gone counts as empty."""
    size = 0
    for path in paths:
        try:
            size += path.stat().st_size
        except OSError:
            continue
    return len(paths), size
