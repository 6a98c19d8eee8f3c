"""Silences: what is not told for a while, because somebody knows."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from trimtab_collector.auth.audit import note
from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.alertconfigs import Removed, duration_s
from trimtab_collector.contract.alerts import (
    MATCHED,
    SILENCE,
    NewSilence,
    Silence,
    SilenceCounts,
    Silences,
)
from trimtab_collector.contract.callers import Reply
from trimtab_collector.contract.errors import ApiError, instant
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.statefile import Schema, StateFile

__all__ = ["Matcher", "SilenceBook", "add_silence", "remove_silence", "silences"]

_SCHEMA: Final = Schema(
    "silences",
    (
        """
CREATE TABLE silence (id TEXT PRIMARY KEY, matchers TEXT NOT NULL, comment TEXT NOT NULL,
 starts_s REAL NOT NULL, ends_s REAL NOT NULL, created_by TEXT NOT NULL, created_s REAL NOT NULL)
 WITHOUT ROWID
""",
        add_checksums("silence"),
    ),
)
#: called with how many there are now
SilenceListener = Callable[[SilenceCounts], None]
_MOST: Final = 1_000
_LONGEST_S: Final = 366 * 86_400
_KEPT_S: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Matcher:
    """The texts that an alert must have; `*` at the end of one stands for any ending."""

    texts: tuple[tuple[str, str], ...]
    starts_s: float
    ends_s: float

    def matches(self, labels: Mapping[str, str], t_s: float) -> bool:
        """Return whether something with these labels is silent at a time."""
        return self.starts_s <= t_s < self.ends_s and all(
            labels.get(name, "").startswith(text[:-1])
            if text.endswith("*")
            else labels.get(name, "") == text
            for name, text in self.texts
        )


class SilenceBook:
    """The silences of a collector; any thread."""

    def __init__(
        self, state: StateFile, rule_name: Callable[[str], str] = lambda rule_id: ""
    ) -> None:
        """Ask rule_name for the name of a rule by its id, empty where there is none."""
        state.bring(_SCHEMA)
        self._state = state
        self._rule_name = rule_name
        self._lock = threading.Lock()
        self._listeners: list[SilenceListener] = []
        #: ids of those that are active, and of those to come, when they were last looked at
        self._seen: tuple[frozenset[str], frozenset[str]] | None = None
        self.look(time.time())

    def on_change(self, listener: SilenceListener) -> None:
        """Call a listener when a silence is added, begins or ends; any thread, must be quick."""
        self._listeners.append(listener)

    def look(self, now_s: float) -> None:
        """Call listeners if silences are not those of the last look."""
        sql = "SELECT id, starts_s FROM silence WHERE ends_s > ?"
        rows = self._state.decoded(sql, (now_s,), lambda name, at_s: (str(name), float(at_s)))
        active = frozenset(name for name, starts_s in rows if starts_s <= now_s)
        seen = (active, frozenset(name for name, _ in rows) - active)
        with self._lock:
            before, self._seen = self._seen, seen
        if before in (None, seen):
            return
        for listener in self._listeners:
            listener(SilenceCounts(active=len(seen[0]), pending=len(seen[1])))

    def matchers(self, now_s: float) -> list[Matcher]:
        """Return the silences that are not over at a time."""
        sql = "SELECT matchers, starts_s, ends_s FROM silence WHERE ends_s > ?"
        return self._state.decoded(sql, (now_s,), _matcher)

    def add(self, new: NewSilence, by: Parameters) -> Silence:
        """Add a silence; raises ApiError 422, 409 for one too many."""
        starts_s = by.now_s if new.starts_at is None else _moment("startsAt", new.starts_at)
        if (new.duration is None) == (new.ends_at is None):
            raise _bad("duration", "either duration or endsAt", "both or none")
        if new.ends_at is not None:
            ends_s = _moment("endsAt", new.ends_at)
        else:
            ends_s = starts_s + duration_s("duration", new.duration or 0)
        if not starts_s < ends_s <= starts_s + _LONGEST_S or ends_s <= by.now_s:
            raise _bad("endsAt", "a time after now and startsAt, within a year", instant(ends_s))
        if not new.matchers:
            raise _bad("matchers", f"some of {', '.join(MATCHED)}", "none")
        for name, text in new.matchers.items():
            if name not in MATCHED:
                raise _bad("matchers", f"some of {', '.join(MATCHED)}", name)
            if not text or len(text) > 256:
                raise _bad(f"matchers.{name}", "1 to 256 characters", text)
        if not new.comment.strip() or len(new.comment) > 500:
            raise _bad("comment", "why it is silent, 1 to 500 characters", new.comment)
        made = uuid.uuid4().hex[:12]
        row = (made, json.dumps(new.matchers), new.comment, starts_s, ends_s, by.caller.name,
               by.now_s)  # fmt: skip
        with self._state.change() as connection:
            connection.execute("DELETE FROM silence WHERE ends_s < ?", (by.now_s - _KEPT_S,))
            (count,) = connection.execute("SELECT count(*) FROM silence").fetchone()
            if count >= _MOST:
                raise ApiError(409, "too_many", f"expected up to {_MOST} silences: remove some")
            connection.put("silence", row)
            note(connection, by.caller, "silence.add", made, None, msgspec.to_builtins(new))
        self.look(by.now_s)
        return self._silence(row, by.now_s)

    def remove(self, silence_id: str, by: Parameters) -> None:
        """End a silence now; raises ApiError 404."""
        with self._state.change() as connection:
            done = connection.revise(
                "silence", "ends_s = min(ends_s, ?)", (by.now_s,), "id = ?", (silence_id,)
            )
            if not done:
                raise ApiError(
                    404, "not_found", f"expected the id of a silence, got {silence_id!r:.80}"
                )
            note(connection, by.caller, "silence.remove", silence_id)
        self.look(by.now_s)

    def list(self, now_s: float) -> list[Silence]:
        """Return all that are kept, the latest first."""
        sql = (
            "SELECT id, matchers, comment, starts_s, ends_s, created_by, created_s FROM silence"
            " ORDER BY ends_s DESC, id"
        )
        return self._state.decoded(sql, (), lambda *row: self._silence(row, now_s))

    def _silence(self, row: tuple[object, ...], now_s: float) -> Silence:
        starts_s, ends_s = float(str(row[3])), float(str(row[4]))
        state = "pending" if now_s < starts_s else "active" if now_s < ends_s else "expired"
        matchers = _texts(str(row[1]))
        return Silence(
            id=str(row[0]),
            matchers=matchers,
            rule_name=self._rule_name(matchers["rule"]) or None if "rule" in matchers else None,
            comment=str(row[2]),
            starts_at=instant(starts_s),
            ends_at=instant(ends_s),
            created_by=str(row[5]),
            created_at=instant(float(str(row[6]))),
            state=state,
        )


def silences(book: SilenceBook, parameters: Parameters) -> Silences:
    """Return silences, also those that ended within 30 days."""
    return Silences(silences=book.list(parameters.now_s))


def add_silence(book: SilenceBook, parameters: Parameters) -> Reply:
    """Add a silence."""
    return Reply(book.add(parameters.body, parameters), 201)


def remove_silence(book: SilenceBook, parameters: Parameters) -> Removed:
    """End a silence."""
    book.remove(parameters[SILENCE], parameters)
    return Removed(id=parameters[SILENCE])


def _texts(matchers: str) -> dict[str, str]:
    return msgspec.json.decode(matchers, type=dict[str, str])


def _matcher(matchers: str, starts_s: float, ends_s: float) -> Matcher:
    return Matcher(tuple(_texts(matchers).items()), float(starts_s), float(ends_s))


def _moment(field: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _bad(field, "ISO 8601 with a zone, such as 2026-01-31T12:00:00Z", text)
    return moment.timestamp()


def _bad(field: str, expected: str, got: str) -> ApiError:
    message = f"{field}: expected {expected}, got {got!r:.80}"
    return ApiError(422, "bad_silence", message, {"field": field})
