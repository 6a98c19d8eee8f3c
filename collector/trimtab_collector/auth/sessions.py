"""Sessions: access tokens of 15 minutes, and refresh tokens that are good for one use each.

An access token is a JWT (RFC 7519) signed with HS256. It names the user, the user's version and the
session; rights are looked up at each use. A refresh token is `ttf_<lookup>_<secret>`, of which the
hash is stored. Its use gives another one; when an old one is used again, somebody has copied it,
and the session ends for both.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jwt

from trimtab_collector.auth.audit import note
from trimtab_collector.auth.people import People, Person
from trimtab_collector.auth.signing import ACCESS_S, LEEWAY_S, SigningKeys
from trimtab_collector.contract.callers import ITSELF, Caller
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile

__all__ = [
    "ALGORITHM",
    "AUDIENCE",
    "IDLE_S",
    "ISSUER",
    "SESSION_S",
    "Issued",
    "Sessions",
    "refused",
]

ALGORITHM: Final = "HS256"
ISSUER: Final = "trimtab"
AUDIENCE: Final = "trimtab-api"
#: how long a session lives that is not used, and one that is
IDLE_S: Final = 7 * 86_400
SESSION_S: Final = 30 * 86_400
_MAX_SESSIONS: Final = 20
#: by how much a clock may be put right, and for how long it must go on without more than that
_JUMP_S: Final = 600.0
_STEADY_S: Final = 86_400.0
_TEXT: Final = re.compile(r"ttf_([0-9a-f]{24})_([0-9a-f]{64})")


class Issued(NamedTuple):
    """What somebody gets who has logged in or renewed a session."""

    person: Person
    access: str
    refresh: str


class Sessions:
    """The sessions in the state file; any thread."""

    def __init__(
        self,
        state: StateFile,
        people: People,
        keys: SigningKeys,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._people = people
        self._keys = keys
        self._clock = clock
        self._monotonic = monotonic
        #: since when both clocks go alike: wall and monotonic time
        self._trusted = (clock(), monotonic())

    def begin(self, person: Person) -> Issued:
        """Begin a session of a user; beyond 20, the one that was not used for longest ends."""
        now_s = self._clock()
        session, lookup, secret = secrets.token_hex(8), secrets.token_hex(12), secrets.token_hex(32)
        with self._state.change() as connection:
            # The version may have changed since the password was looked at.
            found = self._people.find(person.id)
            if found is None or found.version != person.version or found.disabled_s is not None:
                raise refused("the user was changed meanwhile: log in again")
            self._tidy(connection, person.id)
            connection.execute(
                "INSERT INTO login_session VALUES (?, ?, ?, ?, ?, ?, ?)",
                (session, lookup, person.id, _hash(secret), now_s, now_s, now_s + IDLE_S),
            )
            connection.execute("UPDATE person SET login_s = ? WHERE id = ?", (now_s, person.id))
        person = person._replace(login_s=now_s)
        return Issued(person, self._access(person, session), f"ttf_{lookup}_{secret}")

    def renew(self, text: str) -> Issued:
        """Return a new access token and refresh token; the one given is used up.

        Raises ApiError 401 for one that is unknown, expired, or used already, which ends the
        session.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise refused("expected a refresh token, got another text: log in again")
        now_s = self._clock()
        lookup, secret = found[1], secrets.token_hex(32)
        with self._state.change() as connection:
            row = connection.execute(
                "SELECT id, person, secret, made_s, expires_s FROM login_session WHERE lookup = ?",
                (lookup,),
            ).fetchone()
            if row is None:
                raise refused("expected the refresh token of a session, it has ended: log in again")
            session, person_id, stored, made_s, expires_s = row
            person = self._people.find(person_id)
            reused = not hmac.compare_digest(stored, _hash(found[2]))
            if reused and person is not None:
                note(connection, ITSELF, "session.reused", person.name)
            if reused or person is None:
                self._end(connection, session)
                person = None
            elif expires_s <= now_s:
                # Left to `tidy`: the clock may have jumped.
                person = None
            else:
                connection.execute(
                    "UPDATE login_session SET secret = ?, used_s = ?, expires_s = ? WHERE id = ?",
                    (_hash(secret), now_s, min(now_s + IDLE_S, made_s + SESSION_S), session),
                )
        if person is None:
            why = "it was used before, so the session has ended" if reused else "it has expired"
            raise refused(f"expected a fresh refresh token, {why}: log in again")
        return Issued(person, self._access(person, session), f"ttf_{lookup}_{secret}")

    def end(self, caller: Caller, text: str = "") -> int:
        """End the session of an access token, and of a refresh token; returns how many ended."""
        found = _TEXT.fullmatch(text)
        ended = set()
        with self._state.change() as connection:
            if caller.session:
                self._revoke(connection, caller.token)
                ended.add(caller.session)
            if found is not None:
                row = connection.execute(
                    "SELECT id, secret FROM login_session WHERE lookup = ?", (found[1],)
                ).fetchone()
                if row is not None and hmac.compare_digest(row[1], _hash(found[2])):
                    ended.add(row[0])
            return sum(self._end(connection, session) for session in ended)

    def tidy(self) -> None:
        """Forget sessions and revocations whose time is over, once the clock is to be trusted.

        That is after a day in which it has not jumped: a clock that is ahead for an hour would end
        every session for good.
        """
        now_s, mono_s = self._clock(), self._monotonic()
        if abs((now_s - self._trusted[0]) - (mono_s - self._trusted[1])) > _JUMP_S:
            self._trusted = (now_s, mono_s)
        if mono_s - self._trusted[1] < _STEADY_S:
            return
        if not self._state.rows(
            "SELECT EXISTS (SELECT 1 FROM login_session WHERE expires_s <= ?)"
            " OR EXISTS (SELECT 1 FROM revoked WHERE until_s <= ?)",
            (now_s, now_s),
        )[0][0]:
            return
        with self._state.change() as connection:
            connection.execute("DELETE FROM login_session WHERE expires_s <= ?", (now_s,))
            connection.execute("DELETE FROM revoked WHERE until_s <= ?", (now_s,))

    def _access(self, person: Person, session: str) -> str:
        key = self._keys.current()
        now_s = int(self._clock())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": person.id,
            "iat": now_s,
            "exp": now_s + ACCESS_S,
            "jti": secrets.token_hex(8),
            "ver": person.version,
            "sid": session,
        }
        return jwt.encode(claims, key.bytes, ALGORITHM, {"kid": key.id})

    def _tidy(self, connection: Any, person_id: str) -> None:
        """Make room for a session of a user."""
        rows = connection.execute(
            "SELECT id FROM login_session WHERE person = ? ORDER BY used_s DESC LIMIT -1 OFFSET ?",
            (person_id, _MAX_SESSIONS - 1),
        ).fetchall()
        for (session,) in rows:
            self._end(connection, session)

    def _end(self, connection: Any, session: str) -> int:
        """End a session with its access tokens; returns 0 where it had ended."""
        self._revoke(connection, session)
        cursor = connection.execute("DELETE FROM login_session WHERE id = ?", (session,))
        return int(cursor.rowcount)

    def _revoke(self, connection: Any, what: str) -> None:
        """Refuse an access token, or those of a session, until none lives any more."""
        now_s = self._clock()
        connection.execute("DELETE FROM revoked WHERE until_s <= ?", (now_s,))
        connection.execute(
            "INSERT OR REPLACE INTO revoked VALUES (?, ?)", (what, now_s + ACCESS_S + 2 * LEEWAY_S)
        )


def refused(message: str) -> ApiError:
    """Return the refusal of somebody who cannot log in so."""
    return ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
