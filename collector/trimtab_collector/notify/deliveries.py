"""The tables of the outbox, and what is asked of them within a transaction."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from trimtab_collector.checkedrows import (
    CheckedConnection,
    UnreadableError,
    add_checksums,
    checked,
    intact,
    verified,
)
from trimtab_collector.notify.notice import Notice, pack, unpack
from trimtab_collector.notify.routing import ChannelRoute
from trimtab_collector.statefile import Schema, reader_of

__all__ = [
    "KEEP_ROWS",
    "KEEP_S",
    "MAX_PENDING",
    "REMOVED",
    "SCHEMA",
    "UNREADABLE",
    "PendingRow",
    "be_done",
    "due_time",
    "insert",
    "pending_threads",
    "read_notice",
    "remember",
    "rows_of_message",
    "sent_since",
    "shed",
    "standing_notice",
]

logger = logging.getLogger("trimtab.notify")

#: pending rows of one channel; beyond it some are given up, critical ones last
MAX_PENDING: Final = 5000
#: rows that are done with, for the delivery log
KEEP_ROWS: Final = 10_000
KEEP_S: Final = 30 * 86_400.0
#: why a row is given up whose channel is gone
REMOVED: Final = "the channel was removed"
#: why a row is given up that another version wrote, or a disk damaged
UNREADABLE: Final = "the row cannot be read"
#: after which a message that waits is merged with newer ones of its alert
_MERGE_AFTER_S: Final = 60.0
#: longer than any retry, Retry-After or lease
_FARTHEST_S: Final = 7200.0
#: pending rows of one channel that are looked at for one message
_LOOK: Final = 500

SCHEMA: Final = Schema(
    "notify",
    (
        """CREATE TABLE delivery (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            channel TEXT NOT NULL,
            key TEXT NOT NULL,
            thread TEXT NOT NULL,
            kind TEXT NOT NULL,
            severity TEXT NOT NULL,
            notice TEXT NOT NULL,
            addresses TEXT NOT NULL,
            state TEXT NOT NULL,
            added_s REAL NOT NULL,
            due_s REAL NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            lease TEXT NOT NULL DEFAULT '',
            lease_until_s REAL NOT NULL DEFAULT 0,
            error TEXT NOT NULL DEFAULT '',
            message TEXT NOT NULL DEFAULT '',
            done_s REAL,
            UNIQUE (channel, key)
        );
        CREATE INDEX delivery_pending ON delivery (channel, id) WHERE state = 'pending';
        CREATE INDEX delivery_sent ON delivery (channel, done_s) WHERE state = 'sent';
        CREATE INDEX delivery_failing ON delivery (channel, id)
            WHERE state = 'pending' AND error <> '';
        CREATE INDEX delivery_state ON delivery (channel, state, added_s, done_s);
        CREATE TABLE standing (
            channel TEXT NOT NULL,
            thread TEXT NOT NULL,
            notice TEXT NOT NULL,
            PRIMARY KEY (channel, thread)
        ) WITHOUT ROWID""",
        """CREATE INDEX delivery_urgent ON delivery (channel, severity, id, thread)
            WHERE state = 'pending'""",
        add_checksums("delivery", "standing"),
    ),
)
#: pending alerts of a channel by urgency; an alert that has a critical row waits as a whole
_BY_URGENCY: Final = (
    "SELECT id FROM delivery INDEXED BY delivery_urgent"
    " WHERE state = 'pending' AND channel = ?1"
    " ORDER BY thread IN (SELECT thread FROM delivery INDEXED BY delivery_urgent"
    " WHERE state = 'pending' AND channel = ?1 AND severity = 'critical') DESC, id LIMIT ?2"
)


@dataclass(frozen=True, slots=True)
class PendingRow:
    """One pending row, without its notice."""

    id: int
    key: str
    thread: str
    added_s: float
    due_s: float
    attempts: int
    lease_until_s: float
    addresses: str
    severity: str


_pending: Final = reader_of(PendingRow)


def insert(
    connection: CheckedConnection, route: ChannelRoute, notice: Notice, text: str, now_s: float
) -> None:
    """Add a row, but not a second one of the same channel and key."""
    connection.put(
        "delivery",
        (
            *(route.channel, notice.key, notice.thread, notice.kind, notice.severity, text),
            *(json.dumps(route.addresses), route.state, now_s, now_s, route.trouble),
            None if route.state == "pending" else now_s,
        ),
        "channel, key, thread, kind, severity, notice, addresses, state, added_s, due_s, error,"
        " done_s",
        conflict="IGNORE",
    )


def shed(connection: CheckedConnection, channel: str, now_s: float) -> None:
    """Give up rows of a channel with too many: the oldest, critical ones only where all are."""
    (waiting,) = connection.execute(
        "SELECT count(*) FROM delivery WHERE state = 'pending' AND channel = ?", (channel,)
    ).fetchone()
    error = f"more than {MAX_PENDING} messages waited: the oldest were given up, critical ones last"
    for severity in ("warning", "critical"):
        if waiting <= MAX_PENDING:
            return
        which = (
            "id IN (SELECT id FROM delivery WHERE state = 'pending' AND channel = ?"
            " AND severity = ? ORDER BY id LIMIT ?)"
        )
        values = (channel, severity, waiting - MAX_PENDING)
        waiting -= be_done(connection, which, values, now_s, error)


def pending_threads(
    connection: CheckedConnection, channel: str, now_s: float
) -> list[list[PendingRow]]:
    """Return the pending rows of a channel by alert, each in order.

    Alerts with something critical come first, then the oldest alert. A row that cannot be read is
    given up.
    """
    sql, count = checked(
        connection,
        "SELECT id, key, thread, added_s, due_s, attempts, lease_until_s,"  # noqa: S608 - ours
        f" addresses, severity FROM delivery WHERE id IN ({_BY_URGENCY}) ORDER BY id",
    )
    rows = connection.execute(sql, (channel, _LOOK)).fetchall()
    threads: dict[str, list[PendingRow]] = {}
    for row in rows:
        try:
            pending = _pending(*verified(row, count))
        except (msgspec.ValidationError, UnreadableError):
            be_done(connection, "id = ?", (row[0],), now_s, UNREADABLE)
            continue
        threads.setdefault(pending.thread, []).append(pending)
    return sorted(
        threads.values(), key=lambda thread: all(row.severity != "critical" for row in thread)
    )


def due_time(thread: Sequence[PendingRow], now_s: float) -> float:
    """Return when the first row of an alert may be sent; the others wait for it.

    A time that lies further ahead than any wait is from before the clock was put back.
    """
    times = (thread[0].due_s, *(row.lease_until_s for row in thread))
    return max((at_s for at_s in times if at_s < now_s + _FARTHEST_S), default=0.0)


def rows_of_message(thread: Sequence[PendingRow], now_s: float) -> Sequence[PendingRow]:
    """Return the rows that one message of an alert stands for."""
    first = thread[0]
    late = first.attempts > 0 or now_s - first.added_s > _MERGE_AFTER_S
    return thread if late else thread[:1]


def sent_since(
    connection: CheckedConnection, channel: str, since_s: float, now_s: float
) -> tuple[int, float]:
    """Return how many messages a channel took since a time, and when the first of them."""
    count, oldest_s = connection.execute(
        "SELECT count(DISTINCT message), min(done_s) FROM delivery"
        " WHERE state = 'sent' AND channel = ? AND done_s > ? AND done_s <= ?"
        " AND message <> ''",
        (channel, since_s, now_s),
    ).fetchone()
    return count, oldest_s or 0.0


def read_notice(connection: CheckedConnection, row_id: int) -> tuple[Notice | None, list[str]]:
    """Return the notice of a row, None when it cannot be read, and its mail addresses."""
    found = intact(connection, "SELECT notice, addresses FROM delivery WHERE id = ?", (row_id,))
    if not found:
        return None, []
    text, addresses = found[0]
    try:
        return unpack(text), msgspec.json.decode(addresses, type=list[str])
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None, []


def standing_notice(connection: CheckedConnection, channel: str, thread: str) -> Notice | None:
    sql = "SELECT notice FROM standing WHERE channel = ? AND thread = ?"
    found = intact(connection, sql, (channel, thread))
    return unpack(found[0][0]) if found else None


def remember(connection: CheckedConnection, channel: str, notice: Notice) -> None:
    """Remember what a channel had last of an alert, until that is over."""
    if notice.ended_s is None and notice.kind not in ("resolved", "expired", "test"):
        connection.put(
            "standing",
            (channel, notice.thread, pack(notice).decode()),
            conflict="REPLACE",
        )
    else:
        connection.execute(
            "DELETE FROM standing WHERE channel = ? AND thread = ?", (channel, notice.thread)
        )


def be_done(
    connection: CheckedConnection,
    which: str,
    values: Sequence[object],
    now_s: float,
    error: str,
    state: str = "dead",
) -> int:
    """Be done with pending rows without having sent them; an earlier error is kept beside.

    Returns how many rows that are.
    """
    done = connection.revise(
        "delivery",
        "state = ?, done_s = ?, lease = '',"
        " error = CASE WHEN error IN ('', ?) THEN ? ELSE ? || '; last: ' || error END",
        (state, now_s, error, error, error),
        f"state = 'pending' AND {which}",
        values,
        damaged=True,
    )
    if done:
        logger.warning("messages were not sent: %s count=%d state=%s", error, done, state)
    return done
