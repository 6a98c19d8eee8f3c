"""How many new names each app may bring: services, instances, series and measures.

The collector bounds the names that a key has in use, and knows nothing of who on a host brings
them. So the agent shares them among its apps by what none can choose (`peers.py`): by user, then by
process. The bound of each is a multiple of what is free (dynamic thresholds, as at the collector):
a user may use as many names as are free, a process a fixed part of that. Alone, a user ends at half
of all, and all together stay below what one key may have at the collector.

A name that was used within half an hour to an hour costs nothing, whoever uses it: an app that
starts again under its names is free. Names are kept as hashes, about 120 bytes each.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final

from trimtab_agent.app import App
from trimtab_agent.peers import Sharer

__all__ = ["AgentNames", "NamesInUse"]

#: as at the collector: names that nobody has used for one or two turns are free again
_TURN_S: Final = 1800.0
#: all places, and the part of what is free that one process may use
_SERVICES: Final = (2_000, 32)
_INSTANCES: Final = (8_000, 32)
_SERIES: Final = (100_000, 4)
_MEASURES: Final = (100_000, 4)
#: measures named `other`, for those over their bound
_OTHERS: Final = (20_000, 4)
#: of gauges, each of an instance
_GAUGES: Final = (100_000, 8)

_Process = tuple[tuple[str, bool], tuple[int, str, str]] | None


class NamesInUse:
    """Names of one kind and who brought each. Loop only.

    While a place is free, a hundredth of the places is for anybody.
    """

    def __init__(self, limit: int, part: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._part = part
        self._few = max(1, limit // 100)
        self._clock = clock
        self._turned_s = clock()
        #: times that somebody might bring no more
        self.refused = 0
        #: hash of a name -> user and process that brought it; since the last turn, and before
        self._current: dict[int, tuple[str, _Process]] = {}
        self._before: dict[int, tuple[str, _Process]] = {}
        #: each of these once
        self._payers: dict[tuple[str, _Process], tuple[str, _Process]] = {}
        self._users: Counter[str] = Counter()
        self._processes: Counter[_Process] = Counter()

    def take(self, name: Hashable, owner: Sharer) -> bool:
        """Use a name; False where it is new and its owner may bring no more."""
        if self._clock() - self._turned_s >= _TURN_S:
            self._turn()
        mark = hash(name)
        if mark in self._current:
            return True
        payer = self._before.pop(mark, None)
        if payer is None:
            # Of a peer whose process nobody knows, only the user counts: it may say to be any.
            process = owner[:2] if owner.process[0] else None
            payer = (owner.group[0], process)
            if not self._has_room(*payer):
                self.refused += 1
                return False
            payer = self._payers.setdefault(payer, payer)
            self._users[payer[0]] += 1
            if process is not None:
                self._processes[process] += 1
        self._current[mark] = payer
        return True

    def _has_room(self, user: str, process: _Process) -> bool:
        free = self._limit - len(self._current) - len(self._before)
        return (
            free > 0
            and self._users[user] < max(free, self._few)
            and (process is None or self._processes[process] < max(free // self._part, self._few))
        )

    def _turn(self) -> None:
        self._turned_s = self._clock()
        for user, process in self._before.values():
            self._users[user] -= 1
            self._processes[process] -= process is not None
        self._users, self._processes = +self._users, +self._processes
        self._before, self._current = self._current, {}
        self._payers.clear()


class AgentNames:
    """All that apps name, kind by kind. Loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = NamesInUse(*_SERVICES, clock)
        self._instances = NamesInUse(*_INSTANCES, clock)
        self.series = NamesInUse(*_SERIES, clock)
        self.measures = NamesInUse(*_MEASURES, clock)
        self.others = NamesInUse(*_OTHERS, clock)
        self.gauges = NamesInUse(*_GAUGES, clock)

    def refusal(self, app: App) -> tuple[str, str] | None:
        """Return why an app may not begin, as a reason to count and a sentence; None if it may."""
        owner = app.owner
        for kind, names, name in (
            ("services", self._services, owner.service),
            ("instances", self._instances, (owner.service, app.instance)),
        ):
            if not names.take(name, owner):
                process, user = owner.process[0] or "unknown", owner.group[0]
                sentence = (
                    f"process {process} of user {user} names too many {kind}: those that nobody "
                    "uses are free again within an hour"
                )
                return "names", sentence
        return None
