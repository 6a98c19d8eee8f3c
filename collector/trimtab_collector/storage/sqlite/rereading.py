"""Reads statements in metrics.db again by the present rules, after an earlier version wrote them.

An earlier version may have stored texts that a shape has no more, such as a password in `ALTER
ROLE`: in the names of measures, in events and in batches of the journal. It is done once, at the
first start with stricter rules, in short transactions. Interrupted, it starts again, which changes
nothing that was read already. What was there is overwritten, and the file is written anew, so that
its free pages hold nothing of it either.
"""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

from trimtab_collector.storage.sqlite.amounts import attributes_text, measure_key
from trimtab_collector.storage.sqlite.checksums import UnreadableError, checksum, verify
from trimtab_collector.storage.sqlite.facts import set_facts
from trimtab_collector.storage.sqlite.journal import JOURNAL_ROW, batch_of, journal_checksum
from trimtab_core.batches import encode
from trimtab_core.errors import BatchError
from trimtab_core.redaction import redacted_batch, redacted_event, redacted_key
from trimtab_core.shapes import SHAPES

__all__ = ["read_again"]

logger = logging.getLogger("trimtab.store")

#: rows that one transaction reads
_SLICE: Final = 1000
_NAMES: Final = "environment, service, instance, name, kind, unit, attributes, crc"
_MEASURES: Final = (
    f"SELECT id, {_NAMES} FROM measure WHERE id > ? AND"  # noqa: S608
    " (attributes LIKE '%db.query.text%' OR attributes LIKE '%db.operation.name%')"
    " ORDER BY id LIMIT ?"
)
_EVENTS: Final = (
    "SELECT id, t_us, kind, environment, service, instance, route, CAST(body AS BLOB), crc"
    " FROM event WHERE id > ? ORDER BY id LIMIT ?"
)
_JOURNAL: Final = f"SELECT {JOURNAL_ROW} FROM journal WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
_TWIN: Final = (
    "SELECT o.id FROM measure m JOIN measure o USING (environment, service, instance, name, kind,"
    " unit) WHERE m.id = ? AND o.attributes = ?"
)


def read_again(connection: sqlite3.Connection) -> int:
    """Read what earlier rules let through; return how many rows changed.

    For the writer, before anything else uses the file. 20 us for a measure, 0.1 ms for an event,
    1 to 3 ms for a batch. If the disk fails, it is logged, and the next start tries again.
    """
    try:
        return _read_all_again(connection)
    except sqlite3.Error as error:
        logger.warning(
            "statements of an earlier version are not read again, the next start tries it: %s",
            error,
        )
        return 0


def _read_all_again(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM fact WHERE name = 'shapes'").fetchone()
    if row and isinstance(row[0], int) and row[0] >= SHAPES:
        return 0
    (secure,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    try:
        changed = sum(
            _change(connection, select, change)
            for select, change in (
                (_MEASURES, _change_measure), (_EVENTS, _change_event), (_JOURNAL, _change_batch)
            )
        )  # fmt: skip
    finally:
        connection.execute(f"PRAGMA secure_delete = {int(secure)}")
    if changed:
        logger.warning(
            "what an earlier version stored held texts of statements that may be secrets; they are "
            "shapes now; backups from before still hold them: make a new one and delete these "
            "rows=%d",
            changed,
        )
        _write_anew(connection)
    set_facts(connection, {"shapes": SHAPES})
    return changed


def _change(
    connection: sqlite3.Connection, select: str, change: Callable[[sqlite3.Connection, Any], bool]
) -> int:
    changed = 0
    for rows in _slices(connection, select):
        for row in rows:
            try:
                changed += change(connection, row)
            except (BatchError, UnreadableError, TypeError, ValueError):
                continue  # a row that cannot be read: whoever needs it says so
    return changed


def _slices(connection: sqlite3.Connection, select: str) -> Iterator[list[Any]]:
    """Yield the rows of a table in slices, each within a transaction of its own."""
    last = 0
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            rows = connection.execute(select, (last, _SLICE)).fetchall()
            yield rows
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        if len(rows) < _SLICE:
            return
        last = rows[-1][0]


def _change_measure(connection: sqlite3.Connection, row: Any) -> bool:
    number, *names, crc = row
    verify(crc, *names)
    before = measure_key(names[3:])
    after = redacted_key(before)
    if after is before:
        return False
    names[-1] = attributes_text(after.attributes)
    twin = connection.execute(_TWIN, (number, names[-1])).fetchone()
    if twin is None:
        connection.execute(
            "UPDATE measure SET attributes = ?, crc = ? WHERE id = ?",
            (names[-1], None if crc is None else checksum(*names), number),
        )
    else:
        # Statements of one shape are one measure: what was added to both adds up.
        connection.execute(
            "UPDATE amount SET measure = ?1, crc = crc - measure + ?1 WHERE measure = ?2",
            (twin[0], number),
        )
        connection.execute("DELETE FROM measure WHERE id = ?", (number,))
    return True


def _change_event(connection: sqlite3.Connection, row: Any) -> bool:
    number, *values, crc = row
    verify(crc, *values)
    before = json.loads(values[-1])
    after = redacted_event(before, spans=True)
    if after is before:
        return False
    values[-1] = json.dumps(after, default=str).encode()
    connection.execute(
        "UPDATE event SET body = ?, crc = ? WHERE id = ?",
        (values[-1], None if crc is None else checksum(*values), number),
    )
    return True


def _change_batch(connection: sqlite3.Connection, row: Any) -> bool:
    before = batch_of(row)
    after, _, _ = redacted_batch(before, spans=True)
    if after is before:
        return False
    payload = encode(after)
    crc = None if row[-1] is None else journal_checksum(row[:5], payload)
    connection.execute(
        "UPDATE journal SET payload = ?, crc = ? WHERE id = ?", (payload, crc, row[0])
    )
    return True


def _write_anew(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        logger.warning("free pages of metrics.db keep what was deleted before: %s", error)
