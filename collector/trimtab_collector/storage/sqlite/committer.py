"""Group commit: one thread, one transaction for everything that waits, one fsync, then the answers.

Batches that arrive during a commit share the next transaction. The thread owns the connection that
writes; other writers (compaction) hand their work to it. If a transaction fails (a full disk), all
its batches fail as retryable, and the next one starts afresh. If a batch is at fault, it fails
alone and for good: first its measures and events are left out, then itself.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Final

from trimtab_collector.storage.accounting import AccountingTable, Staged
from trimtab_collector.storage.sqlite.accounting import insert_rows, write_accounting
from trimtab_collector.storage.sqlite.events import EventTable
from trimtab_collector.storage.sqlite.journal import (
    JOURNAL_COLUMNS,
    JournalEntry,
    journal_row,
)
from trimtab_collector.storage.sqlite.measures import MeasureTable, NewMeasures
from trimtab_collector.storage.sqlite.passing import passes
from trimtab_collector.storage.sqlite.repeats import add_origin, is_merged
from trimtab_collector.storage.sqlite.schema import highest_given
from trimtab_collector.storage.sqlite.waiting import Waiting, WaitingLines
from trimtab_collector.storage.store import Received, UnavailableError, UnstorableError
from trimtab_core.logs import RateLimited

__all__ = ["Committer"]

logger = logging.getLogger("trimtab.committer")

#: most batches and bytes of one transaction
_GROUP: Final = 256
_GROUP_BYTES: Final = 16 * 1024 * 1024
_RETRY_S: Final = 5
#: numbers of rows of the journal stay below this
_MOST_IDS: Final = 2**62


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    then: Callable[[Any], None] | None
    future: "Future[Any]"


@dataclass(slots=True)
class _Origin:
    """One start of an agent, by a key: its number in the store, the highest number it sent."""

    number: int
    highest: int = -1


#: agent and boot -> key -> the start; as a rule there is one key
_Origins = dict[tuple[str, bytes], dict[str, _Origin]]


@dataclass(slots=True)
class _Group:
    """The changes of one transaction."""

    staged: Staged = field(default_factory=Staged)
    origins: _Origins = field(default_factory=dict)
    rows: list[JournalEntry] = field(default_factory=list)
    here: set[tuple[int, int]] = field(default_factory=set)
    #: batches with measures or events
    with_rows: list[Received] = field(default_factory=list)
    measures: NewMeasures = field(default_factory=dict)


class Committer:
    """The writing thread of a store; `submit` and `refusal` belong to the loop."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        accounting: AccountingTable,
        measures: MeasureTable,
        events: EventTable,
        on_commit: Callable[[Sequence[Received]], None],
        queue_bytes: int,
    ) -> None:
        self._connection = connection
        self._accounting = accounting
        self._measures = measures
        self._events = events
        self._on_commit = on_commit
        self._queue: queue.SimpleQueue[list[Waiting] | _Job | None] = queue.SimpleQueue()
        self._waiting = WaitingLines(queue_bytes)
        #: the thread has a group, or is about to get one
        self._busy = False
        self._closed = False
        self._origins: _Origins = {}
        self._log = RateLimited(logger)
        self.batches = 0
        self.duplicates = 0
        #: measures and events that could not be stored beside their batch
        self.rows_left_out = 0
        #: why the last transaction failed, empty if it did not
        self.trouble = ""
        #: the highest number that a row of the journal has, or was ever given
        self._highest_id = _highest_id(connection)
        self._load()
        self._thread = threading.Thread(target=self._run, name="trimtab-commit", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of batches that were accepted and are not durable."""
        return self._waiting.size_bytes

    def submit(self, received: Received) -> "asyncio.Future[bool]":
        """Accept a batch; raises UnavailableError if too much waits, or has waited too long."""
        if self._closed:
            raise UnavailableError("the collector is stopping: send the batch again", _RETRY_S)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.add(received, future)
        if not self._busy:
            # At the end of this turn of the loop: batches that arrived with it are included.
            self._busy = True
            loop.call_soon(self._dispatch)
        return future

    def _dispatch(self) -> None:
        """Give the thread what waits, up to the limits of a transaction; loop only."""
        if not self._waiting:
            self._busy = False
            return
        self._queue.put(self._waiting.take(_GROUP, _GROUP_BYTES))

    def run(
        self,
        work: Callable[[sqlite3.Connection], Any],
        then: Callable[[Any], None] | None = None,
    ) -> Any:
        """Run work in its own transaction and return its result; do not call it from the loop.

        then gets the result once it is durable, before the next transaction begins: what memory
        has of the file changes there and never in work, which may fail. Raises what work raises,
        and sqlite3.Error if the transaction fails.
        """
        if self._closed:
            raise UnavailableError("the collector is stopping", _RETRY_S)
        future: Future[Any] = Future()
        self._queue.put(_Job(work, then, future))
        return future.result()

    def close(self) -> None:
        """Commit what was accepted and end the thread."""
        self._closed = True
        while self._waiting:
            self._queue.put(self._waiting.take(_GROUP, _GROUP_BYTES))
        self._queue.put(None)
        self._thread.join()

    def forget_origins(self) -> None:
        """Delete starts of agents that no batch refers to any more; not from the loop."""
        self.run(self._delete_origins, self._forget)

    @staticmethod
    def _delete_origins(connection: sqlite3.Connection) -> list[tuple[str, str, bytes]]:
        return connection.execute(
            "DELETE FROM origin WHERE NOT EXISTS"
            " (SELECT 1 FROM journal j WHERE j.origin = origin.origin) AND NOT EXISTS"
            " (SELECT 1 FROM seen s WHERE s.origin = origin.origin) RETURNING key, agent, boot"
        ).fetchall()

    def _forget(self, gone: Sequence[tuple[str, str, bytes]]) -> None:
        for key, agent, boot in gone:
            name = (agent, bytes(boot))
            left = {**self._origins.get(name, {})}
            left.pop(key, None)
            if left:
                self._origins[name] = left
            else:
                self._origins.pop(name, None)

    def _load(self) -> None:
        rows = self._connection.execute(
            "SELECT o.key, o.agent, o.boot, o.origin,"
            " max(coalesce((SELECT max(seq) FROM journal j WHERE j.origin = o.origin), -1),"
            "     coalesce((SELECT max(last) FROM seen s WHERE s.origin = o.origin), -1))"
            " FROM origin o"
        )
        for key, agent, boot, number, highest in rows:
            self._origins.setdefault((agent, bytes(boot)), {})[key] = _Origin(number, highest)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, _Job):
                self._work(item)
                continue
            try:
                self._commit(item)
            except Exception as error:
                logger.exception("batches=%d were not stored", len(item))
                for each in item:
                    each.error = UnavailableError(f"the store failed: {error!r:.200}", _RETRY_S)
            try:
                item[0].future.get_loop().call_soon_threadsafe(self._finish, item)
            except RuntimeError:  # the loop is closed: nobody waits any more
                logger.debug("batches=%d were committed after the loop had ended", len(item))
                self._busy = False

    def _commit(self, group: list[Waiting]) -> None:
        error = self._try(group)
        if error is None:
            self._settle(group)
        elif passes(error):
            self.trouble = f"the store cannot be written: {error}"
            self._log.warning("commit", "batches=%d refused for now: %s", len(group), error)
            refusal = UnavailableError(f"{self.trouble}; send the batch again", _RETRY_S)
            for waiting in group:
                waiting.error = refusal
        elif len(group) > 1:
            # One of them is at fault: give each its own transaction.
            for waiting in group:
                self._commit([waiting])
        else:
            self._commit_less(group[0], error)

    def _commit_less(self, waiting: Waiting, error: Exception) -> None:
        """Store a batch without the rows that the store does not take; refuse it if that fails."""
        whole = waiting.received
        if rows := len(whole.measures) + len(whole.events):
            waiting.received = replace(whole, measures=(), events=())
            if (again := self._try([waiting])) is None:
                logger.error("rows=%d of a batch were left out", rows, exc_info=error)
                self.rows_left_out += rows
                self._settle([waiting])
                return
            error = again
        logger.error("batch refused: the store raised", exc_info=error)
        text = f"expected a batch that can be stored, got {error!r:.200}"
        waiting.error = UnavailableError(text, _RETRY_S) if passes(error) else UnstorableError(text)

    def _try(self, waiting: list[Waiting]) -> Exception | None:
        """Make a group durable; if that fails, nothing of it stays in the file or in memory."""
        group = _Group()
        try:
            self._begin()
            for each in waiting:
                each.duplicate = not self._stage(group, each.received)
            self._write(group)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the border of the thread: told to the senders
            self._rollback()
            return error
        self._accounting.confirm(group.staged)
        self._measures.confirm(group.measures)
        self._origins.update(group.origins)
        self._highest_id += len(group.rows)
        return None

    def _stage(self, group: _Group, received: Received) -> bool:
        """Add a batch to the group; False if it is here already."""
        batch = received.batch
        name = (batch.agent, batch.boot)
        origins = group.origins.get(name)
        if origins is None:
            # Copies: the group may fail.
            known = self._origins.get(name, {})
            origins = group.origins[name] = {
                key: _Origin(each.number, each.highest) for key, each in known.items()
            }
        origin = origins.get(received.key)
        if origin is None:
            number = add_origin(self._connection, received.key, *name)
            origin = origins[received.key] = _Origin(number)
        for key, each in origins.items():
            if batch.seq <= each.highest and self._is_repeat(group, key, each.number, received):
                return False
        origin.highest = max(origin.highest, batch.seq)
        group.here.add((origin.number, batch.seq))
        number = self._highest_id + len(group.rows) + 1
        group.rows.append(journal_row(number, origin.number, received))
        self._accounting.stage(group.staged, received)
        if received.measures or received.events:
            group.with_rows.append(received)
        return True

    def _is_repeat(self, group: _Group, key: str, origin: int, received: Received) -> bool:
        """Return whether a batch was sent before with a key.

        Under the name of another key it is no repeat, or that key could keep it out: unless it is
        the very same, from an agent that was given a new key before it had its answer. That is
        known as long as the batch lies in the journal.
        """
        seq = received.batch.seq
        if key in (received.key, ""):
            return self._is_here(group, origin, seq)
        if any(row[1:3] == (origin, seq) and row[5] == received.raw for row in group.rows):
            return True
        found = self._connection.execute(
            "SELECT 1 FROM journal WHERE origin = ? AND seq = ? AND payload = ?",
            (origin, seq, received.raw),
        )
        return found.fetchone() is not None

    def _is_here(self, group: _Group, origin: int, seq: int) -> bool:
        if (origin, seq) in group.here:
            return True
        found = self._connection.execute(
            "SELECT 1 FROM journal WHERE origin = ? AND seq = ?", (origin, seq)
        )
        return found.fetchone() is not None or is_merged(self._connection, origin, seq)

    def _write(self, group: _Group) -> None:
        insert_rows(
            self._connection,
            f"INSERT INTO journal ({JOURNAL_COLUMNS}) VALUES",
            group.rows,
        )
        write_accounting(self._connection, group.staged)
        if group.with_rows:
            group.measures = self._measures.write(self._connection, group.with_rows)
            self._events.write(self._connection, group.with_rows)

    def _begin(self) -> None:
        # An earlier rollback may have failed for the same reason as its transaction.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN IMMEDIATE")

    def _rollback(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._log.warning("rollback", "rollback failed: %s", error)

    def _settle(self, group: list[Waiting]) -> None:
        self.trouble = ""
        new = [waiting.received for waiting in group if not waiting.duplicate]
        self.batches += len(new)
        self.duplicates += len(group) - len(new)
        # Before the answers, so that the next read has what was acknowledged.
        try:
            self._on_commit(new)
        except Exception:
            logger.exception("batches are stored, but not in memory until the next start")

    def _finish(self, group: list[Waiting]) -> None:
        """Answer the senders that waited and start the next group, in one turn of the loop."""
        for waiting in group:
            self._waiting.left(waiting)
            if waiting.future.done():
                continue
            if waiting.error is None:
                waiting.future.set_result(waiting.duplicate)
            else:
                waiting.future.set_exception(waiting.error)
        self._dispatch()

    def _work(self, job: _Job) -> None:
        try:
            self._begin()
            result = job.work(self._connection)
            self._connection.execute("COMMIT")
            if job.then is not None:
                job.then(result)
        except Exception as error:  # noqa: BLE001 - the border of the thread: told to the caller
            self._rollback()
            job.future.set_exception(error)
        else:
            job.future.set_result(result)


def _highest_id(connection: sqlite3.Connection) -> int:
    query = "SELECT coalesce(max(id), 0) FROM journal WHERE id < ?"
    # One beyond that is not as it was given, and none is given there.
    (highest,) = connection.execute(query, (_MOST_IDS,)).fetchone()
    return max(highest_given(connection), int(highest))
