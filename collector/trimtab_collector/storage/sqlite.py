"""The engine for one machine: a locked directory with one SQLite file.

`journal` holds batches as they came, `block` merged hours, and `seen` the numbers of batches that
were merged, so that a repeat is known for as long as its window would be taken. Everything a batch
changes is in one transaction with it. WAL with synchronous=FULL: a commit is on the disk when it
returns.
"""

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from trimtab_collector.storage.accounts import Ledger
from trimtab_collector.storage.blocks import BlockError, decode_block
from trimtab_collector.storage.columns import (
    WINDOW_S,
    Array,
    Columns,
    columns_of_batch,
    rekey,
    series_of,
    times_of,
)
from trimtab_collector.storage.committer import Committer
from trimtab_collector.storage.compaction import compact
from trimtab_collector.storage.gauges import Gauges
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.recent import LIVE_S, RECENT_S, Ring
from trimtab_collector.storage.series import Grouping, SeriesTable
from trimtab_collector.storage.store import (
    Health,
    Received,
    Rows,
    Selection,
    ServiceAccount,
    UnavailableError,
)
from trimtab_core.batches import Batch, SeriesKey, decode
from trimtab_core.errors import BatchError, StartupError
from trimtab_core.logs import RateLimited

__all__ = ["SQLiteStore", "migrate"]

logger = logging.getLogger("trimtab.sqlite")

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE origin (origin INTEGER PRIMARY KEY, agent TEXT NOT NULL, boot BLOB NOT NULL,
    UNIQUE (agent, boot));
CREATE TABLE journal (id INTEGER PRIMARY KEY, origin INTEGER NOT NULL, seq INTEGER NOT NULL,
    t0 INTEGER NOT NULL, received_us INTEGER NOT NULL, payload BLOB NOT NULL,
    UNIQUE (origin, seq));
CREATE INDEX journal_t0 ON journal (t0);
CREATE TABLE seen (origin INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    t INTEGER NOT NULL, PRIMARY KEY (origin, first)) WITHOUT ROWID;
CREATE TABLE block (id INTEGER PRIMARY KEY, t0 INTEGER NOT NULL, points INTEGER NOT NULL,
    payload BLOB NOT NULL);
CREATE INDEX block_t0 ON block (t0);
CREATE TABLE series (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, service TEXT NOT NULL,
    version TEXT NOT NULL, instance TEXT NOT NULL, route TEXT NOT NULL, method TEXT NOT NULL,
    status_class TEXT NOT NULL);
CREATE TABLE process (process BLOB NOT NULL, environment TEXT NOT NULL, service TEXT NOT NULL,
    ranges BLOB NOT NULL, sent INTEGER NOT NULL, dropped BLOB NOT NULL, closed INTEGER NOT NULL,
    updated_s INTEGER NOT NULL, PRIMARY KEY (process, environment, service)) WITHOUT ROWID;
CREATE TABLE total (environment TEXT NOT NULL, service TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0, backgrounds INTEGER NOT NULL DEFAULT 0,
    counted INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0, dropped BLOB NOT NULL DEFAULT x'80',
    PRIMARY KEY (environment, service)) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
#: while a read gathers, parts are merged when they hold this many buckets
_GATHER: Final = 2_000_000
_HOUR_S: Final = 3600


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
        recent_bytes: int = 64 * 1024 * 1024,
        retention_s: int = 48 * 3600,
        max_series: int = 200_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._clock = clock
        self._retention_s = retention_s
        self._most_journal_bytes = journal_bytes
        self._log = RateLimited(logger)
        self._lock = _lock(directory)
        self._path = directory / "metrics.db"
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        try:
            self._writer = self._open()
            migrate(self._writer)
            self.series = SeriesTable(max_series)
            rows = self._writer.execute("SELECT * FROM series ORDER BY id")
            self.series.load((row[0], SeriesKey(*row[1:])) for row in rows)
            self._ledger = Ledger()
            self._ledger.load(self._writer)
            count, size = self._writer.execute(
                "SELECT count(*), coalesce(sum(length(payload)), 0) FROM journal"
            ).fetchone()
            self._journal = [int(count), int(size)]
            merged = self._writer.execute("SELECT value FROM fact WHERE name = 'merged_before_s'")
            self._merged_before_s = int((merged.fetchone() or (0,))[0])
        except sqlite3.Error as error:
            os.close(self._lock)
            _refuse(self._path, error)
        self.gauges = Gauges()
        self.recent = Ring(
            RECENT_S, WINDOW_S, recent_bytes, clock=clock, floor_s=self._merged_before_s
        )
        self.live = Ring(LIVE_S, 1, recent_bytes // 4, clock=clock)
        self._replay()
        self._committer = Committer(
            self._writer, self.series, self._ledger, self._committed, queue_bytes
        )

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
        grouping = self.series.group(selection.group_by, selection.where)
        parts = self._live_parts if selection.live else self._stored_parts
        edges = np.array(selection.edges_s)
        gathered: list[Columns] = []
        size = 0
        for part in parts(selection.start_s, selection.end_s):
            chosen = _choose(part, grouping, edges)
            if chosen is None:
                continue
            gathered.append(chosen)
            size += len(chosen.slots)
            if size > _GATHER:
                gathered = [merge(gathered)]
                size = len(gathered[0].slots)
        columns = merge(gathered)
        steps = len(edges) - 1
        group = columns.key // steps
        t = edges[columns.key - group * steps]
        return Rows(grouping.groups, group, t, columns, 1 if selection.live else WINDOW_S)

    def note_held(self, batch: Batch, held: int) -> None:
        """Take how many records an agent holds besides a batch; loop only."""
        self._ledger.note_held(batch, held)

    def accounts(self) -> list[ServiceAccount]:
        """Return the account of every service; from any thread."""
        return self._ledger.accounts()

    def health(self) -> Health:
        """Return how the store does; from any thread."""
        committer = self._committer
        trouble = committer.trouble
        if not trouble and self._journal[1] > self._most_journal_bytes:
            trouble = "the journal is over its limit"
        blocks, size = (
            self._reader()
            .execute("SELECT count(*), coalesce(sum(length(payload)), 0) FROM block")
            .fetchone()
        )
        return Health(
            trouble=trouble,
            batches=committer.batches,
            duplicates=committer.duplicates,
            journal_batches=self._journal[0],
            journal_bytes=self._journal[1],
            waiting_bytes=committer.waiting_bytes,
            blocks=blocks,
            block_bytes=size,
            series=len(self.series),
            recent_bytes=self.recent.size_bytes + self.live.size_bytes,
        )

    def compact(self, now_s: float) -> int:
        """Merge what is due and drop what is too old; returns the batches merged. Any thread."""
        self.gauges.forget(now_s)
        cutoff_s = min(int(now_s) - RECENT_S - WINDOW_S, self.recent.floor_s)
        total = 0
        for done in compact(
            self._reader(),
            self._committer,
            self.series,
            self._ledger,
            cutoff_s,
            int(now_s) - self._retention_s,
        ):
            total += done.batches
            with self._guard:
                self._journal[0] -= done.batches
                self._journal[1] -= done.size_bytes
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
        with self._guard:
            self._journal[0] += len(new)
            self._journal[1] += sum(len(received.raw) for received in new)

    def _replay(self) -> None:
        """Fill the ring and the gauges from the journal."""
        rows = self._writer.execute(
            "SELECT t0, received_us, payload FROM journal WHERE t0 >= ? ORDER BY id",
            (self.recent.floor_s,),
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

    def _live_parts(self, start_s: int, end_s: int) -> Iterator[Columns]:
        yield from self.live.snapshot(start_s, end_s)[1]

    def _stored_parts(self, start_s: int, end_s: int) -> Iterator[Columns]:
        """Yield points whose windows lie in the range, and possibly others around it."""
        # The ring first: what rises out of it afterwards is in the journal long since.
        floor_s, parts = self.recent.snapshot(start_s, end_s)
        yield from parts
        parts.clear()
        if start_s < floor_s:
            yield from self._older(start_s, min(end_s, floor_s))

    def _older(self, start_s: int, end_s: int) -> Iterator[Columns]:
        connection = self._reader()
        connection.execute("BEGIN")  # blocks and journal of one moment
        try:
            hour_s = start_s - start_s % _HOUR_S
            for (payload,) in connection.execute(
                "SELECT payload FROM block WHERE t0 >= ? AND t0 < ?", (hour_s, end_s)
            ):
                try:
                    yield _within(decode_block(payload)[0], start_s, end_s)
                except BlockError as error:
                    self._log.warning("block", "a block cannot be read: %s", error)
            for t0, payload in connection.execute(
                "SELECT t0, payload FROM journal WHERE t0 >= ? AND t0 < ?", (start_s, end_s)
            ):
                try:
                    batch = decode(payload)
                    yield columns_of_batch(batch, self.series.know(batch.series).ids, t0)
                except BatchError as error:
                    self._log.warning("journal", "a batch cannot be read: %s", error)
        finally:
            connection.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=5
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -8192")
        os.chmod(self._path, 0o600)
        return connection

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
            connection.execute("PRAGMA query_only = ON")
            with self._guard:
                self._readers.append(connection)
        return connection


def _choose(part: Columns, grouping: Grouping, edges: Array) -> Columns | None:
    """Return the points a selection wants, by group and step; None when there are none."""
    # A series that came after the grouping was made is in no group.
    series = series_of(part.key)
    inside = series < len(grouping.group)
    group = (
        np.where(inside, grouping.group[np.where(inside, series, 0)], -1)
        if len(grouping.group)
        else np.full(len(series), -1)
    )
    t = times_of(part.key)
    keep = (group >= 0) & (t >= edges[0]) & (t < edges[-1])
    if not keep.any():
        return None
    step = np.searchsorted(edges, t[keep], "right") - 1
    return rekey(part, group[keep] * (len(edges) - 1) + step, keep)


def _within(columns: Columns, start_s: int, end_s: int) -> Columns:
    t = times_of(columns.key)
    keep = (t >= start_s) & (t < end_s)
    return rekey(columns, columns.key[keep], keep)


def _lock(directory: Path) -> int:
    """Make and lock a directory; returns the descriptor that holds the lock."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartupError(
            f"expected a directory that can be written at {directory}, got: {error.strerror}; "
            "choose another with --data-dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StartupError(
            f"expected {directory} to be free, another collector works in it: stop that one or "
            "choose another directory with --data-dir"
        ) from error
    return descriptor


def migrate(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file; raises sqlite3.DatabaseError for a schema not known here."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == _SCHEMA_VERSION:
        return
    if found:
        raise sqlite3.DatabaseError(f"its schema is version {found}, known is {_SCHEMA_VERSION}")
    connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;")


def _refuse(path: Path, error: Exception) -> NoReturn:
    raise StartupError(
        f"expected a store of this version at {path}, got: {error}; move it away or choose another "
        "directory with --data-dir"
    ) from error
