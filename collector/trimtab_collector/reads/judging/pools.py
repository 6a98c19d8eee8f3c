"""Pools of connections as their measures show them, each over its processes."""

from dataclasses import dataclass, field
from typing import Final

from trimtab_collector.contract.analysis import Place
from trimtab_collector.contract.calls import Calls
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.measures import attribute, calls_of
from trimtab_collector.storage.store import MeasurePart

__all__ = ["ConnectionPool", "pools_of"]

_NAME: Final = "db.client.connection.pool.name"
_STATE: Final = "db.client.connection.state"
_WAIT: Final = "db.client.connection.wait_time"
_COUNT: Final = "db.client.connection.count"
_MAX: Final = "db.client.connection.max"
_SETTINGS: Final = "trimtab.db.pool."


@dataclass(slots=True)
class ConnectionPool:
    """The pools of one name of a service: each process has one; None was not measured."""

    where: Place
    waits: list[MeasurePart] = field(default_factory=list)
    timeouts: int = 0
    #: mean over the range of the process that used most of its pool, and of how many
    used: float | None = None
    most: float | None = None
    #: largest use of the room beyond the size
    overflow: float | None = None
    #: size, max_overflow, timeout and recycle in s (-1 for never), pre_ping 0 or 1; of the
    #: process that has the least
    settings: dict[str, float] = field(default_factory=dict)
    #: process -> mean in use, and most
    _used: dict[str, float] = field(default_factory=dict)
    _most: dict[str, float] = field(default_factory=dict)

    @property
    def use(self) -> float | None:
        """Share in use."""
        return self.used / self.most if self.used is not None and self.most else None

    @property
    def in_all(self) -> float:
        """Connections that all processes may open together."""
        return sum(self._most.values())

    @property
    def processes(self) -> int:
        """Processes whose pools have a bound."""
        return len(self._most)

    def slowest(self, seconds: float) -> list[tuple[Calls, Place]]:
        """Return how long each process waited for connections, the longest first."""
        found = [
            (
                calls_of([part], seconds),
                Place(
                    environment=part.environment,
                    service=part.service,
                    instance=part.instance,
                    target=self.where.target,
                ),
            )
            for part in self.waits
        ]
        return sorted(found, key=lambda each: -(each[0].p90 or 0.0))

    def take(self, part: MeasurePart) -> None:
        """Add a measure of this pool."""
        name, delta = part.key.name, part.delta
        mean = delta.sum / delta.count
        if name == _WAIT:
            self.waits.append(part)
        elif name == "db.client.connection.timeouts":
            self.timeouts += int(delta.sum)
        elif name == _COUNT and attribute(part, _STATE) == "used":
            self._used[part.instance] = mean
        elif name == _MAX:
            self._most[part.instance] = delta.last
        elif name == "trimtab.db.connection.overflow":
            self.overflow = max(self.overflow or 0.0, delta.max)
        elif name.startswith(_SETTINGS):
            setting = name.removeprefix(_SETTINGS)
            self.settings[setting] = min(delta.last, self.settings.get(setting, delta.last))

    def settle(self) -> None:
        """Find the process that uses most of its pool."""
        shares = {
            instance: self._used[instance] / most
            for instance, most in self._most.items()
            if most and instance in self._used
        }
        if shares:
            worst = max(shares, key=lambda instance: shares[instance])
            self.used, self.most = self._used[worst], self._most[worst]


def pools_of(facts: Facts) -> list[ConnectionPool]:
    """Return the pools of each service by name."""
    found: dict[tuple[str, str, str], ConnectionPool] = {}
    for part in facts.measures:
        name = attribute(part, _NAME)
        if not name or not part.service:
            continue
        owner = (part.environment, part.service, name)
        pool = found.get(owner)
        if pool is None:
            where = Place(environment=part.environment, service=part.service, target=name)
            pool = found[owner] = ConnectionPool(where)
        pool.take(part)
    for pool in found.values():
        pool.settle()
    return [pool for _, pool in sorted(found.items())]
