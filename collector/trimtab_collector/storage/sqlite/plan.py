"""Which tier answers which part of a range.

A read takes the widest windows that no edge of a step cuts, and narrower ones only around the
edges. Where a finer tier is no longer kept, the next wider one answers, and each of its windows
counts in the step in which it starts. Batches that are not merged yet are read separately, in
windows of 10 seconds.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.sqlite.tiers import COARSE, FINE, MEDIUM, SUMMED, Tier

__all__ = ["ROLLED", "SINGLE", "TierRun", "clear_of", "plan"]

#: tiers to read from, widest first: of single series, and of roll-ups
SINGLE: Final = (COARSE, MEDIUM, FINE)
ROLLED: Final = (COARSE, SUMMED, MEDIUM, FINE)


class TierRun(NamedTuple):
    """Windows of one tier that start in [start_s, end_s)."""

    tier: Tier
    start_s: int
    end_s: int

    def within(self, start_s: int, end_s: int) -> "TierRun":
        """Return the part of it between two times."""
        return TierRun(self.tier, max(self.start_s, start_s), min(self.end_s, end_s))

    def edges(self, edges_s: Sequence[int]) -> tuple[int, ...]:
        """Return its own edges and those within it."""
        low, high = bisect_right(edges_s, self.start_s), bisect_left(edges_s, self.end_s)
        return (self.start_s, *edges_s[low:high], self.end_s)


def plan(
    edges_s: Sequence[int],
    end_s: int,
    floors: Mapping[str, int],
    tiers: Sequence[Tier] = SINGLE,
) -> tuple[list[TierRun], int]:
    """Return what to read for the steps between ascending edges, up to end_s.

    tiers is SINGLE or ROLLED. floors has the time from which on each tier holds everything. The
    runs are disjoint and cover every part of the range that any tier holds. The second value is
    the width of the widest window that an edge cuts, 10 if there is none: steps are that exact.
    """
    # A window of 10 s counts in the step in which it starts: an edge within it moves to its end.
    edges = np.unique(-(-np.array([*edges_s, end_s]) // FINE.width_s) * FINE.width_s)
    edges = edges[edges <= -(-end_s // FINE.width_s) * FINE.width_s]
    runs: list[TierRun] = []
    if len(edges) > 1:
        _fill(runs, edges, int(edges[0]), int(edges[-1]), floors, tiers)
    widest = FINE.width_s
    for run in runs:
        within = edges[(edges >= run.start_s) & (edges <= run.end_s)]
        if (within % run.tier.width_s != 0).any():
            widest = max(widest, run.tier.width_s)
    return sorted(runs, key=lambda run: run.start_s), widest


def clear_of(floor_s: int, floors: Mapping[str, int], tiers: Sequence[Tier] = SINGLE) -> int:
    """Return the time from which on memory answers, if it holds all windows from floor_s on.

    Where the finest tier is no longer kept, this is the end of the wider window in which floor_s
    lies: that window answers as a whole, and may hold points that memory has, too.
    """
    for tier, finer in pairwise(tiers):
        if floors[finer.name] > floor_s:
            return -(-floor_s // tier.width_s) * tier.width_s
    return floor_s


def _fill(
    runs: list[TierRun],
    edges: Array,
    start_s: int,
    end_s: int,
    floors: Mapping[str, int],
    tiers: Sequence[Tier],
) -> None:
    """Add the runs that cover [start_s, end_s); tiers are the widest first."""
    tier, *finer = tiers
    width_s = tier.width_s
    if not finer:
        _add(runs, tier, start_s, end_s)
        return
    # What the finer tier no longer holds must come from this one, even where an edge cuts it.
    forced_s = min(max(floors[finer[0].name], start_s), end_s)
    if forced_s > start_s:
        forced_s = min(end_s, -(-forced_s // width_s) * width_s)
        _add(runs, tier, start_s, forced_s)
        start_s = forced_s
    within = edges[(edges >= start_s) & (edges <= end_s)]
    cut = np.unique(within[within % width_s != 0] // width_s) * width_s
    for cell in cut.tolist():
        begin, end = max(start_s, cell), min(end_s, cell + width_s)
        if begin > start_s:
            _add(runs, tier, start_s, begin)
        if end > begin:
            _fill(runs, edges, begin, end, floors, finer)
        start_s = max(start_s, end)
    if end_s > start_s:
        _add(runs, tier, start_s, end_s)


def _add(runs: list[TierRun], tier: Tier, start_s: int, end_s: int) -> None:
    last = runs[-1] if runs else None
    if last is not None and last.tier is tier and last.end_s == start_s:
        runs[-1] = TierRun(tier, last.start_s, end_s)
    elif end_s > start_s:
        runs.append(TierRun(tier, start_s, end_s))
