"""One-time links that sign somebody in: made on the console, good once and for 10 minutes.

Whoever may write the data directory may make one. The token stands behind the # of the address,
which browsers send to no server; its hash is stored. A change of the user ends the user's links.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trimtab_collector.auth.audit import AUDIT, note
from trimtab_collector.auth.passwords import hash_password
from trimtab_collector.auth.people import People, Person
from trimtab_collector.auth.sessions import Issued, Sessions, refused
from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.callers import ITSELF, Caller, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import Schema, StateFile
from trimtab_core.addresses import DASHBOARD, web_address
from trimtab_core.errors import SettingsError
from trimtab_core.ownfiles import write_own

__all__ = [
    "LINK_S",
    "SigninLinks",
    "guest_link",
    "keep_address",
    "kept_address",
    "link_address",
    "openable",
]

logger = logging.getLogger("trimtab.links")

#: where the collector of a data directory listens, or did last
_ADDRESS: Final = "address"

#: how long a link is good
LINK_S: Final = 600.0
#: links that are kept; beyond them the oldest goes
_MOST: Final = 100

LINKS: Final = Schema(
    "links",
    (
        """
CREATE TABLE signin_link (hash BLOB PRIMARY KEY, version INTEGER NOT NULL,
 person TEXT NOT NULL REFERENCES person (id) ON DELETE CASCADE, expires_s REAL NOT NULL)
 WITHOUT ROWID
""",
        add_checksums("signin_link"),
    ),
)


class SigninLinks:
    """The links in the state file; any thread."""

    def __init__(
        self, state: StateFile, people: People, clock: Callable[[], float] = time.time
    ) -> None:
        state.bring(LINKS)
        self._state = state
        self._people = people
        self._clock = clock

    def make(self, caller: Caller, person: Person) -> str:
        """Return the token of a new link for a user; raises ApiError 409 if that is disabled."""
        if person.disabled_s is not None:
            raise ApiError(
                409,
                "ended",
                f"expected somebody who may log in, {person.name} is disabled: enable them first",
            )
        token, now_s = secrets.token_urlsafe(32), self._clock()
        with self._state.change() as connection:
            # Whatever ends later than one made now was made by a clock that has been put back.
            connection.execute(
                "DELETE FROM signin_link WHERE expires_s <= ? OR expires_s > ?",
                (now_s, now_s + LINK_S),
            )
            connection.execute(
                "DELETE FROM signin_link WHERE hash IN"
                " (SELECT hash FROM signin_link ORDER BY expires_s DESC LIMIT -1 OFFSET ?)",
                (_MOST - 1,),
            )
            connection.put("signin_link", (_hash(token), person.version, person.id, now_s + LINK_S))
            note(connection, caller, "link.make", person.name)
        return token

    def use(self, sessions: Sessions, token: str) -> Issued:
        """Begin a session with the token of a link, which is used up; raises ApiError 401."""
        now_s = self._clock()
        # Strangers who guess do not keep others from changing something.
        self._person(_hash(token), now_s)
        with self._state.change() as connection:
            person = self._person(_hash(token), now_s)
            connection.execute("DELETE FROM signin_link WHERE hash = ?", (_hash(token),))
            note(connection, Caller(person.name, person.role), "link.use", person.name)
            return sessions.begin(person)

    def _person(self, key: bytes, now_s: float) -> Person:
        """Return whose link it is.

        Raises ApiError 401 where it is none, too old, or the user was changed.
        """
        found = self._state.decoded(
            "SELECT person, version, expires_s FROM signin_link WHERE hash = ?",
            (key,),
            lambda *row: row,
        )
        for person_id, version, expires_s in found:
            person = self._people.find(person_id)
            if person is None or person.version != version or person.disabled_s is not None:
                break
            if now_s < expires_s <= now_s + LINK_S:
                return person
        raise refused(
            "expected the token of a sign-in link, which is good once and for 10 minutes: "
            "trimtab user link NAME makes another"
        )


def link_address(base: str, token: str) -> str:
    """Return the address of a link, below that of a collector."""
    return f"{base.rstrip('/')}{DASHBOARD}#signin={token}"


def openable(url: str) -> str:
    """Return the address that a browser of this machine can open, of one that listens.

    Bound to every address, it is reached at the machine's own.
    """
    for every, own in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(every, own)
    return url


def keep_address(directory: Path, url: str) -> None:
    """Keep where the collector of a data directory listens, for the console; never fails."""
    try:
        write_own(directory / _ADDRESS, f"{openable(url)}\n".encode("ascii"))
    except (OSError, UnicodeEncodeError) as error:
        logger.warning("where the collector listens is not kept for the console error=%s", error)


def kept_address(directory: Path) -> str:
    """Return where the collector of a data directory listens, or did last; "" if unknown."""
    try:
        url = (directory / _ADDRESS).read_text(encoding="ascii").strip()
        web_address(url, _ADDRESS)
    except (OSError, UnicodeDecodeError, SettingsError):
        return ""
    return url


def guest_link(directory: Path, base: str, name: str, role: Role = Role.PLANNER) -> str:
    """Return a link that signs a user in, who is added if there is none of that name.

    A user who is added has a password that nobody knows, and comes in by links. base is the address
    of the collector, which may run meanwhile. Not for the loop: it hashes, and writes files.
    """
    state = StateFile(directory, (AUDIT,))
    try:
        people = People(state)
        person = people.by_name(name)
        if person is None:
            password = hash_password(secrets.token_urlsafe(32))
            person = people.add(ITSELF, name, password, role)
        return link_address(base, SigninLinks(state, people).make(ITSELF, person))
    finally:
        state.close()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
