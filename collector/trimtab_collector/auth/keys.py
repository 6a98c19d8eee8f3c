"""Agent keys: made once, stored hashed, scoped to environments and services, revoked for good.

A key is `ttk_<id>_<secret>`. The secret has 256 random bits, so one SHA-256 of it is a hash that
nobody can search; a slow password hash would only make ingest slow. Keys lie in a file of their
own in the data directory, which the console changes while the collector runs.
"""

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from trimtab_core.errors import SettingsError, StartupError

__all__ = ["AgentKey", "KeyFile", "KeyRing"]

_FILE: Final = "keys.db"
_TEXT: Final = re.compile(r"ttk_([0-9a-f]{12})_([0-9a-f]{64})")
#: a revoked key is refused at most this long after
_REFRESH_S: Final = 1.0
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS agent_key (id TEXT PRIMARY KEY, hash BLOB NOT NULL,"
    " name TEXT NOT NULL, environments TEXT NOT NULL, services TEXT NOT NULL,"
    " created_s REAL NOT NULL, revoked_s REAL) WITHOUT ROWID"
)
_SELECT: Final = (
    "SELECT id, hash, name, environments, services, created_s, revoked_s"
    " FROM agent_key ORDER BY created_s, id"
)


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A key without its secret; empty scopes mean all."""

    id: str
    hash: bytes
    name: str
    environments: tuple[str, ...]
    services: tuple[str, ...]
    created_s: float
    revoked_s: float | None

    def may_write(self, environment: str, service: str) -> bool:
        """Whether the key's scope holds both; an empty text stands for none and may pass."""
        return (not self.environments or not environment or environment in self.environments) and (
            not self.services or not service or service in self.services
        )


class KeyFile:
    """The keys of a data directory, for the console; each call is one transaction.

    Raises StartupError when the directory or file cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / _FILE
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            with closing(self._open()) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StartupError(
                f"expected a directory for keys that can be written at {directory}, got: {error}; "
                "choose another with --data-dir"
            ) from error

    def new(
        self, name: str = "", environments: Iterable[str] = (), services: Iterable[str] = ()
    ) -> tuple[str, AgentKey]:
        """Make a key; returns its text, which is nowhere else, and what is stored."""
        secret = secrets.token_hex(32)
        key = AgentKey(
            secrets.token_hex(6),
            _hash(secret),
            name,
            tuple(environments),
            tuple(services),
            time.time(),
            None,
        )
        with closing(self._open()) as connection:
            connection.execute(
                "INSERT INTO agent_key VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (
                    key.id,
                    key.hash,
                    key.name,
                    msgspec.json.encode(key.environments).decode(),
                    msgspec.json.encode(key.services).decode(),
                    key.created_s,
                ),
            )
        return f"ttk_{key.id}_{secret}", key

    def list(self) -> Sequence[AgentKey]:
        """Return all keys, revoked ones too, oldest first."""
        with closing(self._open()) as connection:
            return [_key(row) for row in connection.execute(_SELECT)]

    def revoke(self, key_id: str) -> AgentKey:
        """Revoke a key, by its id or its text, and return it; doing it again changes nothing.

        Raises SettingsError for an id that is not there.
        """
        found = _TEXT.fullmatch(key_id)
        key_id = found[1] if found else key_id.removeprefix("ttk_")
        with closing(self._open()) as connection:
            cursor = connection.execute(
                "UPDATE agent_key SET revoked_s = coalesce(revoked_s, ?) WHERE id = ?",
                (time.time(), key_id),
            )
            if not cursor.rowcount:
                raise SettingsError(
                    f"expected the id of a key in {self.path}, got {key_id!r:.80}: "
                    "trimtab key list shows them"
                )
            rows = connection.execute(_SELECT)
            return next(key for key in map(_key, rows) if key.id == key_id)

    def _open(self) -> sqlite3.Connection:
        # Made where the app is put together, used in the loop: not always the same thread.
        return sqlite3.connect(self.path, isolation_level=None, timeout=5, check_same_thread=False)


class KeyRing:
    """The same keys for ingest: in memory, renewed within a second of a change.

    Loop only, but for `valid`.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = KeyFile(directory)
        self._clock = clock
        self._connection = self._file._open()
        self._keys: dict[str, AgentKey] = {}
        self._version = -1
        self._next_s = 0.0
        self._refresh()

    def find(self, text: str) -> AgentKey | None:
        """Return the key of a text, None when it is unknown, wrong or revoked."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        if self._clock() >= self._next_s or found[1] not in self._keys:
            self._refresh()
        key = self._keys.get(found[1])
        # Compared even when there is no such key, so that the time tells nothing.
        same = hmac.compare_digest(_hash(found[2]), key.hash if key else b"\0" * 32)
        return key if key and same and key.revoked_s is None else None

    def known(self, text: str) -> str:
        """Return the id in a text if it is that of a key, though revoked or with another secret."""
        found = _TEXT.fullmatch(text)
        return found[1] if found is not None and found[1] in self._keys else ""

    def valid(self, key_id: str) -> AgentKey | None:
        """Return a key by its id, None when it is unknown or revoked; as of the last `find`."""
        key = self._keys.get(key_id)
        return key if key is not None and key.revoked_s is None else None

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _refresh(self) -> None:
        self._next_s = self._clock() + _REFRESH_S
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            rows = self._connection.execute(_SELECT)
            self._keys = {row[0]: _key(row) for row in rows}
            self._version = version


def _key(row: Sequence[object]) -> AgentKey:
    return msgspec.convert(
        {
            "id": row[0],
            "hash": row[1],
            "name": row[2],
            "environments": msgspec.json.decode(str(row[3])),
            "services": msgspec.json.decode(str(row[4])),
            "created_s": row[5],
            "revoked_s": row[6],
        },
        AgentKey,
    )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
