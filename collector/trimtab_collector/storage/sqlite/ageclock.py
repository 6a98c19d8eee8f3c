"""The time by which it is judged what is too old, before anything is deleted for its age.

A wall clock may be wrong for a minute, and what was deleted in it stays deleted. So a jump ahead is
believed for ages only after a day in which it stayed: until then time goes on from where it was, as
a clock tells that only passes. Each jump has a day of its own, in which only the time counts while
a collector ran. A jump back is believed at once: it deletes nothing.

A start goes on from what was believed and doubted last: what is stored meanwhile has the time of a
clock in doubt, and vouches for nothing. Where nothing of that is stored yet, time goes on from the
newest data that is not of the future.
"""

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.sqlite.tiers import FINE, Tier

__all__ = ["AgeClock", "newest_data_s", "steady_s"]

logger = logging.getLogger("trimtab.compaction")

#: a step ahead of so many seconds is none: clocks are set, and machines sleep
_STEP_S: Final = 3600
#: seconds after which a jump is believed
_BELIEVED_S: Final = 86_400
#: Jumps in doubt at a time; of more, the newest two are one that began with the later of them.
_MOST_JUMPS: Final = 4
#: Facts of the store: what was believed last, and of each jump how far it led ahead and for how
#: long it had been in doubt, in seconds.
_AGE: Final = "age_s"
_AHEAD: Final = "age_ahead_{}_s"
_DOUBTED: Final = "age_doubted_{}_s"


def steady_s() -> float:
    """Return seconds of a clock that only passes, also while the machine sleeps where it can."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(slots=True)
class _Jump:
    """How many seconds a clock has jumped ahead, and for how many of running that is in doubt."""

    ahead_s: float
    doubted_s: float = 0.0


class AgeClock:
    """Epoch seconds for ages; any thread."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        newest_s: int | None = None,
        facts: Mapping[str, int] | None = None,
    ) -> None:
        """Without steady, which only passes, the clock is always believed.

        newest_s is the end of the newest data, if there is any; it counts where there are no facts
        of an earlier run (`facts`).
        """
        self._clock = clock
        self._steady = steady
        self._lock = threading.Lock()
        now_s, facts = clock(), facts or {}
        believed_s = facts.get(_AGE, newest_s)
        self._believed_s = now_s if believed_s is None else min(now_s, believed_s)
        self._at_s = steady() if steady else 0.0
        #: those that are not believed yet, the oldest first
        self._jumps = [
            _Jump(ahead_s, facts.get(_DOUBTED.format(place), 0))
            for place in range(_MOST_JUMPS)
            if (ahead_s := facts.get(_AHEAD.format(place), 0)) > 0
        ]
        if steady is not None:
            self()

    def __call__(self) -> float:
        """Return the time; quick."""
        if self._steady is None:
            return self._clock()
        with self._lock:
            # The wall clock first: one that is set between the two readings has not jumped.
            now_s, steady_s = self._clock(), self._steady()
            self._pass(steady_s - self._at_s)
            self._at_s = steady_s
            self._see(now_s)
            return self._believed_s

    def facts(self) -> dict[str, int]:
        """Return what the next run has to know; empty where the clock is always believed."""
        if self._steady is None:
            return {}
        believed_s = self()
        with self._lock:
            jumps = [*self._jumps, *[_Jump(0)] * _MOST_JUMPS][:_MOST_JUMPS]
        facts = {_AGE: int(believed_s)}
        for place, jump in enumerate(jumps):
            facts[_AHEAD.format(place)] = math.ceil(jump.ahead_s)
            facts[_DOUBTED.format(place)] = int(jump.doubted_s)
        return facts

    def _pass(self, seconds: float) -> None:
        """Let time pass: what was in doubt for long enough is believed."""
        self._believed_s += seconds
        for jump in self._jumps:
            jump.doubted_s += seconds
        while self._jumps and self._jumps[0].doubted_s >= _BELIEVED_S:
            self._believed_s += self._jumps.pop(0).ahead_s

    def _see(self, now_s: float) -> None:
        """Take what the wall clock says."""
        ahead_s = now_s - self._believed_s - sum(jump.ahead_s for jump in self._jumps)
        if ahead_s > _STEP_S:
            self._jumps.append(_Jump(ahead_s))
            if len(self._jumps) > _MOST_JUMPS:
                self._jumps[-2:] = [_Jump(ahead_s + self._jumps[-2].ahead_s)]
            logger.warning(
                "the clock is %.1f hours ahead of the data: nothing is deleted for its age "
                "until it has stayed so for %d hours; if it is wrong, set it",
                (now_s - self._believed_s) / 3600,
                _BELIEVED_S // 3600,
            )
            return
        while ahead_s < 0 and self._jumps:
            # Put back: the latest jump first.
            jump = self._jumps[-1]
            taken_s = min(-ahead_s, jump.ahead_s)
            jump.ahead_s -= taken_s
            ahead_s += taken_s
            if jump.ahead_s <= _STEP_S:
                # So little is no jump.
                ahead_s += self._jumps.pop().ahead_s
        self._believed_s += ahead_s


def newest_data_s(
    connection: sqlite3.Connection, files: Iterable[tuple[Tier, int, Path]], now_s: float
) -> int | None:
    """Return the end of the newest window of the journal, else of the newest file; None without.

    What lies in the future has the time of a clock that was wrong, and does not count.
    """
    query = "SELECT max(t0) FROM journal WHERE t0 <= ?"
    (newest_s,) = connection.execute(query, (int(now_s),)).fetchone()
    if newest_s is not None:
        return int(newest_s) + WINDOW_S
    ends = (
        tier.span(start_s)[1] for tier, start_s, _ in files if tier is FINE and start_s <= now_s
    )
    return max((min(end_s, int(now_s)) for end_s in ends), default=None)
