"""Whose requests have stopped, seen within half a minute: figures of five minutes fall slowly.

The last five minutes are looked at in steps of half a minute. A service without requests in the
last step has halted; whether that is news is judged by what is usual, or, for one that is too new
for that, by how many requests should have come at the rate before.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.overview.spans import EARLIER, Spans, stepped
from trimtab_collector.overview.usual import (
    RATE_KIND,
    WORSE,
    Baseline,
    BesideUsual,
    judged,
)
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.columns import WINDOW_S

__all__ = ["Halt", "Streams"]

_LOOK_S: Final = 300
_STEP_S: Final = 30
#: busy steps in a row without which a new service had no steady requests
_STEADY: Final = 4
#: requests that should have come, without which none says nothing
_EXPECTED: Final = 50


class Halt(NamedTuple):
    """A service whose last requests are half a minute old or older."""

    #: end of the last window with requests, epoch seconds
    since_s: int
    #: for how long there were surely none
    quiet_s: int
    #: requests per second of the steps before
    rate: float
    #: steps with requests in a row before
    busy: int

    def judged(self, baselines: Sequence[Baseline]) -> BesideUsual | None:
        """Return how unusual it is that no requests come; None where that says nothing."""
        found = judged(RATE_KIND, 0.0, self.quiet_s, baselines)
        if found is not None:
            return found if found.judgement == WORSE else None
        if self.busy < _STEADY or self.rate * self.quiet_s < _EXPECTED:
            return None
        return BesideUsual(self.rate, EARLIER, WORSE, 2.0)


class Streams:
    """The requests of the last minutes, step by step; raises TooMuchError."""

    def __init__(self, reader: StoreReader, parameters: Parameters, spans: Spans) -> None:
        self._reader = reader
        self._parameters = parameters
        self._start_s = max(0, spans.end_s - _LOOK_S)
        self._end_s = spans.end_s
        self._counts = self._read(_STEP_S) if spans.is_now else {}
        #: owner -> when its requests stopped; those that have none in all of the five minutes lack
        self.halts: Mapping[tuple[str, ...], Halt] = self._halts()

    def recent(self, began_s: int = 0) -> tuple[float, int]:
        """Return the requests per second of all in the last minute, and when that began.

        It is shorter where the first of them began within it.
        """
        start_s = max(self._start_s, self._end_s - 2 * _STEP_S)
        count = sum(each for t, each in self._counts.get((), {}).items() if t >= start_s)
        start_s = max(start_s, began_s)
        return count / max(1, self._end_s - start_s), start_s

    def _read(self, step_s: int) -> dict[tuple[str, ...], dict[int, int]]:
        """Return owner -> start of a step -> requests, those of all together too."""
        steps = stepped(
            self._reader.ranges, self._parameters, self._start_s, self._end_s, step_s
        )  # fmt: skip
        rows = self._reader.rows(steps, ("environment", "service"))
        found: dict[tuple[str, ...], dict[int, int]] = {}
        columns = (rows.group.tolist(), rows.t.tolist(), rows.columns.value("requests").tolist())
        for group, t, count in zip(*columns, strict=True):
            if count:
                for owner in (rows.groups[group], ()):
                    counts = found.setdefault(owner, {})
                    counts[t] = counts.get(t, 0) + int(count)
        return found

    def _halts(self) -> dict[tuple[str, ...], Halt]:
        last_s = self._end_s - _STEP_S
        halted = [owner for owner, counts in self._counts.items() if max(counts) < last_s]
        windows = self._read(WINDOW_S) if halted else {}
        return {owner: self._halt(self._counts[owner], windows[owner]) for owner in halted}

    def _halt(self, counts: Mapping[int, int], windows: Mapping[int, int]) -> Halt:
        since_s = max(windows) + WINDOW_S
        busy, t = 0, max(counts)
        while t in counts:
            busy, t = busy + 1, t - _STEP_S
        rate = sum(counts.values()) / max(_STEP_S, since_s - min(counts))
        # Agents send their windows at slightly different times: the last one may be on its way.
        return Halt(since_s, self._end_s - since_s - WINDOW_S, rate, busy)
