"""The time by which it is judged what is too old, before anything is deleted for its age.

A wall clock may be wrong for a minute, and what was deleted in it stays deleted. So a jump ahead is
believed for ages only after a day in which it stayed: until then time goes on from where it was, as
a clock tells that only passes. A jump back is believed at once: it deletes nothing.

A start goes on from what was believed last, and a doubt lasts on where the clock is about where it
was: what is stored meanwhile has the time of a clock in doubt, and vouches for nothing. Where no
time is stored yet, time goes on from the newest data that is not of the future.
"""

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
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
#: facts of the store: what was believed last, what the wall clock was then, and for how many
#: seconds it had been in doubt, 0 if it was not
_AGE: Final = "age_s"
_WALL: Final = "age_wall_s"
_DOUBTED: Final = "age_doubted_s"


def steady_s() -> float:
    """Return seconds of a clock that only passes, also while the machine sleeps where it can."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


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
        self._time_s = now_s if believed_s is None else min(now_s, believed_s)
        self._at_s = steady() if steady else 0.0
        #: steady and wall clock when the jump began that is not believed yet
        self._jump: tuple[float, float] | None = None
        doubted_s = facts.get(_DOUBTED, 0)
        if doubted_s > 0 and self._time_s + _STEP_S < now_s <= facts.get(_WALL, 0) + _STEP_S:
            # The clock is about where it was, and still in doubt.
            self._jump = (self._at_s - doubted_s, now_s - doubted_s)

    def facts(self) -> dict[str, int]:
        """Return what the next run has to know; empty where the clock is always believed."""
        if self._steady is None:
            return {}
        believed_s, now_s = self(), self._clock()
        with self._lock:
            doubted_s = self._steady() - self._jump[0] if self._jump is not None else 0.0
        return {_AGE: int(believed_s), _WALL: int(now_s), _DOUBTED: math.ceil(doubted_s)}

    def __call__(self) -> float:
        """Return the time; quick."""
        now_s = self._clock()
        if self._steady is None:
            return now_s
        with self._lock:
            steady_s = self._steady()
            expected_s = self._time_s + steady_s - self._at_s
            if now_s > expected_s + _STEP_S:
                since_s, told_s = self._jump or (0.0, 0.0)
                if self._jump is None or now_s > told_s + steady_s - since_s + _STEP_S:
                    # The first, or one more on top of it.
                    since_s = steady_s
                    self._jump = (steady_s, now_s)
                    logger.warning(
                        "the clock is %.1f hours ahead of the data: nothing is deleted for its age "
                        "until it has stayed so for %d hours; if it is wrong, set it",
                        (now_s - expected_s) / 3600,
                        _BELIEVED_S // 3600,
                    )
                if steady_s - since_s < _BELIEVED_S:
                    return expected_s
            self._time_s, self._at_s, self._jump = now_s, steady_s, None
            return now_s


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
