"""Sessions: access tokens of 15 minutes, and refresh tokens that are replaced when they are used.

An access token is a JWT (RFC 7519) signed with HS256. It names the user, the user's version and the
session; rights are looked up at each use. A refresh token is `ttf_<lookup>_<secret>`, of which the
hash is stored. Its use gives another one; when an old one is used again, somebody has copied it,
and the session ends for both (RFC 9700, section 4.14.2). The answer to a use may be lost, and
several tabs may have one cookie: for half a minute, and until one that was given for it is used,
the latest token that was used gives further ones.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import jwt

from trimtab_collector.auth.audit import note
from trimtab_collector.auth.people import People, Person
from trimtab_collector.auth.signing import ACCESS_S, LEEWAY_S, SigningKeys
from trimtab_collector.checkedrows import CheckedConnection
from trimtab_collector.contract.callers import ITSELF, Caller
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile

__all__ = [
    "ALGORITHM",
    "AUDIENCE",
    "GRACE_S",
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
#: how long a refresh token gives further ones after its first use
GRACE_S: Final = 30.0
#: tokens that are given for one, and good until one of them is used
_MOST_GIVEN: Final = 32
_HASH_BYTES: Final = hashlib.sha256().digest_size
#: by how much a clock may be put right, and for how long it must go on without more than that
_JUMP_S: Final = 600.0
_STEADY_S: Final = 86_400.0
_TEXT: Final = re.compile(r"ttf_([0-9a-f]{24})_([0-9a-f]{64})")


class Issued(NamedTuple):
    """What somebody gets who has logged in or renewed a session."""

    person: Person
    access: str
    refresh: str


class _Open(NamedTuple):
    """A session as it is stored; hashes are of secrets of refresh tokens."""

    id: str
    person: str
    #: hash of the token that was given last
    secret: bytes
    made_s: float
    expires_s: float
    #: hashes of those that were given before it for the same token, end to end
    siblings: bytes
    #: hash of the token that those were given for, empty before the first use, and when it was used
    spent: bytes
    spent_s: float

    @property
    def good(self) -> list[bytes]:
        """The hashes of the tokens of which one may be used."""
        older = self.siblings
        return [
            self.secret,
            *(older[at : at + _HASH_BYTES] for at in range(0, len(older), _HASH_BYTES)),
        ]

    def given_by(self, shown: bytes, now_s: float) -> bytes | None:
        """Return what `siblings` is after a token was shown; None: it is not one to show."""
        if any(hmac.compare_digest(each, shown) for each in self.good):
            return b""
        if not hmac.compare_digest(self.spent, shown) or abs(now_s - self.spent_s) > GRACE_S:
            return None
        if len(self.siblings) >= (_MOST_GIVEN - 1) * _HASH_BYTES:
            raise ApiError(
                429,
                "too_many_tries",
                f"expected at most {_MOST_GIVEN} uses of one refresh token: use one it has given",
                headers={"Retry-After": "2"},
            )
        return self.secret + self.siblings


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
            connection.put(
                "login_session",
                (session, lookup, person.id, _hash(secret), now_s, now_s, now_s + IDLE_S),
                "id, lookup, person, secret, made_s, used_s, expires_s",
            )
            connection.revise("person", "login_s = ?", (now_s,), "id = ?", (person.id,))
        person = person._replace(login_s=now_s)
        return Issued(person, self._access(person, session), f"ttf_{lookup}_{secret}")

    def renew(self, text: str) -> Issued:
        """Return a new access token and refresh token; the one given is used up.

        Raises ApiError 401 for one that is unknown, expired, or used already, which ends the
        session, but for the grace.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise refused("expected a refresh token, got another text: log in again")
        now_s = self._clock()
        lookup, shown, secret = found[1], _hash(found[2]), secrets.token_hex(32)
        # Strangers who guess do not keep others from changing something.
        self._opened(lookup)
        with self._state.change() as connection:
            session = self._opened(lookup)
            person = self._people.find(session.person)
            siblings = session.given_by(shown, now_s)
            reused = siblings is None
            if reused and person is not None:
                note(connection, ITSELF, "session.reused", person.name)
            if reused or person is None:
                self._end(connection, session.id)
                person = None
            elif session.expires_s <= now_s:
                # Left to `tidy`: the clock may have jumped.
                person = None
            else:
                expires_s = min(now_s + IDLE_S, session.made_s + SESSION_S)
                spent = (session.spent, session.spent_s) if siblings else (shown, now_s)
                connection.revise(
                    "login_session",
                    "secret = ?, siblings = ?, spent = ?, spent_s = ?, used_s = ?, expires_s = ?",
                    (_hash(secret), siblings, *spent, now_s, expires_s),
                    "id = ?",
                    (session.id,),
                )
        if person is None:
            why = "it was used before, so the session has ended" if reused else "it has expired"
            raise refused(f"expected a fresh refresh token, {why}: log in again")
        return Issued(person, self._access(person, session.id), f"ttf_{lookup}_{secret}")

    def end(self, caller: Caller, text: str = "") -> int:
        """End the session of an access token, and of a refresh token; returns how many ended."""
        ended = self._shown(text)
        if not caller.session and not ended:
            return 0
        with self._state.change() as connection:
            if caller.session:
                self._revoke(connection, caller.token)
                ended.add(caller.session)
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

    def _opened(self, lookup: str) -> _Open:
        """Return the session of a refresh token; raises ApiError 401 where it has ended."""
        found = self._state.decoded(
            "SELECT id, person, secret, made_s, expires_s, siblings, spent, spent_s"
            " FROM login_session WHERE lookup = ?",
            (lookup,),
            _Open,
        )
        if not found:
            raise refused("expected the refresh token of a session, it has ended: log in again")
        return found[0]

    def _shown(self, text: str) -> set[str]:
        """Return the session of a refresh token that is good, or was until its last use."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return set()
        try:
            session = self._opened(found[1])
        except ApiError:
            return set()
        hashes = (*session.good, session.spent)
        is_its_own = any(hmac.compare_digest(each, _hash(found[2])) for each in hashes)
        return {session.id} if is_its_own else set()

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

    def _tidy(self, connection: CheckedConnection, person_id: str) -> None:
        """Make room for a session of a user."""
        rows = connection.execute(
            "SELECT id FROM login_session WHERE person = ? ORDER BY used_s DESC LIMIT -1 OFFSET ?",
            (person_id, _MAX_SESSIONS - 1),
        ).fetchall()
        for (session,) in rows:
            self._end(connection, session)

    def _end(self, connection: CheckedConnection, session: str) -> int:
        """End a session with its access tokens; returns 0 where it had ended."""
        self._revoke(connection, session)
        cursor = connection.execute("DELETE FROM login_session WHERE id = ?", (session,))
        return int(cursor.rowcount)

    def _revoke(self, connection: CheckedConnection, what: str) -> None:
        """Refuse an access token, or those of a session, until none lives any more."""
        now_s = self._clock()
        connection.execute("DELETE FROM revoked WHERE until_s <= ?", (now_s,))
        until_s = now_s + ACCESS_S + 2 * LEEWAY_S
        connection.put("revoked", (what, until_s), conflict="REPLACE")


def refused(message: str) -> ApiError:
    """Return the refusal of somebody who cannot log in so."""
    return ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
