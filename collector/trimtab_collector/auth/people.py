"""Users: who may log in, and as what. Any change of one ends the user's sessions and access tokens.

A user has a version, which access tokens carry: a change counts it up, and every token with another
version is refused from then on.
"""

import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from trimtab_collector.auth.audit import AUDIT, note
from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import Schema, StateFile, reader_of

__all__ = ["PEOPLE", "People", "Person", "check_name", "person_of"]

MAX_PEOPLE: Final = 1_000
_NAME: Final = re.compile(r"[A-Za-z0-9._@+-]{1,64}")

PEOPLE: Final = Schema(
    "people",
    (
        """
CREATE TABLE person (id TEXT PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE,
 role TEXT NOT NULL, password TEXT NOT NULL, version INTEGER NOT NULL, created_s REAL NOT NULL,
 disabled_s REAL, login_s REAL) WITHOUT ROWID;
CREATE TABLE login_session (id TEXT PRIMARY KEY, lookup TEXT NOT NULL UNIQUE,
 person TEXT NOT NULL REFERENCES person (id) ON DELETE CASCADE, secret BLOB NOT NULL,
 made_s REAL NOT NULL, used_s REAL NOT NULL, expires_s REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX login_session_person ON login_session (person);
CREATE TABLE revoked (id TEXT PRIMARY KEY, until_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE service_token (id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
 origin TEXT NOT NULL, created_s REAL NOT NULL, expires_s REAL, revoked_s REAL, used_s REAL)
 WITHOUT ROWID
""",
        # secret is the hash of the refresh token that is good; siblings those of others that were
        # given for the same one before it, 32 bytes each; spent that of the one before, and since.
        """
ALTER TABLE login_session ADD COLUMN siblings BLOB NOT NULL DEFAULT x'';
ALTER TABLE login_session ADD COLUMN spent BLOB NOT NULL DEFAULT x'';
ALTER TABLE login_session ADD COLUMN spent_s REAL NOT NULL DEFAULT 0
""",
        add_checksums("person", "login_session", "revoked", "service_token"),
    ),
)
_SELECT: Final = (
    "SELECT id, name, role, password, version, created_s, disabled_s, login_s FROM person "
)


class Person(NamedTuple):
    """A user; password is its hash."""

    id: str
    name: str
    role: Role
    password: str
    version: int
    created_s: float
    disabled_s: float | None
    login_s: float | None


#: the user of a row of the table, in the order of the fields
person_of: Final = reader_of(Person)


class People:
    """The users in the state file; any thread, each change is one transaction with its audit entry.

    Refusals are ApiErrors: 404 for an id that is not there, 409 for what cannot be, 422 for a name.
    """

    def __init__(self, state: StateFile, clock: Callable[[], float] = time.time) -> None:
        state.bring(PEOPLE)
        state.bring(AUDIT)
        self._state = state
        self._clock = clock

    def list(self) -> Sequence[Person]:
        """Return all users by name, disabled ones too."""
        return self._state.decoded(_SELECT + "ORDER BY folded", (), person_of)

    def are_there(self) -> bool:
        """Tell whether there is any user, also one that cannot be read."""
        return bool(self._state.rows("SELECT EXISTS (SELECT 1 FROM person)")[0][0])

    def by_name(self, name: str) -> Person | None:
        """Return the user of a name, in whatever case it is written."""
        sql = _SELECT + "WHERE folded = ?"
        return next(iter(self._state.decoded(sql, (name.casefold(),), person_of)), None)

    def find(self, person_id: str) -> Person | None:
        """Return the user of an id."""
        sql = _SELECT + "WHERE id = ?"
        return next(iter(self._state.decoded(sql, (person_id,), person_of)), None)

    def add(
        self, caller: Caller, name: str, password: str, role: Role, *, first: bool = False
    ) -> Person:
        """Add a user with the hash of a password.

        With first, only while there is nobody.
        """
        check_name(name)
        with self._state.change() as connection:
            ((count,),) = connection.execute("SELECT count(*) FROM person").fetchall()
            if first and count:
                raise _conflict(
                    "set_up", "expected no user yet, there are some: log in as an admin"
                )
            if count >= MAX_PEOPLE:
                raise _conflict(
                    "too_many", f"expected at most {MAX_PEOPLE} users: delete those who left"
                )
            now_s = self._clock()
            made = Person(secrets.token_hex(6), name, role, password, 1, now_s, None, None)
            try:
                connection.put(
                    "person",
                    (made.id, name, name.casefold(), role.value, password, 1, now_s, None, None),
                )
            except sqlite3.IntegrityError:
                raise _conflict(
                    "name_taken", f"expected a new name, {name!r} is somebody's already"
                ) from None
            note(connection, caller, "user.add", name, None, _sides(made))
        return made

    def change(
        self,
        caller: Caller,
        person_id: str,
        role: Role | None = None,
        disabled: bool | None = None,
        password: str | None = None,
    ) -> Person:
        """Change what is given of a user, and end the user's sessions if anything is different."""
        with self._state.change() as connection:
            before = self._known(person_id)
            after = before
            if role is not None:
                after = after._replace(role=role)
            if disabled is not None and disabled != (before.disabled_s is not None):
                after = after._replace(disabled_s=self._clock() if disabled else None)
            if password is not None:
                after = after._replace(password=password)
            if after == before:
                return before
            after = after._replace(version=before.version + 1)
            if _is_admin(before) and not _is_admin(after):
                self._keep_an_admin(before)
            connection.revise(
                "person",
                "role = ?, password = ?, version = ?, disabled_s = ?",
                (after.role.value, after.password, after.version, after.disabled_s),
                "id = ?",
                (after.id,),
            )
            connection.execute("DELETE FROM login_session WHERE person = ?", (after.id,))
            old, new = _sides(before), _sides(after)
            if password is not None:
                new["password"] = "changed"  # noqa: S105 - that it was, not what it is
            note(
                connection,
                caller,
                "user.change",
                before.name,
                {key: old[key] for key in new if key in old and old[key] != new[key]},
                {key: value for key, value in new.items() if old.get(key) != value},
            )
        return after

    def delete(self, caller: Caller, person_id: str) -> Person:
        """Delete a user with all sessions; entries of the audit trail keep the name."""
        with self._state.change() as connection:
            found = self._known(person_id)
            if _is_admin(found):
                self._keep_an_admin(found)
            connection.execute("DELETE FROM person WHERE id = ?", (person_id,))
            note(connection, caller, "user.delete", found.name, _sides(found), None)
        return found

    def _known(self, person_id: str) -> Person:
        found = self.find(person_id)
        if found is None:
            raise ApiError(
                404,
                "not_found",
                f"expected the id of a user, got {person_id!r:.80}: see GET /users",
            )
        return found

    def _keep_an_admin(self, leaving: Person) -> None:
        others = (each for each in self.list() if each.id != leaving.id)
        if not any(map(_is_admin, others)):
            raise _conflict(
                "last_admin", f"expected another admin than {leaving.name}: make one first"
            )


def check_name(name: str) -> None:
    """Raise ApiError 422 for a text that is no name."""
    if not _NAME.fullmatch(name):
        expected = "1 to 64 letters of ASCII, digits or . _ @ + -"
        raise ApiError(422, "bad_name", f"expected a name of {expected}, got {name!r:.80}")


def _is_admin(person: Person) -> bool:
    return person.role is Role.ADMIN and person.disabled_s is None


def _sides(person: Person) -> dict[str, Any]:
    return {"role": person.role.value, "disabled": person.disabled_s is not None}


def _conflict(code: str, message: str) -> ApiError:
    return ApiError(409, code, message)
