"""NewMeasures in metrics.db: one row per measure and window, with what was added to it.

A batch's rows are written in the transaction that stores the batch, so they count exactly once.
What a transaction has of one measure and window is one row. Rows become wider with age
(`amountrolls`). Rows that arrive late are rolled up separately, and reads add up all there are.

A measure is deleted with its last row. If there are too many measures, those that nothing was added
to for the longest time are added up under the attributes `other`; measures in use keep their names.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from trimtab_collector.storage.grouping import WhoseMeasure, grouped_by
from trimtab_collector.storage.rolls import ROLLS
from trimtab_collector.storage.shares import SharedPlaces
from trimtab_collector.storage.sqlite.amounts import (
    AMOUNT_COLUMNS,
    INSERT_AMOUNT,
    amount_row,
    attributes_text,
    delta_of_row,
    measure_key,
    other_measure,
    other_of_service,
)
from trimtab_collector.storage.sqlite.aside import Aside, set_aside
from trimtab_collector.storage.sqlite.checksums import UnreadableError, checksum, verify
from trimtab_collector.storage.store import (
    MeasurePart,
    MeasureSelection,
    Received,
    TooMuchError,
)
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.measures import OTHER, Delta
from trimtab_core.rows import MeasureRow

__all__ = ["TABLES", "MeasureTable", "NewMeasures"]

TABLES: Final = """
CREATE TABLE measure (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, service TEXT NOT NULL,
    instance TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,
    attributes TEXT NOT NULL, crc INTEGER,
    UNIQUE (name, environment, service, instance, kind, unit, attributes));
CREATE TABLE amount (measure INTEGER NOT NULL, t INTEGER NOT NULL, step_s INTEGER NOT NULL,
    count INTEGER NOT NULL, sum REAL NOT NULL, min REAL NOT NULL, max REAL NOT NULL,
    last REAL NOT NULL, buckets BLOB NOT NULL, crc INTEGER);
CREATE INDEX amount_measure ON amount (measure, t);
CREATE INDEX amount_step ON amount (step_s, t);
"""

_MOST_MEASURES: Final = 200_000
_MOST_READ: Final = 1_000_000
#: a measure is idle when nothing was added to it for this long, seconds
_IDLE_S: Final = 3600
#: measures that one transaction looks at, and seconds between two foldings
_LOOKED_AT: Final = 20_000
_FOLD_EVERY_S: Final = 600.0
#: every row is written as of a window that is stored, however wide that of its batch was: so each
#: is rolled up, and dropped in the end
_STEP_S: Final = ROLLS[0][0]
_NAMES: Final = "environment, service, instance, name, kind, unit, attributes"
_KNOWN: Final = f"SELECT id, {_NAMES}, crc FROM measure"  # noqa: S608

#: measures that a transaction has added, with their ids
NewMeasures = dict[WhoseMeasure, int]
_AMOUNTS: Final = ", ".join(f"a.{name}" for name in AMOUNT_COLUMNS.split(", "))


class MeasureTable:
    """Rows of measures; writing belongs to the committer, reading to any thread."""

    def __init__(self, aside: Aside, over: SenderTally | None = None) -> None:
        """Count what becomes `other` or is left out in a tally."""
        self._aside = aside
        self._ids: dict[WhoseMeasure, int] = {}
        #: those in use, by the key and app that brought them
        self._places: SharedPlaces[int] = SharedPlaces(_MOST_MEASURES)
        self._turned_s = 0.0
        #: id of the measure that `forget` has looked at last, and when it last folded
        self._looked_at = 0
        self._folded_s = 0.0
        #: rows for which even `other` had no room, and those that could not be read
        self.left_out = 0
        self._over = over or SenderTally()

    def load(self, connection: sqlite3.Connection) -> None:
        """Load the known measures; what belongs to one that cannot be read is set aside."""
        for row in connection.execute(_KNOWN).fetchall():
            try:
                verify(row[-1], *row[1:-1])
                self._ids[_whose(row[1:-1])] = row[0]
            except (UnreadableError, ValueError, TypeError) as error:
                gone = connection.execute("DELETE FROM amount WHERE measure = ?", row[:1]).rowcount
                connection.execute("DELETE FROM measure WHERE id = ?", row[:1])
                set_aside(connection, "measure", row, f"with {gone} rows of amounts: {error}")
                self._aside.note("measure", row[0], error)

    def names(self) -> list[WhoseMeasure]:
        """Return the known measures; any thread."""
        # Copied at once, whatever the committer adds meanwhile.
        return list(self._ids)

    def write(self, connection: sqlite3.Connection, received: Iterable[Received]) -> NewMeasures:
        """Write the rows of batches in the open transaction; pass the result to `confirm`."""
        new: NewMeasures = {}
        #: by measure and window: a measure that batches repeat costs readers one row
        deltas: dict[tuple[int, int], list[Delta]] = {}
        for each in received:
            window_s = each.window_s
            for row in each.measures:
                number = self._number(connection, row, new, each)
                if number is None:
                    self.left_out += 1
                else:
                    deltas.setdefault((number, window_s), []).append(row.delta)
        connection.executemany(
            INSERT_AMOUNT,
            [
                amount_row(*place, _STEP_S, some[0] if len(some) == 1 else _sum(some))
                for place, some in deltas.items()
            ],
        )
        return new

    def confirm(self, new: NewMeasures) -> None:
        """Remember the measures of a transaction that is durable."""
        self._ids.update(new)

    def _number(
        self, connection: sqlite3.Connection, row: MeasureRow, new: NewMeasures, of: Received
    ) -> int | None:
        """Return the id of a measure, or of the `other` that collects it; None without room.

        The `other` of names and of services have a twentieth of the limit each beyond it.
        """
        whose: WhoseMeasure = row[:4]
        app = whose[:2]
        for name, beyond in ((whose, 0), (other_measure(whose), _MOST_MEASURES // 20 + 1)):
            found = self._ids.get(name) or new.get(name)
            if found is None:
                self._places.taken = len(self._ids) + len(new)
                if self._places.has_room(of.key, app, beyond):
                    found = new[name] = _insert_measure(connection, name)
            if found is not None:
                self._places.use(found, of.key, app)
                return found
            self._over.note("measures", of.key, of.batch.agent)
        name = other_of_service(whose)
        found = self._ids.get(name) or new.get(name)
        if found is None and len(self._ids) + len(new) < _MOST_MEASURES * 22 // 20 + 2:
            found = new[name] = _insert_measure(connection, name)
        return found

    def read(
        self, connection: sqlite3.Connection, selection: MeasureSelection
    ) -> list[MeasurePart]:
        """Return what was added, by group and then step.

        Raises TooMuchError before reading too many rows.
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
        found: dict[tuple[object, ...], MeasurePart] = {}
        names: dict[int, WhoseMeasure] = {}
        step = 0
        for row in connection.execute(
            f"SELECT a.rowid, {_AMOUNTS} {source} ORDER BY a.t", arguments
        ):
            t, whose = row[2], names.get(row[1])
            try:
                delta = delta_of_row(row[1:])
                if whose is None:
                    whose = names[row[1]] = grouped_by(selection, _named(connection, row[1]))
            except (UnreadableError, ValueError, TypeError) as error:
                self._aside.note("amount", row[0], error)
                continue
            while t >= edges[step + 1]:
                step += 1
            part = found.get((whose, step))
            if part is None:
                found[whose, step] = MeasurePart(*whose, step, delta)
            else:
                part.delta.merge(delta)
        return sorted(found.values(), key=lambda part: (part[:4], part.step))

    def forget(self, connection: sqlite3.Connection, now_s: float) -> "Forgotten":
        """Delete measures without rows, and fold idle ones, in the open transaction.

        A slice of the measures is looked at. Beyond nine tenths of the limit, the rows of those
        that have been idle for the longest time, and for at least an hour, become rows of `other`.
        Committer only; pass the result to `confirm_forgotten` once it is durable.
        """
        forgotten = Forgotten(now_s)
        (end,) = connection.execute(
            "SELECT max(id) FROM (SELECT id FROM measure WHERE id > ? ORDER BY id LIMIT ?)",
            (self._looked_at, _LOOKED_AT),
        ).fetchone()
        if end is not None:
            forgotten.gone.update(
                _whose(row)
                for row in connection.execute(
                    "DELETE FROM measure WHERE id > ? AND id <= ? AND NOT EXISTS"  # noqa: S608
                    " (SELECT 1 FROM amount WHERE amount.measure = measure.id)"
                    f" RETURNING {_NAMES}",
                    (self._looked_at, end),
                ).fetchall()
            )
        forgotten.looked_at = end or 0
        over = len(self._ids) - len(forgotten.gone) - _MOST_MEASURES * 9 // 10
        if over > 0 and now_s - self._folded_s >= _FOLD_EVERY_S:
            forgotten.folded_s = now_s
            self._fold(connection, over, int(now_s) - _IDLE_S, forgotten)
        return forgotten

    def confirm_forgotten(self, forgotten: "Forgotten") -> None:
        """Let memory follow what `forget` has made durable."""
        for whose in forgotten.gone:
            self._ids.pop(whose, None)
        self._ids.update(forgotten.new)
        self._looked_at = forgotten.looked_at
        self._folded_s = max(self._folded_s, forgotten.folded_s)
        if forgotten.now_s - self._turned_s >= _IDLE_S:
            self._turned_s = forgotten.now_s
            self._places.turn()

    def _fold(
        self, connection: sqlite3.Connection, over: int, before_s: int, forgotten: "Forgotten"
    ) -> None:
        """Fold idle measures until there are `over` fewer, or no more that are idle.

        Into the `other` of their name where that has several members, else into that of the
        service: folding must always leave fewer measures than before.
        """
        idle = [
            (row[0], _whose(row[1:]))
            for row in connection.execute(
                f"SELECT id, {_NAMES} FROM measure m JOIN"  # noqa: S608
                " (SELECT measure, max(t) AS latest FROM amount GROUP BY measure) a"
                " ON a.measure = m.id WHERE a.latest < ? AND name <> ?"
                " ORDER BY a.latest LIMIT ?",
                (before_s, OTHER, _LOOKED_AT),
            )
        ]
        members = Counter(
            each(whose) for _, whose in idle for each in (other_measure, other_of_service)
        )
        fewer = 0
        # A name goes only when folding within names does not leave enough room.
        for to_service, wanted in ((False, over + _MOST_MEASURES // 100), (True, over)):
            for number, whose in idle:
                if fewer >= wanted:
                    break
                into = other_of_service(whose) if to_service else other_measure(whose)
                target = self._target(into, forgotten)
                if into == whose or whose in forgotten.gone or not (target or members[into] > 1):
                    continue
                if target is None:
                    target = forgotten.new[into] = _insert_measure(connection, into)
                    fewer -= 1
                connection.execute(
                    "UPDATE amount SET measure = ?1, crc = crc - measure + ?1 WHERE measure = ?2",
                    (target, number),
                )
                connection.execute("DELETE FROM measure WHERE id = ?", (number,))
                forgotten.gone.add(whose)
                fewer += 1

    def _target(self, into: WhoseMeasure, forgotten: "Forgotten") -> int | None:
        """Return the id of a measure as this transaction leaves it; None if it has none."""
        known = None if into in forgotten.gone else self._ids.get(into)
        return forgotten.new.get(into) or known


def _whose(row: Sequence[Any]) -> WhoseMeasure:
    """Return a measure from its columns `_NAMES`."""
    return (row[0], row[1], row[2], measure_key(row[3:]))


def _named(connection: sqlite3.Connection, number: int) -> WhoseMeasure:
    """Return the measure of an id; raises UnreadableError, ValueError or TypeError."""
    (*row, crc) = connection.execute(
        f"SELECT {_NAMES}, crc FROM measure WHERE id = ?",  # noqa: S608
        (number,),
    ).fetchone()
    verify(crc, *row)
    return _whose(row)


@dataclass(slots=True)
class Forgotten:
    """What one transaction of `MeasureTable.forget` changes."""

    now_s: float
    gone: set[WhoseMeasure] = field(default_factory=set)
    new: NewMeasures = field(default_factory=dict)
    looked_at: int = 0
    folded_s: float = 0.0


def _sum(deltas: Iterable[Delta]) -> Delta:
    """Return the sum of deltas in their order; they are others' and stay as they are."""
    whole = Delta()
    for delta in deltas:
        whole.merge(delta)
    return whole


def _insert_measure(connection: sqlite3.Connection, whose: WhoseMeasure) -> int:
    key = whose[3]
    values = (*whose[:3], key.name, key.kind, key.unit, attributes_text(key.attributes))
    cursor = connection.execute(
        "INSERT OR IGNORE INTO measure"
        " (environment, service, instance, name, kind, unit, attributes, crc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, checksum(*values)),
    )
    if cursor.rowcount:
        return cursor.lastrowid or 0
    # It is in the file, but memory forgot it in a transaction that failed.
    (number,) = connection.execute(
        "SELECT id FROM measure WHERE environment = ? AND service = ? AND instance = ?"
        " AND name = ? AND kind = ? AND unit = ? AND attributes = ?",
        values,
    ).fetchone()
    return int(number)


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
