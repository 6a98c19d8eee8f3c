"""Facts of metrics.db: numbers by name, each with a checksum.

They say which journal this is, up to when it is merged, which tier files there are, and what is
believed of the time: one changed bit in one of them could hide data, or let it be deleted.
"""

import secrets
import sqlite3
from collections.abc import Mapping

from trimtab_collector.storage.sqlite.checksums import checksum, is_whole

__all__ = [
    "identity_of_journal",
    "new_identity",
    "note_facts",
    "read_facts",
    "renew_identity",
    "set_facts",
]

_IDENTITY = "identity"


def read_facts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the facts, without those that are not as they were written."""
    rows = connection.execute("SELECT name, value, crc FROM fact")
    return {row[0]: row[1] for row in rows if is_whole(row) and isinstance(row[1], int)}


def note_facts(connection: sqlite3.Connection, facts: Mapping[str, int]) -> None:
    """Raise facts to these values, within the open transaction."""
    query = "SELECT value FROM fact WHERE name = ?"
    before = {name: connection.execute(query, (name,)).fetchone() for name in facts}
    set_facts(
        connection,
        {name: max(value, *(before[name] or (value,))) for name, value in facts.items()},
    )


def set_facts(connection: sqlite3.Connection, facts: Mapping[str, int]) -> None:
    """Set facts to these values, within the open transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO fact (name, value, crc) VALUES (?, ?, ?)",
        [(name, value, checksum(name, value)) for name, value in facts.items()],
    )


def identity_of_journal(connection: sqlite3.Connection) -> int:
    """Return the identity of this journal, a number that no other journal has; 0 if it is lost."""
    return read_facts(connection).get(_IDENTITY, 0)


def renew_identity(connection: sqlite3.Connection) -> int:
    """Make this journal another one than tier files know; returns its identity."""
    identity = new_identity()
    set_facts(connection, {_IDENTITY: identity})
    return identity


def new_identity() -> int:
    """Return a number that no journal has."""
    return secrets.randbits(62) + 1
