"""Agent keys: made once, stored hashed, scoped to environments and services, revoked for good.

A key is `ttk_<id>_<secret>`. The secret has 256 random bits, so one SHA-256 of it is a hash that
nobody can search; a slow password hash would only make ingest slow. Keys lie in a file of their
own in the data directory, which the console changes while the collector runs.

A key is one agent's: that of the first accepted batch, unless it was made for names or patterns of
names. Keys of versions before that rule may write as any agent.
"""

import hashlib
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from trimtab_collector.checkedrows import (
    CheckedConnection,
    UnreadableError,
    add_checksums,
    checked,
    verified,
)
from trimtab_collector.room import opened_with_room
from trimtab_collector.statefile import is_damaged
from trimtab_core.errors import SettingsError, StartupError
from trimtab_core.ownfiles import make_directory, touch_own

__all__ = ["ANY_AGENT", "AgentKey", "KeyFile", "parts_of", "read_keys", "unreadable_keys"]

#: the pattern of a key for every agent
ANY_AGENT: Final = "*"
_FILE: Final = "keys.db"
_TEXT: Final = re.compile(r"ttk_([0-9a-f]{12})_([0-9a-f]{64})")
_MOST_AGENTS: Final = 100
_MOST_NAME: Final = 256
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS agent_key (id TEXT PRIMARY KEY, hash BLOB NOT NULL,"
    " name TEXT NOT NULL, environments TEXT NOT NULL, services TEXT NOT NULL,"
    " created_s REAL NOT NULL, revoked_s REAL,"
    " agents TEXT NOT NULL DEFAULT '[\"*\"]', agent TEXT NOT NULL DEFAULT '',"
    " probes INTEGER NOT NULL DEFAULT 0, crc INTEGER) WITHOUT ROWID"
)
#: what a file of an earlier version lacks: its keys go on writing as any agent
_ADDED: Final = {
    "agents": "ALTER TABLE agent_key ADD COLUMN agents TEXT NOT NULL DEFAULT '[\"*\"]'",
    "agent": "ALTER TABLE agent_key ADD COLUMN agent TEXT NOT NULL DEFAULT ''",
    "probes": "ALTER TABLE agent_key ADD COLUMN probes INTEGER NOT NULL DEFAULT 0",
    "crc": add_checksums("agent_key"),
}
_SELECT: Final = (
    "SELECT id, hash, name, environments, services, created_s, revoked_s, agents, agent, probes"
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
    #: names of agents, or patterns with `*` and `?`; empty: whoever writes first
    agents: tuple[str, ...] = ()
    #: the agent that it was bound to by its first batch
    agent: str = ""

    #: may write measures of what its agent looks at, which are no service's
    probes: bool = False

    @property
    def is_scoped(self) -> bool:
        """Whether it may not write for everything."""
        return bool(self.environments or self.services)

    @property
    def is_free(self) -> bool:
        """Whether its next batch binds it."""
        return not self.agents and not self.agent

    def may_write(self, environment: str, service: str) -> bool:
        """Whether the key's scope holds both; an empty name is in no scope."""
        if not self.is_scoped:
            return True
        return bool(environment and service) and (
            (not self.environments or environment in self.environments)
            and (not self.services or service in self.services)
        )

    def is_of(self, agent: str) -> bool:
        """Whether the key is an agent's, or free."""
        if not self.agents:
            return not self.agent or self.agent == agent
        return ANY_AGENT in self.agents or any(
            agent == each or fnmatchcase(agent, each) for each in self.agents
        )


class KeyFile:
    """The keys of a data directory, for the console; each call is one transaction.

    Raises StartupError when the directory or file cannot be used.
    """

    def __init__(self, directory: Path, *, waits: bool = False) -> None:
        self.path = directory / _FILE
        #: called after each change that is made here
        self.changed: Callable[[], None] = lambda: None
        try:
            make_directory(directory)
            opened_with_room(directory, self._made, waits=waits)
        except (OSError, sqlite3.Error) as error:
            if is_damaged(error):
                raise unreadable_keys(self.path, error) from error
            raise StartupError(
                f"expected a directory for keys that can be written at {directory}, got: {error}; "
                "choose another with --data-dir"
            ) from error

    def new(
        self,
        name: str = "",
        environments: Iterable[str] = (),
        services: Iterable[str] = (),
        agents: Iterable[str] = (),
        *,
        probes: bool = False,
    ) -> tuple[str, AgentKey]:
        """Make a key; returns its text, which is nowhere else, and what is stored.

        Without agents it is that of the first one to write. Without a scope it may write what
        probes measure in any case. Raises SettingsError for a wrong name.
        """
        secret = secrets.token_hex(32)
        key = AgentKey(
            secrets.token_hex(6),
            _hash(secret),
            name,
            tuple(environments),
            tuple(services),
            time.time(),
            None,
            _checked(agents),
            probes=probes,
        )
        with closing(self.open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.put(
                "agent_key",
                (
                    key.id,
                    key.hash,
                    key.name,
                    msgspec.json.encode(key.environments).decode(),
                    msgspec.json.encode(key.services).decode(),
                    key.created_s,
                    None,
                    msgspec.json.encode(key.agents).decode(),
                    key.agent,
                    key.probes,
                ),
            )
            connection.execute("COMMIT")
        self.changed()
        return f"ttk_{key.id}_{secret}", key

    def list(self) -> Sequence[AgentKey]:
        """Return all keys, revoked ones too, oldest first."""
        with closing(self.open()) as connection:
            return read_keys(connection)[0]

    def revoke(self, key_id: str) -> AgentKey:
        """Revoke a key, by its id or its text, and return it; doing it again changes nothing.

        Raises SettingsError for an id that is not there.
        """
        return self._change(key_id, "revoked_s = coalesce(revoked_s, ?)", (time.time(),))

    def rebind(self, key_id: str, agents: Iterable[str] = ()) -> AgentKey:
        """Give a key to other agents, without any to the next one that writes; returns it.

        Raises SettingsError for an id that is not there, and for a wrong name.
        """
        names = msgspec.json.encode(_checked(agents)).decode()
        return self._change(key_id, "agents = ?, agent = ''", (names,))

    def bind(self, key_id: str, agent: str) -> None:
        """Note the agent that a free key belongs to from now on; a key that is not free stays."""
        with closing(self.open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            free = "id = ? AND agent = '' AND agents = '[]'"
            connection.revise("agent_key", "agent = ?", (agent,), free, (key_id,))
            connection.execute("COMMIT")

    def _change(self, key_id: str, what: str, values: Sequence[object]) -> AgentKey:
        found = parts_of(key_id)
        key_id = found[0] if found else key_id.removeprefix("ttk_")
        with closing(self.open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            changed = connection.revise("agent_key", what, values, "id = ?", (key_id,))
            connection.execute("COMMIT")
            keys = read_keys(connection)[0] if changed else ()
            key = next((key for key in keys if key.id == key_id), None)
        self.changed()
        if key is None:
            # What is longer than an id may be a mistyped key.
            raise SettingsError(
                f"expected the id of a key in {self.path}, got {key_id[:12]!r}: "
                "trimtab key list shows them"
            )
        return key

    def _made(self) -> None:
        touch_own(self.path)
        with closing(self.open()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_SCHEMA)
            self._bring(connection)

    def _bring(self, connection: CheckedConnection) -> None:
        """Add the columns that an earlier version did not have."""
        if not self._missing(connection):
            return
        connection.execute("BEGIN IMMEDIATE")
        for name in self._missing(connection):
            connection.execute(_ADDED[name])
            if name == "crc":
                connection.seal("agent_key")
        connection.execute("COMMIT")

    @staticmethod
    def _missing(connection: sqlite3.Connection) -> Sequence[str]:
        here = {row[1] for row in connection.execute("PRAGMA table_info(agent_key)")}
        return [name for name in _ADDED if name not in here]

    def open(self) -> CheckedConnection:
        """Return a connection to the file, for any thread but one at a time."""
        return sqlite3.connect(
            self.path,
            isolation_level=None,
            timeout=5,
            check_same_thread=False,
            factory=CheckedConnection,
        )


def unreadable_keys(path: Path, error: Exception) -> StartupError:
    """Return the end of a start with a file whose keys cannot be read."""
    return StartupError(
        f"expected keys in {path}, got: {error}; put back a backup of that file, or move it away "
        "and make new keys with trimtab key new"
    )


def read_keys(connection: CheckedConnection) -> tuple[list[AgentKey], int]:
    """Return all keys, the oldest first, and how many cannot be read; raises sqlite3.Error."""
    found, unreadable = [], 0
    query, count = checked(connection, _SELECT)
    for row in connection.execute(query):
        try:
            found.append(_key(verified(row, count)))
        except (msgspec.MsgspecError, ValueError, TypeError, UnreadableError):
            unreadable += 1
    return found, unreadable


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
            "agents": msgspec.json.decode(str(row[7])),
            "agent": row[8],
            "probes": bool(row[9]),
        },
        AgentKey,
    )


def _checked(agents: Iterable[str]) -> tuple[str, ...]:
    """Return names and patterns of agents; raises SettingsError for one that none can have."""
    names = tuple(dict.fromkeys(agents))
    if len(names) > _MOST_AGENTS:
        raise SettingsError(f"expected up to {_MOST_AGENTS} agents of a key, got {len(names)}")
    for name in names:
        if not 0 < len(name) <= _MOST_NAME or not name.isprintable():
            raise SettingsError(
                f"expected the name of an agent or a pattern such as web-*, got {name!r:.80}"
            )
    return names


def parts_of(text: str) -> tuple[str, bytes] | None:
    """Return the id in a key's text and the hash of its secret, None for any other text."""
    found = _TEXT.fullmatch(text)
    return (found[1], _hash(found[2])) if found else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
