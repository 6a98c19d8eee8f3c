"""The outbox: notices on their way, a row for each channel, in the transaction that made them.

A row is pending until its channel took the message (`sent`), nobody could deliver it for a day or
the channel refused it for good (`dead`), a newer one of the same alert went in its place
(`merged`), or its channel is off (`skipped`). The sender takes rows under a lease, so that a row is
sent twice only when the collector is killed between the send and the mark.

Per channel and alert, messages leave in the order in which they were added. When a try has failed,
or a message has waited for a minute, the newest of its alert goes in its place. Of several alerts
the most urgent goes first; while sending fails, the one that was tried least.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from trimtab_collector.checkedrows import CheckedConnection
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.channels import ChannelBook, ChannelEntry
from trimtab_collector.notify.deliveries import (
    KEEP_ROWS,
    KEEP_S,
    MAX_PENDING,
    SCHEMA,
    UNREADABLE,
    PendingRow,
    be_done,
    due_time,
    insert,
    pending_threads,
    read_notice,
    remember,
    rows_of_message,
    sent_since,
    shed,
    standing_notice,
)
from trimtab_collector.notify.heartbeat import HEARTBEAT, beat_notice
from trimtab_collector.notify.notice import Notice, pack, unpack
from trimtab_collector.notify.routing import ChannelRoute, bounded, routes
from trimtab_collector.statefile import StateFile

__all__ = ["Lease", "Outbox", "Wait"]

#: how long a message is tried
KEEP_TRYING_S: Final = 86_400.0
#: longer than any send may take
LEASE_S: Final = 60.0
FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 300.0
_RATE_WINDOW_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A message that one sender may send now, and the rows that it stands for."""

    channel: str
    message: Message
    #: id and key of each row, in order
    rows: tuple[tuple[int, str], ...]
    #: ids of those that the message shows; the others are merged
    shown: frozenset[int]
    attempts: int
    owner: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may be sent before a time."""

    until_s: float


class Outbox:
    """Rows of notices on their way; any thread. `clock` tells Unix seconds."""

    def __init__(
        self,
        state: StateFile,
        channels: ChannelBook,
        *,
        heartbeats: bool = False,
        clock: Callable[[], float] = time.time,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        """Take heartbeats only when there is somebody to send them to."""
        self._state = state
        self._channels = channels
        self._heartbeats = heartbeats
        self._clock = clock
        self._random = random_share
        self._added: Callable[[], None] = lambda: None
        state.bring(SCHEMA)

    def on_add(self, call: Callable[[], None]) -> None:
        """Call this after rows were added, in the thread and before the commit of who adds."""
        self._added = call

    def add(self, connection: CheckedConnection, notice: Notice) -> None:
        """Put a notice on its way to its channels, within the caller's `StateFile.change()`.

        Adding the same key again changes nothing. Recipients that lead nowhere are named in what is
        sent in their place.
        """
        now_s = self._clock()
        lost = self._channels.recipients().lost(notice.recipients) if notice.recipients else ()
        notice = bounded(replace(notice, lost_recipients=lost))
        text = pack(notice).decode()
        for route in routes(connection, self._channels.all(), notice):
            insert(connection, route, notice, text, now_s)
            shed(connection, route.channel, now_s)
        self._added()

    def beat(self, connection: CheckedConnection, at_s: float) -> None:
        """Put a heartbeat on its way, in place of one that has not left."""
        if not self._heartbeats:
            return
        notice, now_s = beat_notice(at_s), self._clock()
        text = pack(notice).decode()
        # One row for all of them: only the newest matters.
        replaced = connection.revise(
            "delivery",
            "key = ?, notice = ?, added_s = ?, due_s = ?, attempts = 0",
            (notice.key, text, now_s, now_s),
            "channel = ? AND state = 'pending'",
            (HEARTBEAT,),
        )
        if not replaced:
            insert(connection, ChannelRoute(HEARTBEAT), notice, text, now_s)
        self._added()

    def waiting(self) -> list[str]:
        """Return the channels with pending rows."""
        rows = self._state.rows(
            "SELECT DISTINCT channel FROM delivery INDEXED BY delivery_pending"
            " WHERE state = 'pending'"
        )
        return [channel for (channel,) in rows]

    def take(
        self, channel: str, owner: str, per_minute: int = 0, *, wary: bool = False
    ) -> Lease | Wait | None:
        """Lease the next message of a channel; None when nothing is pending.

        That is the most urgent one; after a failure (wary) the one that was tried least, so that
        some that always fail never keep the others.

        The last message that per_minute leaves room for is a digest of all that wait; 0 is no
        limit, and no digests.
        """
        now_s = self._clock()
        with self._state.change() as connection:
            self._expire(connection, channel, now_s)
            threads = pending_threads(connection, channel, now_s)
            if not threads:
                return None
            due = [due_time(rows, now_s) for rows in threads]
            ready = [rows for rows, at_s in zip(threads, due, strict=True) if at_s <= now_s]
            if wary:
                ready.sort(key=lambda rows: rows[0].attempts)
            if not ready:
                return Wait(min(due))
            digest, alike = False, ready
            if per_minute:
                sent, oldest_s = sent_since(connection, channel, now_s - _RATE_WINDOW_S, now_s)
                if sent >= per_minute:
                    return Wait(oldest_s + _RATE_WINDOW_S)
                # One mail cannot go to some for one alert and to others for the next.
                alike = [rows for rows in ready if rows[-1].addresses == ready[0][-1].addresses]
                digest = sent == per_minute - 1 and len(alike) > 1
            chosen = alike if digest else [rows_of_message(ready[0], now_s)]
            return self._lease(connection, channel, owner, chosen, now_s)

    def sent(self, lease: Lease, remark: str = "") -> None:
        """Mark the rows of a lease as delivered."""
        now_s = self._clock()
        with self._state.change() as connection:
            for row_id, key in lease.rows:
                state = "sent" if row_id in lease.shown else "merged"
                connection.revise(
                    "delivery",
                    "state = ?, done_s = ?, message = ?, error = ?, lease = ''",
                    (state, now_s, lease.message.key, remark),
                    "id = ? AND key = ? AND lease = ?",
                    (row_id, key, lease.owner),
                )
            if lease.channel == HEARTBEAT:
                connection.execute(
                    "DELETE FROM delivery WHERE channel = ? AND id < ?",
                    (HEARTBEAT, lease.rows[0][0]),
                )
            else:
                for notice in lease.message.notices:
                    remember(connection, lease.channel, notice)

    def failed(
        self, lease: Lease, error: str, *, lasting: bool = False, retry_after_s: float = 0.0
    ) -> float:
        """Mark the rows of a lease as not delivered; return when they are tried again.

        A lasting failure, or one after a day, makes them dead letters.
        """
        now_s = self._clock()
        due_s = now_s + max(self.backoff_s(lease.attempts), retry_after_s)
        text = error[:500]
        with self._state.change() as connection:
            for row_id, _ in lease.rows:
                connection.revise(
                    "delivery",
                    "error = ?, due_s = ?, lease = '', lease_until_s = 0",
                    (text, due_s),
                    "id = ? AND lease = ?",
                    (row_id, lease.owner),
                )
                if lasting:
                    be_done(connection, "id = ?", (row_id,), now_s, text)
        return due_s

    def give_up(self, channel: str, state: str, error: str) -> None:
        """Be done with all that a channel has pending, as `dead` or `skipped`."""
        with self._state.change() as connection:
            be_done(connection, "channel = ?", (channel,), self._clock(), error, state)

    def free(self) -> None:
        """Take back every lease, at the start: the directory belongs to this collector alone."""
        with self._state.change() as connection:
            connection.revise(
                "delivery",
                "lease = '', lease_until_s = 0",
                (),
                "state = 'pending' AND (lease <> '' OR lease_until_s <> 0)",
                (),
            )

    def tidy(self) -> None:
        """Forget old rows of the delivery log, and what was last sent by channels that are gone."""
        with self._state.change() as connection:
            connection.execute(
                "DELETE FROM delivery WHERE state <> 'pending' AND channel <> ? AND (added_s < ?"
                " OR id <= (SELECT max(id) FROM delivery) - ?)",
                (HEARTBEAT, self._clock() - KEEP_S, KEEP_ROWS),
            )
            connection.execute(
                "DELETE FROM standing WHERE channel NOT IN (SELECT name FROM channel)"
            )

    def standing(self, channel: str) -> list[Notice]:
        """Return the newest notice that a channel had of each alert that goes on."""
        notices = self._state.decoded(
            "SELECT notice FROM standing WHERE channel = ? ORDER BY thread LIMIT ?",
            (channel, MAX_PENDING),
            unpack,
        )
        return [notice for notice in notices if notice is not None]

    def record(self, entry: ChannelEntry, message: Message, error: str, *, delivered: bool) -> None:
        """Write a message that was sent past the queue, such as a test, into the delivery log."""
        notice, now_s = message.notices[0], self._clock()
        with self._state.change() as connection:
            insert(connection, ChannelRoute(entry.name), notice, pack(notice).decode(), now_s)
            connection.revise(
                "delivery",
                "state = ?, error = ?, attempts = 1, done_s = ?, message = ?",
                ("sent" if delivered else "dead", error[:500], now_s, ""),
                "channel = ? AND key = ?",
                (entry.name, notice.key),
            )

    def backoff_s(self, attempts: int) -> float:
        """Return how long to wait after a number of tries: 1 s to 5 min, half of it by chance."""
        most = min(FIRST_RETRY_S * 2.0 ** min(attempts - 1, 20), LAST_RETRY_S)
        return max(most * (0.5 + 0.5 * self._random()), FIRST_RETRY_S)

    def _expire(self, connection: CheckedConnection, channel: str, now_s: float) -> None:
        error = "not delivered within 24 hours"
        be_done(
            connection,
            "channel = ? AND lease_until_s <= ? AND added_s < ?",
            (channel, now_s, now_s - KEEP_TRYING_S),
            now_s,
            error,
        )

    def _lease(
        self,
        connection: CheckedConnection,
        channel: str,
        owner: str,
        threads: Sequence[Sequence[PendingRow]],
        now_s: float,
    ) -> Lease | Wait:
        threads, shown = self._readable(connection, threads, now_s)
        if not threads:
            return Wait(now_s)
        rows = sorted((row for thread in threads for row in thread), key=lambda row: row.id)
        newest = [thread[-1] for thread in threads]
        attempts = max(row.attempts for row in rows) + 1
        # Due again at once if this process is killed while it sends, and later if that repeats.
        due_s = now_s + self.backoff_s(attempts)
        for row in rows:
            connection.revise(
                "delivery",
                "lease = ?, lease_until_s = ?, attempts = attempts + 1, due_s = ?",
                (owner, now_s + LEASE_S, due_s),
                "id = ?",
                (row.id,),
            )
        key = f"{newest[0].key}:{channel}"
        if len(newest) > 1:
            key = f"digest:{rows[0].id}-{rows[-1].id}:{channel}"
        addresses = dict.fromkeys(each for _, found in shown for each in found)
        message = Message(
            key=key,
            notices=tuple(notice for notice, _ in shown),
            sent_s=now_s,
            addresses=tuple(addresses),
            stands_for=len(rows),
            before=standing_notice(connection, channel, newest[0].thread)
            if len(newest) == 1
            else None,
        )
        ids = frozenset(row.id for row in newest)
        return Lease(channel, message, tuple((r.id, r.key) for r in rows), ids, attempts, owner)

    def _readable(
        self,
        connection: CheckedConnection,
        threads: Sequence[Sequence[PendingRow]],
        now_s: float,
    ) -> tuple[list[Sequence[PendingRow]], list[tuple[Notice, list[str]]]]:
        """Return the alerts whose newest row can be read, in its order, with what it holds.

        A row that cannot be read is given up, and costs itself alone.
        """
        kept, shown = [], []
        for thread in sorted(threads, key=lambda rows: rows[-1].id):
            notice, addresses = read_notice(connection, thread[-1].id)
            if notice is None:
                be_done(connection, "id = ?", (thread[-1].id,), now_s, UNREADABLE)
            else:
                kept.append(thread)
                shown.append((notice, addresses))
        return kept, shown
