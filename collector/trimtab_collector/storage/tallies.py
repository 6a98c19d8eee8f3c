"""Counts by reason, key and agent, bounded: what was over a quota, what was refused.

So the one that offends shows, and does not hide others. A key has a bounded number of rows, in
which its further agents share one without a name.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["SenderTally", "TallyRow"]

#: rows of a tally, and of one key in it; the row that grew the longest time ago gives way
_MOST: Final = 2_000
_MOST_OF_KEY: Final = 100


class TallyRow(NamedTuple):
    """How often one reason was counted of an agent of a key since the start."""

    reason: str
    #: id of the key, empty where it was none of ours
    key: str
    #: empty where it is not known, or for agents without a row of their own
    agent: str
    number: int
    #: the last time, epoch seconds, and the text of it
    last_s: float
    text: str


class SenderTally:
    """One such table; any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str, str], TallyRow] = {}
        self._of_key: dict[str, int] = {}
        #: reason -> all that was ever counted
        self.totals: dict[str, int] = {}
        #: id of a key -> the same of it
        self.of_keys: dict[str, int] = {}

    def note(self, reason: str, key: str, agent: str, number: int = 1, text: str = "") -> None:
        """Count something."""
        now_s = self._clock()
        with self._lock:
            self.totals[reason] = self.totals.get(reason, 0) + number
            self.of_keys[key] = self.of_keys.get(key, 0) + number
            whose = (reason, key, agent)
            known = self._rows.pop(whose, None)
            if known is None and self._of_key.get(key, 0) >= _MOST_OF_KEY:
                whose = (reason, key, "")
                known = self._rows.pop(whose, None)
            if known is None:
                self._make_room(key)
            before = known.number if known is not None else 0
            self._rows[whose] = TallyRow(*whose, before + number, now_s, text)

    def _make_room(self, key: str) -> None:
        if len(self._rows) >= _MOST:
            _, gone, _ = oldest = next(iter(self._rows))
            del self._rows[oldest]
            self._of_key[gone] -= 1
            if not self._of_key[gone]:
                del self._of_key[gone]
        self._of_key[key] = self._of_key.get(key, 0) + 1

    def rows(self) -> list[TallyRow]:
        """Return the rows, the one that grew last first."""
        with self._lock:
            return list(self._rows.values())[::-1]
