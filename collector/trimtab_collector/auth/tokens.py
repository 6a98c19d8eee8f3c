"""Service tokens: for scripts and boards, which read everything and change nothing.

A token is `tts_<id>_<secret>`, of which the hash is stored. The collector makes one at its first
start, for whoever set it up, and keeps its text in the file `token`; the setting `token` names
another. Both are service tokens like all others: they are listed, and can be revoked.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from trimtab_collector.auth.audit import AUDIT, note
from trimtab_collector.auth.people import PEOPLE
from trimtab_collector.contract.callers import ITSELF, Caller
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile, reader_of
from trimtab_core.errors import StartupError
from trimtab_core.ownfiles import read_own, write_own

__all__ = ["FirstToken", "ServiceToken", "ServiceTokens", "hash_token", "service_token_of"]

_TEXT: Final = re.compile(r"tts_([0-9a-f]{12})_[0-9a-f]{64}")
_MAX_TOKENS: Final = 1_000
_FILE: Final = "token"
_FIRST: Final = "first start"
_SETTINGS: Final = "settings"
_SELECT: Final = (
    "SELECT id, hash, name, origin, created_s, expires_s, revoked_s, used_s FROM service_token "
)


class ServiceToken(NamedTuple):
    """A token without its secret; times in epoch seconds."""

    id: str
    hash: bytes
    name: str
    #: console, api, first start or settings
    origin: str
    created_s: float
    expires_s: float | None
    revoked_s: float | None
    used_s: float | None


#: the token of a row of the table, in the order of the fields
service_token_of: Final = reader_of(ServiceToken)


class FirstToken(NamedTuple):
    """The token of the file or the settings: its text, and whether it was made just now.

    path is None where the settings have it, text is empty where it was revoked.
    """

    text: str
    path: Path | None
    new: bool


class ServiceTokens:
    """The tokens in the state file; any thread, each change is one transaction with its entry."""

    def __init__(self, state: StateFile, clock: Callable[[], float] = time.time) -> None:
        state.bring(PEOPLE)
        state.bring(AUDIT)
        self._state = state
        self._clock = clock

    def list(self) -> Sequence[ServiceToken]:
        """Return all tokens, revoked ones too, oldest first."""
        return self._state.decoded(_SELECT + "ORDER BY created_s, id", (), service_token_of)

    def new(
        self, caller: Caller, name: str, origin: str, days: float | None = None
    ) -> tuple[str, ServiceToken]:
        """Make a token; returns its text, which is nowhere else, and what is stored."""
        token_id = secrets.token_hex(6)
        text = f"tts_{token_id}_{secrets.token_hex(32)}"
        return text, self._add(caller, token_id, text, name, origin, days)

    def revoke(self, caller: Caller, token_id: str) -> ServiceToken:
        """Refuse a token from now on, by its id or its text; doing it again changes nothing.

        Raises ApiError 404 for an id that is not there.
        """
        found = _TEXT.fullmatch(token_id)
        with self._state.change() as connection:
            token = self._known(found[1] if found else token_id, hash_token(token_id))
            if token.revoked_s is not None:
                return token
            token = token._replace(revoked_s=self._clock())
            connection.revise(
                "service_token", "revoked_s = ?", (token.revoked_s,), "id = ?", (token.id,)
            )
            note(connection, caller, "token.revoke", token.id, {"name": token.name}, None)
        return token

    def used(self, uses: Mapping[str, float]) -> None:
        """Keep when tokens were last used: id -> epoch seconds."""
        if not uses:
            return
        with self._state.change() as connection:
            for token_id, used_s in uses.items():
                connection.revise("service_token", "used_s = ?", (used_s,), "id = ?", (token_id,))

    def first(self, directory: Path, configured: str = "") -> FirstToken:
        """Return the token of the settings, else that of the file, made at the first start.

        One that was revoked is not made again. What the settings or the file held before is no
        longer good. Raises StartupError when the file cannot be read or written.
        """
        if configured:
            return FirstToken(self._adopt(configured, _SETTINGS), None, False)
        self._replace(_SETTINGS, b"")
        path = directory / _FILE
        try:
            if text := read_own(path):
                return FirstToken(self._adopt(text, _FIRST), path, False)
            earlier = [each for each in self.list() if each.origin == _FIRST]
            if earlier and earlier[-1].revoked_s is not None:
                return FirstToken("", None, False)
            text = f"tts_{secrets.token_hex(6)}_{secrets.token_hex(32)}"
            write_own(path, text + "\n")
        except OSError as error:
            raise StartupError(
                f"expected a file for the token at {path}, got: {error.strerror}; choose another "
                "directory with --data-dir"
            ) from error
        return FirstToken(self._adopt(text, _FIRST), path, True)

    def _adopt(self, text: str, origin: str) -> str:
        """Know a token that was not made here; returns its text, or nothing if it is revoked.

        Or if its row cannot be read: it may have been revoked.
        """
        digest = hash_token(text)
        with self._state.change():
            known = [each for each in self.list() if each.hash == digest]
            self._replace(origin, digest)
            if not known:
                found = _TEXT.fullmatch(text)
                token_id = found[1] if found else secrets.token_hex(6)
                sql = "SELECT 1 FROM service_token WHERE hash = ? OR id = ?"
                if self._state.rows(sql, (digest, token_id)):
                    return ""
                self._add(ITSELF, token_id, text, origin, origin)
        return "" if known and known[0].revoked_s is not None else text

    def _replace(self, origin: str, digest: bytes) -> None:
        """Forget what came from an origin and is another token than it has now."""
        with self._state.change() as connection:
            for each in self.list():
                if each.origin == origin and each.hash != digest and each.revoked_s is None:
                    connection.execute("DELETE FROM service_token WHERE id = ?", (each.id,))
                    note(connection, ITSELF, "token.replace", each.id, {"name": each.name}, None)

    def _add(
        self,
        caller: Caller,
        token_id: str,
        text: str,
        name: str,
        origin: str,
        days: float | None = None,
    ) -> ServiceToken:
        now_s = self._clock()
        expires_s = None if days is None else now_s + days * 86_400
        token = ServiceToken(token_id, hash_token(text), name, origin, now_s, expires_s, None, None)
        with self._state.change() as connection:
            connection.execute(
                "DELETE FROM service_token WHERE revoked_s < ?", (now_s - 400 * 86_400,)
            )
            if len(self.list()) >= _MAX_TOKENS:
                raise ApiError(
                    409,
                    "too_many",
                    f"expected at most {_MAX_TOKENS} tokens, revoked ones of the last 400 days too",
                )
            connection.put("service_token", token)
            note(connection, caller, "token.new", token_id, None, {"name": name, "days": days})
        return token

    def _known(self, token_id: str, digest: bytes) -> ServiceToken:
        sql = _SELECT + "WHERE id = ? OR hash = ?"
        found = self._state.decoded(sql, (token_id, digest), service_token_of)
        if not found:
            raise ApiError(
                404,
                "not_found",
                f"expected the id of a service token, got {token_id!r:.20}: trimtab token list "
                "shows them",
            )
        return found[0]


def hash_token(text: str) -> bytes:
    """Return what is stored of a token: one SHA-256, as it has 256 random bits."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
