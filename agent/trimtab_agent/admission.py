"""How much each may write to the spool while the collector is away; loop only.

The last eighth of the spool is for those who have less in it than a fair share. Whoever has more
may fill seven eighths: that is beyond where old batches are merged, so what can be merged goes on
to find room. A fair share is one by max-min fairness, among users first, then among the processes
of each (`peers.py`). So no flood pushes out what others have waiting (compare the longest queue
drop of Suter, Lakshman, Stiliadis and Choudhury, IEEE INFOCOM 1998: here the newest gives way).
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from trimtab_agent.peers import Holder
from trimtab_agent.spool import Spool

__all__ = ["Admission", "fair_shares"]

#: Part of the spool from which on it is counted who writes how much.
_FILLING: Final = 16
#: Parts of eight that are shared.
_SHARED: Final = 7
#: Part of the spool that each may write in the length of a window in any case, however much it has
#: there: 16 KiB of 256 MiB.
_LEAST: Final = 2**14


class Admission:
    """Shares the spool; step_s is the length of a window."""

    def __init__(
        self, spool: Spool, step_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spool = spool
        self._step_s = step_s
        self._clock = clock
        self._until_s = 0.0
        #: bytes written since the spool began to fill, older ones for less; and in these seconds
        self._written: Counter[Holder] = Counter()
        self._lately: Counter[Holder] = Counter()

    def look(self) -> bool:
        """Tell whether so much waits that it counts who writes how much; else forget who did."""
        if self._spool.stats.held_bytes >= self._spool.max_bytes // _FILLING:
            return True
        self._written.clear()
        return False

    def limits(self, wanted: Mapping[Holder, int]) -> dict[Holder, int]:
        """Return who may write less than they want to, and how many bytes that is.

        Where in the spool the bytes of each are, nobody knows: each has as much of what waits as of
        what was written.
        """
        self._turn()
        # With what is sent or merged already, and lies in files with what is not.
        used = self._spool.stats.disk_bytes
        written = self._written.total()
        has = Counter({each: used * size // written for each, size in self._written.items()})
        together = has + Counter(wanted)
        budget = self._spool.max_bytes * _SHARED // 8
        if together.total() <= budget:
            return {}
        shares = fair_shares(together, budget)
        least = self._spool.max_bytes // _LEAST
        left = {
            each: max(shares.get(each, 0) - has[each], least - self._lately[each], 0)
            for each in wanted
        }
        return {each: left[each] for each, size in wanted.items() if left[each] < size}

    def _turn(self) -> None:
        if self._clock() >= self._until_s:
            self._until_s = self._clock() + self._step_s
            self._lately.clear()

    def note(self, wanted: Mapping[Holder, int], size: int) -> None:
        """Note that so many bytes were written of what these wanted to write, by their parts."""
        self._turn()
        total = sum(wanted.values()) or 1
        for holder, part in wanted.items():
            self._lately[holder] += part * size // total
            self._written[holder] += part * size // total
        if self._written.total() > 2 * self._spool.max_bytes:
            # What was written long ago is there no more.
            self._written = Counter({each: size // 2 for each, size in self._written.items()})
            self._written += Counter()


def fair_shares(wanted: Mapping[Holder, int], budget: int, level: int = 0) -> dict[Holder, int]:
    """Return what each gets of a budget by max-min fairness, on each level of their paths.

    Whoever wants least is served first and gets all of it, if that is no more than an equal part of
    what is left; O(holders * log(holders)) on each level.
    """
    parts: defaultdict[object, dict[Holder, int]] = defaultdict(dict)
    for holder, size in wanted.items():
        parts[holder[level]][holder] = size
    shares: dict[Holder, int] = {}
    ranked = sorted(parts.values(), key=lambda part: sum(part.values()))
    for index, part in enumerate(ranked):
        equal = budget // (len(ranked) - index)
        total = sum(part.values())
        if total <= equal:
            shares |= part
        elif level + 1 < len(next(iter(part))):
            shares |= fair_shares(part, equal, level + 1)
        else:
            shares |= dict.fromkeys(part, equal)
        budget -= min(total, equal)
    return shares
