"""Whose an agent's name is: the key's that first wrote with it.

Without that, every key could speak for every agent: say that it stops, that its clock is wrong, or
what its host uses. A key is one agent's (`keys.py`), and keeps its name until it is revoked or
given to another one. A key that was made for that name, or a pattern that it matches, may write as
an agent of another key when its scope is at least as wide, so that keys can be replaced. A name of
such a key is free again a day after its last batch, or once that key is revoked.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.auth.keyring import KeyRing
from trimtab_collector.auth.keys import AgentKey
from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import Schema, StateFile
from trimtab_core.logs import RateLimited

__all__ = ["AgentOwners"]

logger = logging.getLogger("trimtab.ingest")

_MAX_AGENTS: Final = 20_000
_KEEP_S: Final = 86_400.0
#: agents that a key with a scope may bring in an hour; in a day fewer than there is room for
_MAX_NEW: Final = 400
_HOUR_S: Final = 3600.0
_SAVED_S: Final = 5.0
#: how old the kept time of a last batch may be
_STALE_S: Final = 3600.0
_SCHEMA: Final = Schema(
    "agent_owner",
    (
        """CREATE TABLE agent_owner (
            agent TEXT PRIMARY KEY,
            key TEXT NOT NULL,
            used_s REAL NOT NULL
        ) WITHOUT ROWID""",
        add_checksums("agent_owner"),
    ),
)


@dataclass(slots=True)
class _Owned:
    key_id: str
    used_s: float
    #: the time that is in the file, 0 for none
    saved_s: float = 0.0


class AgentOwners:
    """The names of agents with their keys: any thread; the file is written in one of its own."""

    def __init__(
        self, state: StateFile, keys: KeyRing, clock: Callable[[], float] = time.time
    ) -> None:
        state.bring(_SCHEMA)
        state.bring(AUDIT)
        self._state = state
        self._keys = keys
        self._clock = clock
        self._log = RateLimited(logger)
        self._lock = threading.Lock()
        #: the agent that was bound last is last
        self._owned: OrderedDict[str, _Owned] = OrderedDict()
        #: key -> when it brought new agents, within an hour
        self._brought: dict[str, deque[float]] = {}
        self._stop = threading.Event()
        #: set to write at once
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        #: why owners are not kept, empty when they are
        self.trouble = ""
        rows = state.decoded(
            "SELECT agent, key, used_s FROM agent_owner WHERE used_s > ?"
            " ORDER BY used_s DESC LIMIT ?",
            (clock() - _KEEP_S, _MAX_AGENTS),
            lambda agent, key, used_s: (str(agent), _Owned(str(key), float(used_s), float(used_s))),
        )
        self._owned.update(reversed(rows))
        self._made = self._count_made()
        if self.lost:
            logger.error("keys are lost: %s", self.lost)

    @property
    def lost(self) -> str:
        """What it means that no key is left of those that there were, else empty."""
        if not self._made or not self._keys.is_empty:
            return ""
        return (
            f"keys.db has no key, {self._made} had been made: every agent is refused; stop the "
            "collector and put back a backup of that file, or make new keys with trimtab key new"
        )

    def check(self, agent: str, key: AgentKey) -> bool:
        """Return whether a name is this key's own; one look-up for an agent that goes on writing.

        Raises ApiError 403 where the key is another agent's or the name another key's, and 429 for
        too many new ones. A key that may write but does not own the name is to `claim` it once its
        batch is accepted.
        """
        now_s = self._clock()
        if not key.is_of(agent):
            raise _not_its(key, agent)
        owned = self._owned.get(agent)
        if owned is not None and owned.key_id == key.id and not key.is_free:
            owned.used_s = now_s
            return True
        owner = self._owner(agent, owned, now_s)
        if owner is None:
            self._check_new(key, now_s)
        elif owner.id != key.id and (key.is_free or not _covers(key, owner)):
            raise ApiError(
                403,
                "forbidden",
                f"expected key {owner.id}, which agent {agent!r:.80} belongs to, got key {key.id}: "
                "give the agent the key that it had, revoke that one (trimtab key revoke), or give "
                f"it this one for at least as much (trimtab key rebind {key.id} --agent NAME)",
            )
        return False

    def claim(self, agent: str, key: AgentKey) -> None:
        """Bind a key that is free to a name that `check` let through, and the name to the key.

        A name that is taken stays with a key whose scope is as wide. Raises ApiError 403 where the
        key was bound to another agent meanwhile.
        """
        now_s = self._clock()
        with self._lock:
            if key.is_free:
                key = self._keys.bind(key.id, agent) or key
                if not key.is_of(agent):
                    raise _not_its(key, agent)
                self._wake.set()
            owned = self._owned.get(agent)
            owner = self._owner(agent, owned, now_s)
            if owned and owner and owner.id != key.id and _covers(owner, key):
                # As wide as the owner: both may go on, whoever is first.
                owned.used_s = now_s
                return
            if owner is None and key.is_scoped:
                self._brought.setdefault(key.id, deque(maxlen=_MAX_NEW)).append(now_s)
            self._owned[agent] = _Owned(key.id, now_s)
            self._owned.move_to_end(agent)
            if len(self._owned) > _MAX_AGENTS:
                self._owned.popitem(last=False)

    def key_of(self, agent: str) -> AgentKey | None:
        """Return the key that a name belongs to, None when it is free."""
        return self._owner(agent, self._owned.get(agent), self._clock())

    def start(self) -> None:
        """Start to keep owners; once."""
        self._thread = threading.Thread(target=self._run, name="trimtab-owners", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write down what is new, and end the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._guarded()

    def save(self) -> None:
        """Write down what is new, and forget who has not written for a day."""
        self._keys.save()
        now_s = self._clock()
        with self._lock:
            # Copied at once: a batch never waits for what is done with them.
            rows = list(self._owned.items())
        old = [(agent, owned) for agent, owned in rows if now_s - owned.used_s > _KEEP_S]
        with self._lock:
            for agent, owned in old:
                if self._owned.get(agent) is owned and now_s - owned.used_s > _KEEP_S:
                    del self._owned[agent]
            for key_id, times in list(self._brought.items()):
                if times[-1] < now_s - _HOUR_S:
                    del self._brought[key_id]
        new = [
            (agent, owned, owned.used_s)
            for agent, owned in rows
            if owned.used_s - owned.saved_s > _STALE_S
        ]
        if not new and not old:
            return
        with self._state.change() as connection:
            for agent, owned, used_s in new:
                row = (agent, owned.key_id, used_s)
                connection.put("agent_owner", row, conflict="REPLACE")
            connection.execute("DELETE FROM agent_owner WHERE used_s < ?", (now_s - _KEEP_S,))
        for _, owned, used_s in new:
            owned.saved_s = used_s

    def _count_made(self) -> int:
        """Return how many keys state.db tells of; revoked ones stay in keys.db, too."""
        ((made,),) = self._state.rows(
            "SELECT count(*) FROM (SELECT key FROM agent_owner"
            " UNION SELECT subject FROM audit WHERE action = 'key.new')"
        )
        return int(made)

    def _owner(self, agent: str, owned: _Owned | None, now_s: float) -> AgentKey | None:
        """Return the key of a name, None when it is free."""
        found = None
        if owned is not None and now_s - owned.used_s <= _KEEP_S:
            found = self._keys.valid(owned.key_id)
        # One that was given to another agent since owns this name no more.
        return found if found and found.is_of(agent) else self._keys.bound_to(agent)

    def _check_new(self, key: AgentKey, now_s: float) -> None:
        times = self._brought.get(key.id)
        if times is not None and len(times) >= _MAX_NEW and times[0] > now_s - _HOUR_S:
            wait_s = int(times[0] + _HOUR_S - now_s) + 1
            raise ApiError(
                429,
                "too_many_tries",
                f"expected up to {_MAX_NEW} new agents an hour of key {key.id}, got one more: "
                "the batch is taken later; use keys of their own for that many hosts",
                headers={"Retry-After": str(min(wait_s, 60))},
            )

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_SAVED_S)
            self._wake.clear()
            self._guarded()

    def _guarded(self) -> None:
        try:
            self.save()
            self.trouble = ""
        except Exception as error:  # noqa: BLE001 - a thread that ends keeps nobody's owner
            self._log.warning("owners", "owners of agents are not kept: %s", error)
            self.trouble = f"{type(error).__name__}: {error!s:.200}"


def _not_its(key: AgentKey, agent: str) -> ApiError:
    whose = key.agent or ", ".join(key.agents)
    return ApiError(
        403,
        "forbidden",
        f"expected agent {whose!r:.80}, which key {key.id} is for, got {agent!r:.80}: make the "
        "agent a key of its own (trimtab key new); if it takes the place of the other one, "
        f"trimtab key rebind {key.id}; for several, trimtab key rebind {key.id} --agent 'PATTERN'",
    )


def _covers(key: AgentKey, other: AgentKey) -> bool:
    """Return whether a key may write all that another may."""
    return _holds(key.environments, other.environments) and _holds(key.services, other.services)


def _holds(names: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Return whether a scope holds another; an empty one holds all."""
    return not names or (bool(others) and set(others) <= set(names))
