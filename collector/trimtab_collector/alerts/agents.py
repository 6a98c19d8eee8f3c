"""Which agents write, and for which services: what is missing when one of them falls silent."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from trimtab_collector.alerts.reading import Signal
from trimtab_collector.statefile import Schema, StateFile
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import Received
from trimtab_core.names import STOPPING

__all__ = ["Agents"]

_SCHEMA: Final = Schema(
    "agents",
    ("CREATE TABLE agent_seen (agent TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID",),
)
_MOST_AGENTS: Final = 20_000
_MOST_SERVICES: Final = 100
#: a service that an agent has not named for so long is not expected of it
_EXPECTED_S: Final = 900
#: an agent that has been silent for so long is no agent
_FORGOTTEN_S: Final = 86_400
#: an agent that has been silent for so long is missed no more: it holds no alert open
_MISSED_S: Final = 3600
_LATE_S: Final = 2 * WINDOW_S


@dataclass(slots=True)
class Seen:
    """What is known of an agent; times by our clock."""

    heard_s: float
    #: end of the newest window that it sent
    window_s: float
    stopped: bool = False
    #: "environment\\0service" -> end of the newest window that named it
    services: dict[str, float] = field(default_factory=dict)


class Agents:
    """The agents of a collector; any thread."""

    def __init__(self, state: StateFile) -> None:
        state.bring(_SCHEMA)
        self._state = state
        self._lock = threading.Lock()
        self._agents: dict[str, Seen] = dict(
            state.decoded("SELECT agent, data FROM agent_seen", (), _kept)
        )
        self._kept_s = 0.0
        #: nobody is called silent for what lies before
        self._excused_s = 0.0

    def excuse(self, now_s: float) -> None:
        """Count silence from now on: until now, nobody could have been heard."""
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
        """Yield how long each agent has been silent, and by how much its clock is off."""
        with self._lock:
            rows = [(agent, seen.heard_s, seen.stopped) for agent, seen in self._agents.items()]
        for agent, heard_s, stopped in rows:
            labels = {"agent": agent}
            since_s = max(heard_s, self._excused_s)
            yield Signal("agentSilence", labels, 0.0 if stopped else max(0.0, now_s - since_s))
            yield Signal("clockSkew", labels, abs(skews.get(agent, 0.0)))

    def keep(self, now_s: float) -> None:
        """Write who was seen, once a minute, and forget those who have been silent for a day."""
        if abs(now_s - self._kept_s) < 60:
            return
        self._kept_s = now_s
        with self._lock:
            for agent, seen in list(self._agents.items()):
                limit_s = _EXPECTED_S * 4 if seen.stopped else _FORGOTTEN_S
                if now_s - seen.heard_s > limit_s:
                    del self._agents[agent]
                for name, at_s in list(seen.services.items()):
                    if at_s < seen.window_s - _EXPECTED_S:
                        del seen.services[name]
            rows = [
                (agent, msgspec.json.encode(seen).decode()) for agent, seen in self._agents.items()
            ]
        with self._state.change() as connection:
            connection.execute("DELETE FROM agent_seen")
            connection.executemany("INSERT INTO agent_seen VALUES (?, ?)", rows)

    def _note(self, received: Received) -> None:
        batch = received.batch
        heard_s = received.received_us / 1e6
        window_s = float(received.window_s + max(batch.step_s, WINDOW_S))
        seen = self._agents.get(batch.agent)
        if seen is None:
            if len(self._agents) >= _MOST_AGENTS:
                return
            seen = self._agents[batch.agent] = Seen(heard_s, window_s)
        # A backlog says that the agent is there, and nothing about now.
        seen.heard_s = max(seen.heard_s, heard_s)
        seen.window_s = max(seen.window_s, window_s)
        if window_s < seen.window_s:
            return
        seen.stopped = any(row.name == STOPPING and row.value for row in batch.gauges)
        named = set(received.numbered.services)
        named.update((row.environment, row.service) for row in batch.gauges if row.service)
        for environment, service in named:
            name = f"{environment}\0{service}"
            if name in seen.services or len(seen.services) < _MOST_SERVICES:
                seen.services[name] = window_s


def _kept(agent: str, data: str) -> tuple[str, Seen]:
    return agent, msgspec.json.decode(data, type=Seen)
