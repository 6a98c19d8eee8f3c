"""The keys of agents in memory, for whatever asks at every batch."""

import hmac
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from trimtab_collector.auth.keys import AgentKey, KeyFile, parts_of, read_keys, unreadable_keys
from trimtab_collector.checkedrows import damage_of
from trimtab_collector.room import opened_with_room
from trimtab_core.logs import RateLimited

__all__ = ["KeyRing"]

logger = logging.getLogger("trimtab.keys")

#: what the console has changed counts at most this long after
_REFRESH_S: Final = 0.1


class KeyRing:
    """The same keys for ingest: in memory, renewed at once after a change of this process.

    A change of another one counts within a tenth of a second. Any thread.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = KeyFile(directory, waits=True)
        self._clock = clock
        connection = self._connection = self._file.open()
        look = "SELECT count(*) FROM agent_key"
        with suppress(sqlite3.Error):  # what is wrong besides room, `_refresh` says
            opened_with_room(directory, lambda: connection.execute(look).fetchone(), waits=True)
        self._log = RateLimited(logger)
        self._lock = threading.RLock()
        self._keys: dict[str, AgentKey] = {}
        #: agent -> the key that its first batch has bound
        self._bound: dict[str, AgentKey] = {}
        #: key -> the agent that it is bound to, which is not in the file yet
        self._unsaved: dict[str, str] = {}
        self._version = -1
        self._next_s = 0.0
        #: keys that cannot be read, and are refused
        self.unreadable = 0
        #: why changes of keys are not seen, else empty
        self.trouble = ""
        self._refresh()

    @property
    def is_empty(self) -> bool:
        """Whether there is no key at all, not even one that was revoked."""
        return not (self._keys or self.unreadable)

    def find(self, text: str) -> AgentKey | None:
        """Return the key of a text, None when it is unknown, wrong or revoked."""
        parts = parts_of(text)
        if parts is None:
            return None
        key_id, hashed = parts
        if self._clock() >= self._next_s or key_id not in self._keys:
            self._refresh()
        key = self._keys.get(key_id)
        # Compared even when there is no such key, so that the time tells nothing.
        same = hmac.compare_digest(hashed, key.hash if key else b"\0" * 32)
        return key if key and same and key.revoked_s is None else None

    def known(self, text: str) -> str:
        """Return the id in a text if it is that of a key, though revoked or with another secret."""
        parts = parts_of(text)
        return parts[0] if parts is not None and parts[0] in self._keys else ""

    def valid(self, key_id: str) -> AgentKey | None:
        """Return a key by its id as it is now, None when it is unknown or revoked."""
        if self._clock() >= self._next_s:
            self._refresh()
        key = self._keys.get(key_id)
        return key if key is not None and key.revoked_s is None else None

    def bound_to(self, agent: str) -> AgentKey | None:
        """Return the key that the first batch of an agent has bound, None without one."""
        return self._bound.get(agent)

    def bind(self, key_id: str, agent: str) -> AgentKey | None:
        """Bind a key that is free to an agent, and return it as it is then; `save` keeps it."""
        with self._lock:
            key = self.valid(key_id)
            if key is not None and key.is_free:
                self._unsaved[key_id] = agent
                key = self._keys[key_id] = self._bound[agent] = replace(key, agent=agent)
            return key

    def save(self) -> None:
        """Write down which keys were bound; raises sqlite3.Error, and then keeps them for later."""
        for key_id, agent in list(self._unsaved.items()):
            self._file.bind(key_id, agent)
            with self._lock:
                self._unsaved.pop(key_id, None)

    def renew(self) -> None:
        """Read the file again before a key is used the next time."""
        self._next_s = 0.0

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _refresh(self) -> None:
        with self._lock:
            self._next_s = self._clock() + _REFRESH_S
            try:
                (version,) = self._connection.execute("PRAGMA data_version").fetchone()
                if version == self._version:
                    return
                keys, self.unreadable = read_keys(self._connection)
            except sqlite3.Error as error:
                if self._version < 0:
                    raise unreadable_keys(self._file.path, error) from error
                # Agents go on with the keys that there were: the disk is at fault, not they.
                self.trouble = f"keys are not read: {error}"
                self._log.warning("keys", "%s path=%s", self.trouble, self._file.path)
                return
            self._version = version
            damage = damage_of(self._connection)
            self.trouble = damage and (
                f"{self._file.path.name} is damaged: {damage}; put back a backup of that file"
            )
            if damage:
                self._log.warning("damage", "%s path=%s", self.trouble, self._file.path)
            if self.unreadable:
                self._log.warning(
                    "unreadable",
                    "keys are not read, and refused: make new ones with trimtab key new keys=%d",
                    self.unreadable,
                )
            self._take(keys)

    def _take(self, keys: Sequence[AgentKey]) -> None:
        """Use these keys from now on, with those bound meanwhile."""
        self._keys = {
            key.id: replace(key, agent=self._unsaved.get(key.id, "")) if key.is_free else key
            for key in keys
        }
        self._bound = {
            key.agent: key for key in self._keys.values() if key.agent and key.revoked_s is None
        }
