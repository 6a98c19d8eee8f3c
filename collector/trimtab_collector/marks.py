"""Marks: moments that charts, alerts and reports carry, such as deploys, kept in `state.db`."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from trimtab_collector.auth.audit import note
from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.callers import Caller, Reply
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.kinds import Instant, Moment
from trimtab_collector.contract.marks import KIND, MARK_ID, MarkBody, MarkList, NewMark
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.statefile import Schema, StateFile, reader_of

__all__ = ["Mark", "Marks", "delete_mark", "is_suspect", "list_marks", "mark_body", "post_mark"]

#: marks that are kept; the oldest go first
_MOST: Final = 20_000
#: the kind of marks that say something and change nothing
_NOTE: Final = "note"
#: of those that come with a history
_SHOWN: Final = 100
_AT: Final = Instant("at", "When it happened.")
_SCHEMA: Final = Schema(
    "marks",
    (
        """CREATE TABLE mark (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            environment TEXT NOT NULL,
            service TEXT NOT NULL,
            at_s REAL NOT NULL,
            by TEXT NOT NULL,
            detail TEXT NOT NULL,
            noted_s REAL NOT NULL
        );
        CREATE INDEX mark_at ON mark (at_s)""",
        add_checksums("mark"),
    ),
)
_COLUMNS: Final = "id, kind, name, environment, service, at_s, by, detail"


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment. Without environment or service it is one of everything."""

    id: int
    kind: str
    name: str
    environment: str
    service: str
    #: epoch seconds
    at_s: float
    #: who set it, empty for what showed up by itself
    by: str
    detail: str


_mark_of: Final = reader_of(Mark)


def is_suspect(mark: Mark) -> bool:
    """Tell whether a mark can be what changed: a note can only if it is of one service."""
    return mark.kind != _NOTE or bool(mark.service)


class Marks:
    """All marks, at most 20,000; any thread."""

    def __init__(self, state: StateFile, clock: Callable[[], float] = time.time) -> None:
        state.bring(_SCHEMA)
        self._state = state
        self._clock = clock

    def add(
        self,
        kind: str,
        name: str,
        environment: str = "",
        service: str = "",
        at_s: float | None = None,
        by: str = "",
        detail: str = "",
    ) -> Mark:
        """Keep a mark; without a time, of now. One that is here already is returned as it is."""
        now_s = self._clock()
        at_s = now_s if at_s is None else at_s
        fields = (kind, name, environment, service, at_s, by, detail)
        with self._state.change() as connection:
            same = connection.execute(
                "SELECT id FROM mark WHERE kind = ? AND name = ? AND environment = ?"
                " AND service = ? AND at_s = ? AND by = ? AND detail = ?",
                fields,
            ).fetchone()
            if same:
                return Mark(same[0], *fields)
            number = connection.put(
                "mark",
                (*fields, now_s),
                "kind, name, environment, service, at_s, by, detail, noted_s",
            )
            connection.execute(
                "DELETE FROM mark WHERE id IN"
                " (SELECT id FROM mark ORDER BY at_s DESC, id DESC LIMIT -1 OFFSET ?)",
                (_MOST,),
            )
        return Mark(int(number or 0), *fields)

    def between(
        self, from_s: float, to_s: float, environment: str = "", service: str = ""
    ) -> list[Mark]:
        """Return the marks of [from_s, to_s), the earliest first.

        Those of a service are its own, those of its environment and those of everything.
        """
        return self._state.decoded(
            f"SELECT {_COLUMNS} FROM mark WHERE at_s >= ? AND at_s < ?"  # noqa: S608 - constant
            " AND (? = '' OR environment IN ('', ?)) AND (? = '' OR service IN ('', ?))"
            " ORDER BY at_s, id",
            (from_s, to_s, environment, environment, service, service),
            _mark_of,
        )

    def shown(self, parameters: Parameters, from_s: float, to_s: float) -> list[MarkBody]:
        """Return the latest 100 marks of a range as the API shows them, the earliest first."""
        where = parameters.where
        found = self.between(from_s, to_s, where.get("environment", ""), where.get("service", ""))
        return [mark_body(mark, parameters) for mark in found[-_SHOWN:]]

    def find(self, number: int) -> Mark | None:
        """Return a mark by its id."""
        sql = f"SELECT {_COLUMNS} FROM mark WHERE id = ?"  # noqa: S608 - constant
        return next(iter(self._state.decoded(sql, (number,), _mark_of)), None)

    def by_itself(self, since_s: float) -> list[tuple[Any, ...]]:
        """Return environment, service and name of marks noted since then that nobody set."""
        return self._state.decoded(
            "SELECT environment, service, name FROM mark WHERE by = '' AND noted_s >= ?",
            (since_s,),
            lambda *row: row,
        )

    def delete(self, number: int, by: Caller) -> Mark | None:
        """Forget a mark, and return it; None when it is not here."""
        with self._state.change() as connection:
            mark = self.find(number)
            if mark is not None:
                connection.execute("DELETE FROM mark WHERE id = ?", (number,))
                note(connection, by, "mark.delete", str(number), asdict(mark))
        return mark


def list_marks(marks: Marks, parameters: Parameters) -> MarkList:
    """Return the marks of the range, the latest first."""
    where, kind = parameters.where, parameters[KIND]
    environment, service = where.get("environment", ""), where.get("service", "")
    found = [
        mark
        for mark in marks.between(parameters.from_s, parameters.to_s, environment, service)
        if kind is None or mark.kind == kind
    ]
    found.reverse()
    limit = parameters[LIMIT]
    return MarkList(
        from_=parameters.shown(parameters.from_s),
        to=parameters.shown(parameters.to_s),
        marks=[mark_body(mark, parameters) for mark in found[:limit]],
        marks_left_out=max(0, len(found) - limit),
    )


def post_mark(marks: Marks, parameters: Parameters) -> Any:
    """Set a mark."""
    new: NewMark = parameters.body
    moment = Moment(parameters.now_s, parameters.tz)
    mark = marks.add(
        new.kind,
        new.name,
        new.environment,
        new.service,
        _AT.read(new.at, moment) if new.at else parameters.now_s,
        parameters.caller.name,
        new.detail,
    )
    return Reply(mark_body(mark, parameters), 201)


def delete_mark(marks: Marks, parameters: Parameters) -> MarkBody:
    """Delete a mark, and return what it was."""
    text = parameters[MARK_ID]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
    found = marks.delete(number, parameters.caller)
    if found is None:
        raise ApiError(404, "not_found", f"expected the id of a mark, got {text!r:.40}")
    return mark_body(found, parameters)


def mark_body(mark: Mark, parameters: Parameters) -> MarkBody:
    """Return a mark as the API shows it."""
    return MarkBody(
        id=mark.id,
        kind=mark.kind,
        name=mark.name,
        environment=mark.environment,
        service=mark.service,
        at=parameters.shown(mark.at_s),
        by=mark.by or None,
        detail=mark.detail,
    )
