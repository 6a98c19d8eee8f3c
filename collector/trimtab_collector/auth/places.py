"""From where accounts have logged in: kept, so that a restart does not let strangers lock them out.

Only hashes are kept, up to 32 networks of an account and 10,000 in all; the oldest go first.
"""

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final

from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.statefile import Schema, StateFile

__all__ = ["KnownPlace", "KnownPlaces", "place_of"]

logger = logging.getLogger("trimtab.accounts")

_MOST: Final = 10_000
_MOST_OF_ACCOUNT: Final = 32
_SCHEMA: Final = Schema(
    "known places",
    (
        """
CREATE TABLE known_place (account BLOB NOT NULL, place BLOB NOT NULL, since_s REAL NOT NULL,
 PRIMARY KEY (account, place)) WITHOUT ROWID;
CREATE INDEX known_place_since ON known_place (since_s)
""",
        add_checksums("known_place"),
    ),
)

#: hashes of an account, and of it with a network
KnownPlace = tuple[bytes, bytes]


def place_of(account: str, network: str) -> KnownPlace:
    """Return what is remembered of an account that logged in from a network."""
    return _hash(account), _hash(f"{account}\0{network}")


class KnownPlaces:
    """The places in the state file; any thread."""

    def __init__(self, state: StateFile, clock: Callable[[], float] = time.time) -> None:
        state.bring(_SCHEMA)
        self._state = state
        self._clock = clock

    def all(self) -> Sequence[KnownPlace]:
        """Return all that are kept, the oldest first."""
        sql = "SELECT account, place FROM known_place ORDER BY since_s"
        return self._state.decoded(sql, (), lambda account, place: (bytes(account), bytes(place)))

    def keep(self, place: KnownPlace) -> None:
        """Keep a place; a failure is logged, as nobody is refused for it."""
        try:
            with self._state.change() as connection:
                connection.put("known_place", (*place, self._clock()), conflict="REPLACE")
                connection.execute(
                    "DELETE FROM known_place WHERE account = ? AND place IN (SELECT place FROM"
                    " known_place WHERE account = ? ORDER BY since_s DESC LIMIT -1 OFFSET ?)",
                    (place[0], place[0], _MOST_OF_ACCOUNT),
                )
                connection.execute(
                    "DELETE FROM known_place WHERE (account, place) IN (SELECT account, place FROM"
                    " known_place ORDER BY since_s DESC LIMIT -1 OFFSET ?)",
                    (_MOST,),
                )
        except sqlite3.Error as error:
            logger.warning("a place of log-ins is not kept error=%s", error)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
