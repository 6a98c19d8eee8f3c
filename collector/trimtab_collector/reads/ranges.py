"""A range made concrete: which steps are read, and which seconds of them have arrived.

A range of at most a minute that ends now is answered from 1-second summaries when agents send
them, and tells agents that somebody watches; any other from the stored windows it touches.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, Final

import numpy as np

from trimtab_collector.contract.parameters import APDEX, STEP, Parameters
from trimtab_collector.reads.steps import auto_s, edges_of
from trimtab_collector.reads.watched import Unwatched, UnwatchedRanges
from trimtab_collector.storage.columns import WINDOW_S, Array
from trimtab_collector.storage.store import Selection, Store

__all__ = ["Ranges", "TimeRange"]

_LIVE_RANGE_S: Final = 60
#: live summaries that end longer ago say nothing about now
_LIVE_AGE_S: Final = 5
#: windows are on their way for some seconds after they end
_LATE_S: Final = 3 * WINDOW_S
#: steps of a range for which nothing else is asked
_USUAL_STEPS: Final = 120


@dataclass(frozen=True, slots=True)
class TimeRange:
    """What to read: the steps of a range, and the seconds that its rates are over."""

    selection: Selection
    #: end of what has arrived of the range, epoch seconds
    arrived_s: float
    parameters: Parameters
    #: seconds, or a word of the calendar; 0 for the whole range as one step
    step: int | str = 0
    #: what was not watched of it, which rates are not over
    unwatched: Unwatched | None = field(default=None, compare=False)

    @property
    def threshold_us(self) -> float:
        """T of Apdex."""
        return float(1000 * self.parameters.values.get(APDEX.name, APDEX.default))

    @property
    def from_text(self) -> str:
        """Start of the range as it is read."""
        return self.parameters.shown(self.selection.start_s)

    @property
    def to_text(self) -> str:
        """End of the range as it is read; of what has arrived, when it is one step."""
        one = len(self.selection.edges_s) == 2 and not self.step
        end_s = self.selection.start_s + self._spanned_s if one else self.selection.end_s
        return self.parameters.shown(end_s)

    @property
    def seconds(self) -> float:
        """Seconds of the whole range that rates are over: arrived and watched, at least 1."""
        start_s = self.selection.start_s
        missing_s = (
            self.unwatched.missing_s(start_s, start_s + self._spanned_s) if self.unwatched else 0
        )
        return max(1, self._spanned_s - missing_s)

    @property
    def _spanned_s(self) -> float:
        """Seconds of the whole range that have arrived, at least 1."""
        return max(1, min(self.selection.end_s, self.arrived_s) - self.selection.start_s)

    def seconds_of(self, t: Array) -> Array:
        """Return how many seconds of the steps that start at t arrived and were watched.

        Each is at least 1; of a step that nobody watched at all, it is what arrived.
        """
        if len(self.selection.edges_s) == 2:
            return np.full(len(t), self.seconds)
        edges = np.array(self.selection.edges_s)
        end = edges[np.searchsorted(edges, t, "right")]
        end = np.maximum(t + 1, np.minimum(end, self.arrived_s))
        watched = end - t - (self.unwatched.missing_of(t, end) if self.unwatched else 0)
        seconds: Array = np.where(watched > 0, np.maximum(1, watched), end - t)
        return seconds

    def whole(self) -> "TimeRange":
        """Return the same range as one step."""
        edges_s = (self.selection.start_s, self.selection.end_s)
        return replace(self, selection=replace(self.selection, edges_s=edges_s), step=0)

    def fields(self) -> dict[str, Any]:
        """Return the fields of RangeBody."""
        return {"from_": self.from_text, "to": self.to_text}

    def resolved(self, resolution_s: int) -> dict[str, Any]:
        """Return the fields of ResolvedBody for a read of this resolution."""
        return {**self.fields(), "resolution": resolution_s}


class Ranges:
    """Makes ranges of parameters, from what has arrived in a store; any thread, never waits."""

    def __init__(self, store: Store, looked: Callable[[], None]) -> None:
        """Call looked for each range that live summaries could answer."""
        self._store = store
        self._looked = looked
        self._unwatched = UnwatchedRanges(store)

    def latest(self, parameters: Parameters) -> TimeRange:
        """Return the range as one step, live where summaries answer it."""
        now_s = parameters.now_s
        short = parameters.to_s - parameters.from_s <= _LIVE_RANGE_S
        if short and parameters.to_s >= now_s - 1:
            self._looked()
            live = self._live(parameters, int(now_s))
            if live is not None:
                selection = Selection(live, where=parameters.where, live=True)
                return TimeRange(selection, live[1], parameters)
        return self.stored(parameters)

    def stored(
        self, parameters: Parameters, from_s: float | None = None, to_s: float | None = None
    ) -> TimeRange:
        """Return the range, or another one, as one step of stored windows."""
        from_s = parameters.from_s if from_s is None else from_s
        to_s = parameters.to_s if to_s is None else to_s
        start_s = int(from_s) - int(from_s) % WINDOW_S
        end_s = ceil(to_s / WINDOW_S) * WINDOW_S
        return self._range(parameters, (start_s, end_s))

    def stepped(self, parameters: Parameters, most: int, default_s: int = 0) -> TimeRange:
        """Return the range in steps as `step` asks, else of the default; 0 chooses their width.

        Raises TooMuchError for more steps than `most`.
        """
        step = parameters[STEP]
        if step is None:
            step = default_s or auto_s(parameters.to_s - parameters.from_s, _USUAL_STEPS)
        edges_s = edges_of(parameters.from_s, parameters.to_s, step, parameters.tz, most)
        return replace(self._range(parameters, edges_s), step=step)

    def _range(self, parameters: Parameters, edges_s: tuple[int, ...]) -> TimeRange:
        selection = Selection(edges_s, where=parameters.where)
        arrived_s = self._arrived(edges_s[0], edges_s[-1], parameters.now_s)
        unwatched = self._unwatched.of(parameters.where, edges_s[0], edges_s[-1])
        return TimeRange(selection, arrived_s, parameters, unwatched=unwatched)

    def _arrived(self, start_s: int, end_s: int, now_s: float) -> float:
        """Return the end of what has arrived of a range."""
        if end_s <= now_s - _LATE_S:
            return end_s
        # The last windows are still on their way: rates are over what has arrived.
        run = self._store.arrived(start_s, end_s, end_s - start_s)
        arrived_s = run[1] if run else 0
        if arrived_s < now_s - _LATE_S:
            arrived_s = int(min(end_s, now_s))
        return min(arrived_s, now_s)

    def _live(self, parameters: Parameters, now_s: int) -> tuple[int, int] | None:
        """Return the seconds that live summaries cover, None when they do not answer the range."""
        start_s = int(parameters.from_s)
        run = self._store.arrived(start_s, now_s + 1, 3, live=True)
        if run is None or run[1] <= now_s - _LIVE_AGE_S:
            return None
        if run[0] > start_s + 2 and parameters.to_s - parameters.from_s > 15:
            return None
        return run
