"""Trends: whether a figure rises or falls beyond its own unrest.

The slope is that of Theil and Sen (Sen 1968): the median of the slopes between all pairs of
30-minute medians, which a burst cannot turn. A change counts when it is more than 5 % of the level
and more than twice its standard error, taken from the spread of the medians around the line.
"""

from math import isnan, sqrt
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.storage.columns import Array

__all__ = ["FALLING", "RISING", "SPAN_S", "STABLE", "Trend", "trend_of"]

RISING: Final = "rising"
FALLING: Final = "falling"
STABLE: Final = "stable"
#: what a trend is looked for in
SPAN_S: Final = 6 * 3600
_BLOCK_S: Final = 1800
_LEAST_BLOCKS: Final = 4
_LEAST_CHANGE: Final = 0.05


class Trend(NamedTuple):
    """A direction and the change over the time that was looked at; both None when unknown."""

    direction: str | None
    change: float | None


def trend_of(t: Array, values: Array) -> Trend:
    """Return the trend of values at times in seconds, ascending; nan stands for no value."""
    known = ~np.isnan(values)
    t, values = t[known], values[known]
    if not len(t):
        return Trend(None, None)
    block = ((t - t[0]) // _BLOCK_S).astype(np.int64)
    places = np.unique(block)
    if len(places) < _LEAST_BLOCKS:
        return Trend(None, None)
    y = np.array([np.median(values[block == place]) for place in places])
    x = places.astype(np.float64)
    first, second = np.triu_indices(len(x), 1)
    slope = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    start = float(np.median(y - slope * (x - x[0])))
    span = float(x[-1] - x[0])
    change = slope * span / start if start > 0 else float("nan")
    if isnan(change):
        # From nothing there is no share of a change.
        return Trend(RISING if slope > 0 else STABLE, None)
    residual = y - (start + slope * (x - x[0]))
    spread = sqrt(float((residual**2).sum()) / (len(y) - 2))
    error = spread / sqrt(float(((x - x.mean()) ** 2).sum())) * span / start
    if abs(change) <= max(_LEAST_CHANGE, 2 * error):
        return Trend(STABLE, change)
    return Trend(RISING if change > 0 else FALLING, change)
