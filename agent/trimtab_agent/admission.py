"""How much each may write to the spool while the collector is away; loop only.

While a lot waits, what is written in the length of one window has a budget, which is a part of the
room that is left. A flood so gets ever less of that room, and never all of it: dynamic thresholds
(Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998, without their bound for each
queue). The budget is shared by max-min fairness, among users first, then among the processes of
each (`peers.py`): whoever wants no more than his share gets all he wants.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from trimtab_agent.peers import Holder
from trimtab_agent.spool import Spool

__all__ = ["Admission", "fair_shares"]

#: Part of the spool from which on the budget holds: what waits less does is not pushed out.
_FILLING: Final = 16
#: Part of the room that may be written in the length of a window: a flood takes 63 % of what is
#: free in 32 windows, and 95 % in 96. Near three quarters, where old batches are merged, it is
#: still 2 MiB of the 256 that a spool has: more than a host with 10,000 series writes.
_BUDGET: Final = 32
#: Part of the whole spool that each may have in any case, however little is free: 16 KiB of 256
#: MiB. There the oldest batches make room for what is new, and nobody takes more of it than that.
_LEAST: Final = 2**14


class Admission:
    """Shares what may be written in each step_s seconds."""

    def __init__(
        self, spool: Spool, step_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spool = spool
        self._step_s = step_s
        self._clock = clock
        self._until_s = 0.0
        #: bytes written in these seconds
        self._written: Counter[Holder] = Counter()

    @property
    def is_filling(self) -> bool:
        """Tell whether so much waits that what is written has a budget."""
        return self._spool.stats.held_bytes >= self._spool.max_bytes // _FILLING

    def limits(self, wanted: Mapping[Holder, int]) -> dict[Holder, int]:
        """Return who may write less than they want to, and how many bytes that is.

        What the others want counts as written, what these do is to be told by `note`.
        """
        if self._clock() >= self._until_s:
            self._until_s = self._clock() + self._step_s
            self._written.clear()
        together = self._written + Counter(wanted)
        budget = self._spool.room_bytes // _BUDGET
        limits: dict[Holder, int] = {}
        if together.total() > budget:
            shares = fair_shares(together, budget)
            least = self._spool.max_bytes // _LEAST
            for holder, size in wanted.items():
                left = max(shares[holder], least) - self._written[holder]
                if left < size:
                    limits[holder] = max(0, left)
        for holder, size in wanted.items():
            if holder not in limits:
                self._written[holder] += size
        return limits

    def note(self, holder: Holder, size: int) -> None:
        """Note that one who has a limit has written so many bytes."""
        self._written[holder] += size


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
