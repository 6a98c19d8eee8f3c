"""Which agents write, and for which services: what is missing when one of them falls silent."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from trimtab_collector.alerts.reading import Signal
from trimtab_collector.auth.audit import note
from trimtab_collector.checkedrows import CheckedConnection, add_checksums
from trimtab_collector.contract.alerts import AGENT_SILENCE
from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.reads.presence import HOST
from trimtab_collector.statefile import Schema, StateFile
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import Received
from trimtab_core.names import STOPPING

__all__ = ["GONE", "SENDING", "SILENT", "Agents", "SeenAgent"]

SENDING: Final = "sending"
SILENT: Final = "silent"
#: it stopped in order, or has been silent for a day
GONE: Final = "gone"

_SCHEMA: Final = Schema(
    "agents",
    (
        "CREATE TABLE agent_seen (agent TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID",
        # Whose alerts are to be ended; kept until that is done.
        "CREATE TABLE agent_dismissed (agent TEXT PRIMARY KEY) WITHOUT ROWID",
        add_checksums("agent_seen", "agent_dismissed"),
    ),
)
_MOST_AGENTS: Final = 20_000
_MOST_SERVICES: Final = 100
#: a service that an agent has not named for so long is not expected of it
_EXPECTED_S: Final = 900
#: an agent that has been silent for so long is gone: it is listed, and nothing is judged of it
_GONE_S: Final = 86_400
#: the same of one that stopped in order
_STOPPED_S: Final = 3600
_LISTED_S: Final = 7 * 86_400
#: the line of the rule that is shipped
_SILENT_S: Final = 25
#: processes of an agent whose drops are kept apart, as they tell sums
_MOST_DROPPING: Final = 50
_MOST_REASONS: Final = 64
#: no process drops more
_MOST_RECORDS: Final = 2**40
#: an agent that has been silent for so long is missed no more: it holds no alert open
_MISSED_S: Final = 3600
_LATE_S: Final = 2 * WINDOW_S
#: an agent that runs is heard within so long of a start: it waits up to 30 s to try again, and its
#: window takes another ten
_GRACE_S: Final = 60
#: what an agent said of itself holds for so long
_SAID_S: Final = 60


@dataclass(slots=True)
class SeenAgent:
    """What is known of an agent; times by our clock."""

    heard_s: float
    #: end of the newest window that it sent
    window_s: float
    stopped: bool = False
    #: whether it was silent when that was last known
    silent: bool = False
    #: "environment\\0service" -> end of the newest window that named it
    services: dict[str, float] = field(default_factory=dict)
    #: 0 where an earlier version wrote it
    first_s: float = 0.0
    host: str = ""
    #: since then
    batches: int = 0
    points: int = 0
    #: reason -> records that its apps dropped; of processes that are kept apart no longer
    dropped: dict[str, int] = field(default_factory=dict)
    #: process -> the same of it
    dropping: dict[str, dict[str, int]] = field(default_factory=dict)

    def drops(self) -> dict[str, int]:
        """Return the records that its apps dropped, by reason."""
        found = dict(self.dropped)
        for reasons in self.dropping.values():
            _add(found, reasons)
        return found

    def drop(self, process: str, reasons: Mapping[str, int]) -> None:
        """Note what a process has dropped in all."""
        # Put back as the latest, changed in place: what it was may have many names.
        known = self.dropping.pop(process, {})
        for name, count in reasons.items():
            if name in known or len(known) < _MOST_REASONS:
                known[name] = min(count, _MOST_RECORDS)
        self.dropping[process] = known
        while len(self.dropping) > _MOST_DROPPING:
            _add(self.dropped, self.dropping.pop(next(iter(self.dropping))))

    def is_gone(self, now_s: float) -> bool:
        """Whether nothing is judged of it any more."""
        return now_s - self.heard_s > (_STOPPED_S if self.stopped else _GONE_S)


class Agents:
    """The agents of a collector; any thread."""

    def __init__(self, state: StateFile) -> None:
        state.bring(_SCHEMA)
        self._state = state
        self._lock = threading.Lock()
        self._agents: dict[str, SeenAgent] = dict(
            state.decoded("SELECT agent, data FROM agent_seen", (), _kept)
        )
        self._dismissed = set(state.decoded("SELECT agent FROM agent_dismissed", (), str))
        self._kept_s = 0.0
        #: until then nobody could be heard
        self._excused_s = 0.0

    def excuse(self, now_s: float) -> None:
        """Know nothing of agents that are not heard from now on, for a minute.

        Until now, nobody could have been heard: an agent is neither silent nor heard by that.
        """
        self._excused_s = now_s

    def clamp(self, now_s: float) -> None:
        """Take times that lie ahead for now: the clock was put back."""
        with self._lock:
            for seen in self._agents.values():
                seen.heard_s = min(seen.heard_s, now_s)
                seen.window_s = min(seen.window_s, now_s)
                seen.services = {name: min(at_s, now_s) for name, at_s in seen.services.items()}

    def note(self, batches: Sequence[Received]) -> None:
        """Note who sent new batches."""
        with self._lock:
            for received in batches:
                self._note(received)

    def listed(self, now_s: float) -> list[tuple[str, str, float, SeenAgent]]:
        """Return every agent: its name, its state, for how long it is silent, what is known."""
        with self._lock:
            rows = [(agent, _copy(seen)) for agent, seen in self._agents.items()]
        return [(agent, *self._state_of(seen, now_s), seen) for agent, seen in rows]

    def dismiss(self, agent: str, by: Caller) -> None:
        """Forget an agent that will not come back, and end its alerts with the next step.

        It is known again once it sends. Raises ApiError 404.
        """
        with self._state.change() as connection:
            with self._lock:
                if self._agents.pop(agent, None) is None:
                    message = f"expected the name of an agent that is listed, got {agent!r:.80}"
                    raise ApiError(404, "not_found", message)
                self._dismissed.add(agent)
            connection.execute("DELETE FROM agent_seen WHERE agent = ?", (agent,))
            connection.put("agent_dismissed", (agent,), conflict="IGNORE")
            note(connection, by, "agent.dismiss", agent)

    def dismissed(self) -> frozenset[str]:
        """Return the agents whose alerts are to be ended."""
        with self._lock:
            return frozenset(self._dismissed)

    def settle(self, connection: CheckedConnection, dismissed: Collection[str]) -> None:
        """Note that the alerts of agents were ended, within the transaction that ends them."""
        if not dismissed:
            return
        rows = [(agent,) for agent in dismissed]
        connection.executemany("DELETE FROM agent_dismissed WHERE agent = ?", rows)
        with self._lock:
            self._dismissed.difference_update(dismissed)

    def heard(self) -> list[float]:
        """Return when each agent was heard last."""
        with self._lock:
            return [seen.heard_s for seen in self._agents.values()]

    def are_complete(self, end_s: int) -> bool:
        """Return whether every agent that writes has sent the window that ends there."""
        with self._lock:
            expected = [
                seen.window_s >= end_s
                for seen in self._agents.values()
                if not seen.stopped and seen.window_s >= end_s - 3 * WINDOW_S
            ]
        return bool(expected) and all(expected)

    def missing(self, end_s: float) -> set[tuple[str, str]]:
        """Return the (environment, service) of which an agent has sent nothing at the end.

        Hosts are not among them: of an agent that is silent, their values are absent.
        """
        found: set[tuple[str, str]] = set()
        with self._lock:
            for seen in self._agents.values():
                late_s = end_s - seen.window_s
                if seen.stopped or not _LATE_S <= late_s < _MISSED_S:
                    continue
                for name, at_s in seen.services.items():
                    if at_s >= seen.window_s - _EXPECTED_S:
                        environment, _, service = name.partition("\0")
                        found.add((environment, service))
        return found

    def signals(self, now_s: float, skews: Mapping[str, float]) -> Iterable[Signal]:
        """Yield how long each agent has been silent, and by how much its clock is off.

        What is not known is not yielded, and moves no alert: the silence of one that was not heard
        since a start, for a minute, and the clock of one that says nothing.
        """
        found = []
        with self._lock:
            for agent, seen in self._agents.items():
                if seen.is_gone(now_s):
                    continue
                silent_s = self._silent_s(seen, now_s)
                if silent_s is not None:
                    seen.silent = silent_s > _SILENT_S
                says = seen.heard_s >= self._excused_s and now_s - seen.heard_s <= _SAID_S
                found.append((agent, silent_s, says))
        for agent, silent_s, says in found:
            labels = {"agent": agent}
            if silent_s is not None:
                yield Signal(AGENT_SILENCE, labels, silent_s)
            if says:
                yield Signal("clockSkew", labels, abs(skews.get(agent, 0.0)))

    def _silent_s(self, seen: SeenAgent, now_s: float) -> float | None:
        """Return for how long an agent has been silent, None where nobody can know."""
        if seen.stopped:
            return 0.0
        if seen.heard_s < self._excused_s and now_s - self._excused_s <= _GRACE_S:
            return None
        return max(0.0, now_s - seen.heard_s)

    def keep(self, now_s: float) -> None:
        """Write who was seen, once a minute, and forget those who have been silent for a week."""
        if abs(now_s - self._kept_s) < 60:
            return
        self._kept_s = now_s
        # Within the transaction: who is dismissed meanwhile must not be written again.
        with self._state.change() as connection:
            with self._lock:
                rows = self._rows(now_s)
            connection.execute("DELETE FROM agent_seen")
            connection.put_all("agent_seen", rows)

    def _state_of(self, seen: SeenAgent, now_s: float) -> tuple[str, float]:
        if seen.stopped or seen.is_gone(now_s):
            return GONE, max(0.0, now_s - seen.heard_s)
        silent_s = self._silent_s(seen, now_s)
        if silent_s is None:
            return SILENT if seen.silent else SENDING, max(0.0, now_s - seen.heard_s)
        return SILENT if silent_s > _SILENT_S else SENDING, silent_s

    def _rows(self, now_s: float) -> list[tuple[str, str]]:
        for agent, seen in list(self._agents.items()):
            if now_s - seen.heard_s > _LISTED_S:
                del self._agents[agent]
            for name, at_s in list(seen.services.items()):
                if at_s < seen.window_s - _EXPECTED_S:
                    del seen.services[name]
        return [(agent, msgspec.json.encode(seen).decode()) for agent, seen in self._agents.items()]

    def _has_room(self, now_s: float) -> bool:
        """Return whether a new agent has a place, after one that is gone lost its own for it."""
        if len(self._agents) < _MOST_AGENTS:
            return True
        oldest = min(self._agents, key=lambda agent: self._agents[agent].heard_s)
        if not self._agents[oldest].is_gone(now_s):
            return False
        del self._agents[oldest]
        return True

    def _note(self, received: Received) -> None:
        batch = received.batch
        heard_s = received.received_us / 1e6
        window_s = float(received.window_s + max(batch.step_s, WINDOW_S))
        seen = self._agents.get(batch.agent)
        if seen is None:
            if not self._has_room(heard_s):
                return
            seen = self._agents[batch.agent] = SeenAgent(heard_s, window_s, first_s=heard_s)
        seen.batches += 1
        seen.points += batch.points
        for claim in batch.processes:
            if claim.dropped:
                seen.drop(claim.process.hex(), claim.dropped)
        # A backlog says that the agent is there, and nothing about now.
        seen.heard_s = max(seen.heard_s, heard_s)
        seen.silent = False
        seen.window_s = max(seen.window_s, window_s)
        if window_s < seen.window_s:
            return
        own = [row for row in batch.gauges if not row.service]
        seen.stopped = any(row.name == STOPPING and row.value for row in own)
        seen.host = next((row.instance for row in own if row.name == HOST), seen.host)
        named = set(received.numbered.services)
        named.update((row.environment, row.service) for row in batch.gauges if row.service)
        for environment, service in named:
            name = f"{environment}\0{service}"
            if name in seen.services or len(seen.services) < _MOST_SERVICES:
                seen.services[name] = window_s


def _kept(agent: str, data: str) -> tuple[str, SeenAgent]:
    return agent, msgspec.json.decode(data, type=SeenAgent)


def _add(sums: dict[str, int], more: Mapping[str, int]) -> None:
    for reason, count in more.items():
        known = reason in sums or len(sums) < _MOST_REASONS
        name = reason if known else "other"
        sums[name] = sums.get(name, 0) + count


def _copy(seen: SeenAgent) -> SeenAgent:
    return replace(seen, services=dict(seen.services), dropped=seen.drops(), dropping={})
