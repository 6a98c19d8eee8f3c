"""What apps measured of their inside, in the small file: rows of measures, and events.

A batch's rows are written in the transaction that takes the batch, so they count exactly once.
Rows of ten seconds become rows of a minute after a quarter of an hour, and of an hour after two
days; rows that come late are rolled up by themselves, and reads add up all there are.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec

from trimtab_collector.storage.store import Received, TooMuchError
from trimtab_core.measures import OTHER, Attributes, Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow

__all__ = [
    "TABLES",
    "EventSelection",
    "MeasurePart",
    "MeasureSelection",
    "MeasureTable",
    "Measures",
]

TABLES: Final = """
CREATE TABLE measure (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, service TEXT NOT NULL,
    instance TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,
    attributes TEXT NOT NULL,
    UNIQUE (name, environment, service, instance, kind, unit, attributes));
CREATE TABLE amount (measure INTEGER NOT NULL, t INTEGER NOT NULL, step_s INTEGER NOT NULL,
    count INTEGER NOT NULL, sum REAL NOT NULL, min REAL NOT NULL, max REAL NOT NULL,
    last REAL NOT NULL, buckets BLOB NOT NULL);
CREATE INDEX amount_measure ON amount (measure, t);
CREATE INDEX amount_step ON amount (step_s, t);
CREATE TABLE event (id INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, kind TEXT NOT NULL,
    environment TEXT NOT NULL, service TEXT NOT NULL, instance TEXT NOT NULL,
    route TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX event_kind ON event (kind, t_us);
"""
#: rows of a step become rows of the next when they are as old, seconds
_ROLLS: Final = ((10, 60, 900), (60, 3600, 2 * 86_400))
_KEEP_S: Final = 90 * 86_400
_MOST_MEASURES: Final = 200_000
_MOST_EVENTS: Final = 100_000
_MOST_READ: Final = 1_000_000
#: rows that one transaction of a roll-up takes
_SLICE: Final = 4_000

_Whose = tuple[str, str, str, MeasureKey]
#: measures that a transaction has numbered
Measures = dict[_Whose, int]
_AMOUNT: Final = "t, step_s, count, sum, min, max, last, buckets"
_INSERT: Final = (
    f"INSERT INTO amount (measure, {_AMOUNT})"  # noqa: S608
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_OLD: Final = (
    f"SELECT measure, rowid, {_AMOUNT} FROM amount"  # noqa: S608
    " WHERE step_s = ? AND t >= ? AND t < ? ORDER BY measure, t LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class MeasureSelection:
    """What a read of measures asks for; `where` names environment, service, instance.

    Steps are those of `Selection`: a row belongs to the step in which its window starts.
    """

    edges_s: tuple[int, ...]
    #: exact names; ends with `*` for all that begin so
    names: tuple[str, ...]
    where: Mapping[str, str] = field(default_factory=dict)


class MeasurePart(NamedTuple):
    """What was added to a measure within one step of a read."""

    environment: str
    service: str
    instance: str
    key: MeasureKey
    #: place of the step
    step: int
    delta: Delta


@dataclass(frozen=True, slots=True)
class EventSelection:
    """What a read of events asks for: the latest of a kind; `where` may name a route, too."""

    start_s: int
    end_s: int
    kind: str
    where: Mapping[str, str] = field(default_factory=dict)
    limit: int = 100


class MeasureTable:
    """Rows of measures and events; writing belongs to the committer, reading to any thread."""

    def __init__(self) -> None:
        self._ids: dict[_Whose, int] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        """Read the measures that are known."""
        rows = connection.execute(
            "SELECT id, environment, service, instance, name, kind, unit, attributes FROM measure"
        )
        self._ids = {(row[1], row[2], row[3], _key(row[4:])): row[0] for row in rows}

    def write(self, connection: sqlite3.Connection, received: Iterable[Received]) -> Measures:
        """Write the rows of batches in the open transaction; returns what `confirm` takes."""
        new: Measures = {}
        amounts: list[tuple[object, ...]] = []
        events: list[tuple[object, ...]] = []
        for each in received:
            step_s = each.batch.step_s
            for row in each.measures:
                number = self._number(connection, row, new)
                amounts.append((number, *_stored(each.window_s, step_s, row.delta)))
            events += [_event_row(row) for row in each.events]
        connection.executemany(_INSERT, amounts)
        connection.executemany(
            "INSERT INTO event (t_us, kind, environment, service, instance, route, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            events,
        )
        return new

    def confirm(self, new: Measures) -> None:
        """Take over the measures of a transaction that is durable."""
        self._ids.update(new)

    def _number(self, connection: sqlite3.Connection, row: MeasureRow, new: Measures) -> int:
        whose: _Whose = row[:4]
        found = self._ids.get(whose) or new.get(whose)
        if found is None and len(self._ids) + len(new) >= _MOST_MEASURES:
            others = tuple((name, OTHER) for name, _ in row.key.attributes)
            whose = (*row[:2], "", row.key._replace(attributes=others))
            found = self._ids.get(whose) or new.get(whose)
        if found is None:
            key = whose[3]
            cursor = connection.execute(
                "INSERT INTO measure (environment, service, instance, name, kind, unit, attributes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*whose[:3], key.name, key.kind, key.unit, _text(key.attributes)),
            )
            found = new[whose] = cursor.lastrowid or 0
        return found

    def read(
        self, connection: sqlite3.Connection, selection: MeasureSelection
    ) -> list[MeasurePart]:
        """Return what was added, measure by measure and step by step.

        Raises TooMuchError before it reads too many rows.
        """
        edges = selection.edges_s
        wanted, arguments = _filter(selection)
        source = (
            f"FROM amount a JOIN measure m ON m.id = a.measure WHERE {wanted}"
            " AND a.t >= ? AND a.t < ?"
        )
        arguments += [edges[0], edges[-1]]
        (count,) = connection.execute(f"SELECT count(*) {source}", arguments).fetchone()
        if count > _MOST_READ:
            raise TooMuchError(
                f"expected at most {_MOST_READ} rows of measures, got {count}: ask for one service "
                "or instance, or a shorter range"
            )
        found: dict[tuple[int, int], MeasurePart] = {}
        names = "m.id, m.environment, m.service, m.instance, m.name, m.kind, m.unit, m.attributes"
        step = 0
        for row in connection.execute(f"SELECT {names}, a.* {source} ORDER BY a.t", arguments):
            t, delta = row[9], _delta(row[11:])
            while t >= edges[step + 1]:
                step += 1
            part = found.get((row[0], step))
            if part is None:
                whose = row[1], row[2], row[3], _key(row[4:8])
                found[row[0], step] = MeasurePart(*whose, step, delta)
            else:
                part.delta.merge(delta)
        return list(found.values())

    def events(
        self, connection: sqlite3.Connection, selection: EventSelection
    ) -> list[tuple[EventRow, int]]:
        """Return the latest events of a kind, the latest first, each with its number."""
        fields = ("environment", "service", "instance", "route")
        names = [name for name in fields if name in selection.where]
        wanted = "".join(f" AND {name} = ?" for name in names)
        rows = connection.execute(
            "SELECT id, t_us, kind, environment, service, instance, body FROM event"  # noqa: S608
            f" WHERE kind = ? AND t_us >= ? AND t_us < ?{wanted} ORDER BY t_us DESC LIMIT ?",
            [
                selection.kind,
                selection.start_s * 1_000_000,
                selection.end_s * 1_000_000,
                *(selection.where[name] for name in names),
                selection.limit,
            ],
        )
        return [
            (EventRow(environment, service, instance, _event(body, kind, at_us)), number)
            for number, at_us, kind, environment, service, instance, body in rows
        ]

    def roll_up(self, connection: sqlite3.Connection, now_s: float) -> bool:
        """Roll up a slice of what is old enough, in the open transaction; False when none is left.

        Committer only.
        """
        for step_s, wider_s, age_s in _ROLLS:
            before_s = (int(now_s) - age_s) // wider_s * wider_s
            (oldest,) = connection.execute(
                "SELECT min(t) FROM amount WHERE step_s = ? AND t < ?", (step_s, before_s)
            ).fetchone()
            if oldest is None:
                continue
            start_s = oldest // wider_s * wider_s
            rows = connection.execute(
                _OLD,
                (step_s, start_s, start_s + wider_s, _SLICE),
            ).fetchall()
            self._merge(connection, rows, start_s, wider_s)
            return True
        return False

    def _merge(
        self, connection: sqlite3.Connection, rows: Sequence[Any], start_s: int, wider_s: int
    ) -> None:
        merged: list[tuple[object, ...]] = []
        for measure, some in groupby(rows, key=lambda row: row[0]):
            delta = Delta()
            for row in some:
                delta.merge(_delta(row[4:]))
            merged.append((measure, *_stored(start_s, wider_s, delta)))
        connection.executemany("DELETE FROM amount WHERE rowid = ?", [(row[1],) for row in rows])
        connection.executemany(_INSERT, merged)

    def drop(self, connection: sqlite3.Connection, now_s: float) -> None:
        """Drop what is too old, in the open transaction; committer only."""
        connection.execute(
            "DELETE FROM amount WHERE step_s = 3600 AND t < ?", (int(now_s) - _KEEP_S,)
        )
        connection.execute(
            "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (_MOST_EVENTS,)
        )
        connection.execute(
            "DELETE FROM event WHERE t_us < ?", ((int(now_s) - _KEEP_S) * 1_000_000,)
        )


def _filter(selection: MeasureSelection) -> tuple[str, list[object]]:
    arguments: list[object] = []
    names = []
    for name in selection.names:
        if name.endswith("*"):
            names.append("substr(m.name, 1, ?) = ?")
            arguments += [len(name) - 1, name[:-1]]
        else:
            names.append("m.name = ?")
            arguments.append(name)
    wanted = f"({' OR '.join(names)})"
    for name in ("environment", "service", "instance"):
        if name in selection.where:
            wanted += f" AND m.{name} = ?"
            arguments.append(selection.where[name])
    return wanted, arguments


def _stored(t: int, step_s: int, delta: Delta) -> tuple[object, ...]:
    buckets = msgspec.msgpack.encode(delta.flat_buckets())
    return t, step_s, delta.count, delta.sum, delta.min, delta.max, delta.last, buckets


def _delta(row: Sequence[Any]) -> Delta:
    count, total, least, most, last, packed = row
    flat = msgspec.msgpack.decode(packed, type=list[int])
    return Delta(count, total, least, most, last, dict(zip(flat[::2], flat[1::2], strict=True)))


def _event_row(row: EventRow) -> tuple[object, ...]:
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


def _key(row: Sequence[Any]) -> MeasureKey:
    name, kind, unit, attributes = row
    return MeasureKey(name, kind, unit, _attributes(attributes))


def _text(attributes: Attributes) -> str:
    return json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))


def _attributes(text: str) -> Attributes:
    return tuple((str(name), str(value)) for name, value in json.loads(text))
