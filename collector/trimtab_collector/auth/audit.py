"""Who changed what, and when: the audit trail, the latest 100,000 changes.

Whoever changes something notes it in the same transaction, so that no change is without its entry.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from trimtab_collector.checkedrows import CheckedConnection, add_checksums
from trimtab_collector.contract.callers import Caller
from trimtab_collector.statefile import Schema, StateFile, reader_of

__all__ = ["AUDIT", "AuditEntry", "AuditTrail", "note"]

_KEPT: Final = 100_000
#: of each side of a change, as JSON
_MAX_BYTES: Final = 16 * 1024

AUDIT: Final = Schema(
    "audit",
    (
        """
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, by TEXT NOT NULL,
 role TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, before TEXT, after TEXT);
CREATE INDEX audit_at ON audit (at_s)
""",
        add_checksums("audit"),
    ),
)


class AuditEntry(NamedTuple):
    """A change; before and after hold what is different, without secrets."""

    id: int
    at_s: float
    by: str
    role: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


_of_row: Final = reader_of(AuditEntry)


def note(
    connection: CheckedConnection,
    caller: Caller,
    action: str,
    subject: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Note a change within its transaction (`StateFile.change`).

    action is `noun.verb`, subject names what was changed; neither side may hold a secret. A side
    over 16 KiB is replaced by its size.
    """
    number = connection.put(
        "audit",
        (
            time.time(),
            caller.name,
            caller.role.value,
            action,
            subject[:500],
            _packed(before),
            _packed(after),
        ),
        "at_s, by, role, action, subject, before, after",
    )
    connection.execute("DELETE FROM audit WHERE id <= ?", ((number or 0) - _KEPT,))


class AuditTrail:
    """Reads the changes that were noted; any thread."""

    def __init__(self, state: StateFile) -> None:
        state.bring(AUDIT)
        self._state = state

    def entries(
        self,
        from_s: float,
        to_s: float,
        limit: int,
        by: str | None = None,
        action: str | None = None,
    ) -> tuple[Sequence[AuditEntry], int]:
        """Return the latest changes of a range, and how many more there are.

        action is a whole one, or the noun before its dot.
        """
        where = "at_s >= ? AND at_s < ?"
        values: list[Any] = [from_s, to_s]
        if by is not None:
            where += " AND by = ?"
            values.append(by)
        if action is not None:
            where += " AND (action = ? OR substr(action, 1, ?) = ?)"
            values += [action, len(action) + 1, f"{action}."]
        sql = (
            "SELECT id, at_s, by, role, action, subject, before, after FROM audit"  # noqa: S608 - no text of a caller
            f" WHERE {where} ORDER BY id DESC LIMIT ?"
        )
        entries = self._state.decoded(sql, [*values, limit], _entry)
        ((found,),) = self._state.rows(f"SELECT count(*) FROM audit WHERE {where}", values)  # noqa: S608
        return entries, max(0, found - limit)


def _packed(side: Mapping[str, Any] | None) -> str | None:
    if side is None:
        return None
    data = msgspec.json.encode(side)
    if len(data) > _MAX_BYTES:
        data = msgspec.json.encode({"bytes": len(data)})
    return data.decode()


def _entry(*row: Any) -> AuditEntry:
    return _of_row(*row[:6], _unpacked(row[6]), _unpacked(row[7]))


def _unpacked(text: str | None) -> dict[str, Any] | None:
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])
