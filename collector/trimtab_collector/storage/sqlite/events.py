"""Events in metrics.db as they came: slow queries, slow and failed requests and others."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from trimtab_collector.storage.store import EventSelection, Received
from trimtab_core.rows import EventRow

__all__ = ["EVENT_TABLE", "EventTable"]

EVENT_TABLE: Final = """
CREATE TABLE event (id INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, kind TEXT NOT NULL,
    environment TEXT NOT NULL, service TEXT NOT NULL, instance TEXT NOT NULL,
    route TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX event_kind ON event (kind, t_us);
"""
_KEEP_S: Final = 90 * 86_400
_MOST_EVENTS: Final = 100_000
_FIELDS: Final = ("environment", "service", "instance", "route")


class EventTable:
    """The table of events; writing is for the committer, reading for any thread."""

    def write(self, connection: sqlite3.Connection, received: Iterable[Received]) -> None:
        """Write the events of batches in the open transaction."""
        connection.executemany(
            "INSERT INTO event (t_us, kind, environment, service, instance, route, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [_stored(row) for each in received for row in each.events],
        )

    def read(self, connection: sqlite3.Connection, selection: EventSelection) -> list[EventRow]:
        """Return the latest events of a kind, the latest first."""
        names = [name for name in _FIELDS if name in selection.where]
        wanted = "".join(f" AND {name} = ?" for name in names)
        rows = connection.execute(
            "SELECT t_us, environment, service, instance, body FROM event"  # noqa: S608
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
        return [
            EventRow(environment, service, instance, _event(body, selection.kind, at_us))
            for at_us, environment, service, instance, body in rows
        ]

    def drop(self, connection: sqlite3.Connection, now_s: float) -> None:
        """Drop what is too old or too many, in the open transaction; committer only."""
        connection.execute(
            "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (_MOST_EVENTS,)
        )
        connection.execute(
            "DELETE FROM event WHERE t_us < ?", ((int(now_s) - _KEEP_S) * 1_000_000,)
        )


def _stored(row: EventRow) -> tuple[object, ...]:
    body = {name: value for name, value in row.event.items() if name not in ("kind", "at_us")}
    route = body.get("route", "")
    return (
        row.event["at_us"],
        row.event["kind"],
        *row[:3],
        route if isinstance(route, str) else "",
        json.dumps(body, default=str).encode(),
    )


def _event(body: bytes, kind: str, at_us: int) -> dict[str, Any]:
    return {**json.loads(body), "kind": kind, "at_us": at_us}
