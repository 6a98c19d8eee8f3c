"""A range made concrete: which steps are read, and which seconds of them have arrived.

A range of at most a minute that ends now is answered from 1-second summaries when agents send
them, and tells agents that somebody watches; any other from the stored windows it touches.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import numpy as np

from trimtab_collector.contract.params import Params, bad, whole
from trimtab_collector.reads.apdex import THRESHOLD_MS
from trimtab_collector.reads.steps import LONGEST_S, WORDS, auto_s, edges_of, read_step
from trimtab_collector.storage.columns import WINDOW_S, Array
from trimtab_collector.storage.store import Selection, Store
from trimtab_collector.watch import Watch

__all__ = ["Ranges", "View"]

_LIVE_RANGE_S: Final = 60
#: live summaries that end longer ago say nothing about now
_LIVE_AGE_S: Final = 5
#: windows are on their way for some seconds after they end
_LATE_S: Final = 3 * WINDOW_S
#: steps where nothing else is asked for
_USUAL_STEPS: Final = 120


@dataclass(frozen=True, slots=True)
class View:
    """What to read: steps of a range, and the seconds that rates are over."""

    selection: Selection
    #: end of what has arrived of the range, epoch seconds
    arrived_s: float
    params: Params
    #: seconds, or a word of the calendar
    step: int | str = 0

    @property
    def threshold_us(self) -> float:
        """T of Apdex; raises ApiError 422 for what is no threshold."""
        return 1000 * whole(self.params, "apdex", 1, 3_600_000, THRESHOLD_MS)

    @property
    def from_text(self) -> str:
        """Start of the range as it is read."""
        return self.params.shown(self.selection.start_s)

    @property
    def to_text(self) -> str:
        """End of the range as it is read; of what has arrived, when it is one step."""
        one = len(self.selection.edges_s) == 2 and not self.step
        end_s = self.selection.start_s + self.seconds if one else self.selection.end_s
        return self.params.shown(end_s)

    @property
    def seconds(self) -> float:
        """Seconds of the whole range that have arrived, at least 1."""
        return max(1, min(self.selection.end_s, self.arrived_s) - self.selection.start_s)

    def seconds_of(self, t: Array) -> Array:
        """Return how many seconds have arrived of the steps that start at t, each at least 1."""
        edges = np.array(self.selection.edges_s)
        end = edges[np.searchsorted(edges, t, "right")]
        seconds: Array = np.maximum(1, np.minimum(end, self.arrived_s) - t)
        return seconds

    def whole(self) -> "View":
        """Return the same range as one step."""
        edges_s = (self.selection.start_s, self.selection.end_s)
        return replace(self, selection=replace(self.selection, edges_s=edges_s), step=0)


class Ranges:
    """Makes views of parameters; loop only, never waits."""

    def __init__(self, store: Store, watch: Watch) -> None:
        self._store = store
        self._watch = watch

    def one(self, params: Params) -> View:
        """Return the range as one step, live where that answers it."""
        now_s = params.now_s
        if params.to_s >= now_s - 1 and params.to_s - params.from_s <= _LIVE_RANGE_S:
            self._watch.mark()
            live = self._live(params, int(now_s))
            if live is not None:
                selection = Selection(live, where=params.where, live=True)
                return View(selection, live[1], params)
        return self.stored(params, params.from_s, params.to_s)

    def stored(self, params: Params, from_s: float, to_s: float) -> View:
        """Return a range as one step of stored windows."""
        start_s = int(from_s) - int(from_s) % WINDOW_S
        end_s = ceil(to_s / WINDOW_S) * WINDOW_S
        return self._view(params, (start_s, end_s))

    def stepped(self, params: Params, default: int | str, most: int) -> View:
        """Return the range in steps as `step` asks, else in steps as given; 0 chooses them.

        Raises ApiError 422 for what is no step, TooMuchError for more than `most`.
        """
        step: int | str | None = default or auto_s(params.to_s - params.from_s, _USUAL_STEPS)
        text = params.own.get("step")
        if text is not None:
            step = read_step(text)
        if step is None:
            raise bad(
                "step",
                f"a multiple of {WINDOW_S} seconds up to {LONGEST_S}, or {', '.join(WORDS)}",
                text or "",
            )
        edges_s = edges_of(params.from_s, params.to_s, step, params.tz, most)
        return replace(self._view(params, edges_s), step=step)

    def _view(self, params: Params, edges_s: tuple[int, ...]) -> View:
        selection = Selection(edges_s, where=params.where)
        arrived_s = self._arrived(edges_s[0], edges_s[-1], params.now_s)
        return View(selection, arrived_s, params)

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

    def _live(self, params: Params, now_s: int) -> tuple[int, int] | None:
        """Return the seconds that live summaries cover, None when they do not answer the range."""
        start_s = int(params.from_s)
        run = self._store.arrived(start_s, now_s + 1, 3, live=True)
        if run is None or run[1] <= now_s - _LIVE_AGE_S:
            return None
        if run[0] > start_s + 2 and params.to_s - params.from_s > 15:
            return None
        return run
