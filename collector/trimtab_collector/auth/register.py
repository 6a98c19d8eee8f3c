"""What a bearer token stands for: users and tokens as they are now, kept in memory.

Access tokens are checked as RFC 8725 asks: one algorithm, a key by its `kid` among those that there
are, and every claim is required. What the state file says of users is read again whenever the file
has changed, by this process or the console, so that what is revoked is refused at the next request.
"""

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, TypeVar

import jwt

from trimtab_collector.auth.access import CredentialError, Shown
from trimtab_collector.auth.people import Person, person_of
from trimtab_collector.auth.sessions import ALGORITHM, AUDIENCE, ISSUER
from trimtab_collector.auth.signing import LEEWAY_S, SigningKeys
from trimtab_collector.auth.tokens import ServiceToken, hash_token, service_token_of
from trimtab_collector.checkedrows import CheckedConnection, checked, intact, verified
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile

__all__ = ["Register"]

_T = TypeVar("_T")
_JWT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_MAX_TEXT: Final = 2_048
_CLAIMS: Final = ("iss", "aud", "sub", "iat", "exp", "jti", "ver", "sid")
#: tokens whose last use waits to be stored
_MAX_USES: Final = 1_000
_PEOPLE: Final = "SELECT id, name, role, '', version, created_s, disabled_s, login_s FROM person"
_TOKENS: Final = (
    "SELECT id, hash, name, origin, created_s, expires_s, revoked_s, used_s FROM service_token"
)
_REVOKED: Final = "SELECT id FROM revoked"


class Register:
    """Users and tokens by what they show; one thread at a time, which waits for no writer."""

    def __init__(
        self, state: StateFile, keys: SigningKeys, clock: Callable[[], float] = time.time
    ) -> None:
        self._state = state
        self._keys = keys
        self._clock = clock
        # Its own connection: that of the state file is locked while a change goes to the disk.
        self._connection = sqlite3.connect(
            state.path,
            isolation_level=None,
            timeout=1,
            check_same_thread=False,
            factory=CheckedConnection,
        )
        self._version = -1
        self._people: dict[str, Person] = {}
        self._tokens: dict[bytes, ServiceToken] = {}
        self._revoked: frozenset[str] = frozenset()
        #: sessions that there were at that version of the file -> user
        self._open: dict[str, str] = {}
        self._uses: dict[str, float] = {}
        self._refresh()

    def find(self, text: str) -> Shown:
        """Return whose a token is; raises CredentialError, and ApiError 503 without the file."""
        if len(text) > _MAX_TEXT:
            raise CredentialError("unknown", f"got one of more than {_MAX_TEXT} characters")
        try:
            self._refresh()
        except sqlite3.Error as error:
            raise _unreadable() from error
        token = self._tokens.get(hash_token(text))
        if token is not None:
            return self._service(token)
        if _JWT.fullmatch(text):
            return self._user(text)
        raise CredentialError("unknown", "got another")

    def take_uses(self) -> dict[str, float]:
        """Return when service tokens were used since the last call: id -> epoch seconds."""
        uses, self._uses = self._uses, {}
        return uses

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _service(self, token: ServiceToken) -> Shown:
        now_s = self._clock()
        if token.revoked_s is not None:
            raise CredentialError("revoked", "got a service token that was revoked")
        if token.expires_s is not None and token.expires_s <= now_s:
            raise CredentialError("expired", "got a service token that has expired")
        if token.id in self._uses or len(self._uses) < _MAX_USES:
            self._uses[token.id] = now_s
        caller = Caller(f"token {token.name or token.id}", Role.PLANNER, token=token.id)
        return Shown(caller, token.expires_s)

    def _user(self, text: str) -> Shown:
        claims = self._claims(text)
        person = self._people.get(claims["sub"])
        gone = person is None or person.disabled_s is not None or person.version != claims["ver"]
        over = gone or bool(self._revoked & {claims["jti"], claims["sid"]})
        if person is None or over or not self._is_open(claims["sid"], person):
            raise CredentialError("revoked", "got an access token that was revoked")
        caller = Caller(person.name, person.role, person.id, claims["sid"], claims["jti"])
        return Shown(caller, float(claims["exp"]))

    def _is_open(self, session: str, person: Person) -> bool:
        """Tell whether a session of a user is there; raises ApiError 503 without the file.

        A revocation may be forgotten too soon by a clock that jumps; a session that ended is gone.
        """
        if session not in self._open:
            try:
                sql = "SELECT person FROM login_session WHERE id = ?"
                found = intact(self._connection, sql, (session,))
            except sqlite3.Error as error:
                raise _unreadable() from error
            if not found:
                return False
            self._open[session] = str(found[0][0])
        return self._open[session] == person.id

    def _claims(self, text: str) -> dict[str, Any]:
        """Return the claims of an access token that was signed here and is good now."""
        try:
            key = self._keys.find(jwt.get_unverified_header(text).get("kid"))
            if key is None:
                raise CredentialError("unknown", "got an access token of another key")
            claims: dict[str, Any] = jwt.decode(
                text,
                key.bytes,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_S,
                options={"require": list(_CLAIMS), "strict_aud": True},
            )
        except jwt.ExpiredSignatureError:
            raise CredentialError(
                "expired", "got an access token that has expired: POST /auth/refresh gives the next"
            ) from None
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise CredentialError("unknown", "got another") from error
        if not all(isinstance(claims[name], str) for name in ("sub", "jti", "sid")):
            raise CredentialError("unknown", "got another")
        return claims

    def _refresh(self) -> None:
        """Read users and tokens again if the file has changed; raises sqlite3.Error."""
        ((version,),) = self._connection.execute("PRAGMA data_version").fetchall()
        if version == self._version:
            return
        with closing(self._connection.cursor()) as cursor:
            # One transaction: what belongs together is seen together.
            cursor.execute("BEGIN")
            try:
                people = self._read(cursor, _PEOPLE, person_of)
                tokens = self._read(cursor, _TOKENS, service_token_of)
                revoked = self._read(cursor, _REVOKED, str)
            finally:
                cursor.execute("COMMIT")
        self._people = {each.id: each for each in people}
        self._tokens = {each.hash: each for each in tokens}
        self._revoked = frozenset(revoked)
        self._open = {}
        self._version = version

    def _read(self, cursor: sqlite3.Cursor, sql: str, read: Callable[..., _T]) -> list[_T]:
        query, count = checked(self._connection, sql)
        rows = cursor.execute(query).fetchall()
        return self._state.readable(sql, rows, lambda *row: read(*verified(row, count)))


def _unreadable() -> ApiError:
    return ApiError(503, "unavailable", "the collector cannot read who may ask: its log says why")
