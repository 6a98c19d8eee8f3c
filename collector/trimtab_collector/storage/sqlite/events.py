"""Events in metrics.db as they came: slow queries, slow and failed requests and others."""

import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, Final

from trimtab_collector.storage.sqlite.aside import Aside
from trimtab_collector.storage.sqlite.checksums import UnreadableError, checksum, verify
from trimtab_collector.storage.store import EventSelection, Received
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.events import event_of
from trimtab_core.fields import MALFORMED
from trimtab_core.logs import RateLimited
from trimtab_core.rows import EventRow

__all__ = ["EVENT_TABLE", "EventTable"]

EVENT_TABLE: Final = """
CREATE TABLE event (id INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, kind TEXT NOT NULL,
    environment TEXT NOT NULL, service TEXT NOT NULL, instance TEXT NOT NULL,
    route TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER);
CREATE INDEX event_kind ON event (kind, t_us);
"""
logger = logging.getLogger("trimtab.events")

_KEEP_S: Final = 90 * 86_400
_MOST_EVENTS: Final = 100_000
#: what a key and an app of it may send within ten minutes: events, and bytes of them. All that is
#: kept are 100,000: so a flood leaves the others an hour and more.
_TURN_US: Final = 600_000_000
_KEY_EVENTS: Final = 40_000
_KEY_BYTES: Final = 128 * 1024 * 1024
_APP_EVENTS: Final = 10_000
_APP_BYTES: Final = 32 * 1024 * 1024
_FIELDS: Final = ("environment", "service", "instance", "route")


class EventTable:
    """The table of events; writing is for the committer, reading for any thread."""

    def __init__(self, aside: Aside, over: SenderTally | None = None) -> None:
        """Count events over the quota in a tally."""
        self._aside = aside
        #: events and bytes since the last turn: of keys, and of their apps
        self._of_key: dict[str, tuple[int, int]] = {}
        self._of_app: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._turned_us = 0
        self._over = over or SenderTally()
        self._log = RateLimited(logger)

    def write(self, connection: sqlite3.Connection, received: Iterable[Received]) -> None:
        """Write the events of batches in the open transaction, those within the quotas."""
        rows: list[tuple[object, ...]] = []
        for each in received:
            if abs(each.received_us - self._turned_us) >= _TURN_US:
                self._turned_us = each.received_us
                self._of_key.clear()
                self._of_app.clear()
            for event in each.events:
                # What is over the quota anyway is not encoded: others wait for this transaction.
                row = _stored(event) if self._fits(each.key, event, 0) else None
                if row is not None and self._fits(each.key, event, len(row[-2])):
                    rows.append(row)
                else:
                    self._over.note("events", each.key, each.batch.agent)
        connection.executemany(
            "INSERT INTO event (t_us, kind, environment, service, instance, route, body,"
            " crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _fits(self, key: str, event: EventRow, size: int) -> bool:
        """Count an event of a size; False where its key or its app has sent enough for now.

        Whose event was too large has sent enough. Size 0 asks, and counts nothing.
        """
        app = (key, event.environment, event.service)
        count, sum_ = self._of_key.get(key, (0, 0))
        of_app, sum_of_app = self._of_app.get(app, (0, 0))
        if count >= _KEY_EVENTS or sum_ + size >= _KEY_BYTES:
            self._of_key[key] = (_KEY_EVENTS, sum_)
            return False
        if of_app >= _APP_EVENTS or sum_of_app + size >= _APP_BYTES:
            self._of_app[app] = (_APP_EVENTS, sum_of_app)
            return False
        if size:
            self._of_key[key] = (count + 1, sum_ + size)
            self._of_app[app] = (of_app + 1, sum_of_app + size)
        return True

    def read(self, connection: sqlite3.Connection, selection: EventSelection) -> list[EventRow]:
        """Return the latest events of a kind, the latest first."""
        names = [name for name in _FIELDS if name in selection.where]
        wanted = "".join(f" AND {name} = ?" for name in names)
        rows = connection.execute(
            "SELECT id, t_us, kind, environment, service, instance, route,"  # noqa: S608
            " CAST(body AS BLOB), crc FROM event"
            f" WHERE kind = ? AND t_us >= ? AND t_us < ?{wanted}"
            " ORDER BY t_us DESC, id DESC LIMIT ?",
            [
                selection.kind,
                selection.start_s * 1_000_000,
                selection.end_s * 1_000_000,
                *(selection.where[name] for name in names),
                selection.limit,
            ],
        )
        found = []
        for number, *row, crc in rows:
            try:
                verify(crc, *row)
                event: Mapping[str, Any] = _event(row[6], row[1], row[0])
            except (UnreadableError, ValueError, TypeError) as error:
                self._aside.note("event", number, error)
                continue
            try:
                event = event_of(event)
            except MALFORMED as error:  # stored by an earlier version, which checked less
                self._log.warning("event", "an event that is stored is left out: %r", error)
                continue
            found.append(EventRow(row[2], row[3], row[4], event))
        return found

    def drop(self, connection: sqlite3.Connection, now_s: float) -> None:
        """Drop what is too old or too many, in the open transaction; committer only."""
        connection.execute(
            "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (_MOST_EVENTS,)
        )
        connection.execute(
            "DELETE FROM event WHERE t_us < ?", ((int(now_s) - _KEEP_S) * 1_000_000,)
        )


def _stored(row: EventRow) -> tuple[*tuple[object, ...], bytes, int]:
    body = {name: value for name, value in row.event.items() if name not in ("kind", "at_us")}
    route = body.get("route", "")
    values = (
        row.event["at_us"],
        row.event["kind"],
        *row[:3],
        route if isinstance(route, str) else "",
        json.dumps(body, default=str).encode(),
    )
    return *values, checksum(*values)


def _event(body: bytes, kind: str, at_us: int) -> dict[str, Any]:
    return {**json.loads(body), "kind": kind, "at_us": at_us}
