"""Points of gauges: count, smallest, largest, sum and last value of a gauge in a window.

A point's key is `gauge << 32 | start of its window in epoch seconds`, where gauge is a number whose
meaning the caller knows. Points with the same key add up in any order; only sums of floats may then
differ, in their last bits. Of two last values from the same second the larger one counts, so that
order does not matter there either.
"""

import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_core.batches import Batch

__all__ = ["GaugeKey", "GaugePoints", "Numbers", "Taken", "chosen", "merge", "rolled_up", "take"]

#: larger values, which no machine measures, and NaN are left out, so that sums stay finite
_MOST: Final = 1e300
_WINDOW_S: Final = 10


class GaugeKey(NamedTuple):
    """The identity of a gauge; environment and service are empty for gauges of a host."""

    agent: str
    environment: str
    service: str
    instance: str
    name: str


Numbers = MutableMapping[tuple[str, ...], int]


class Taken(NamedTuple):
    """The gauges of one batch, in a compact form."""

    #: int32 and float64 (n,)
    gauge: Array
    value: Array
    #: start of the stored window, and when the gauges were read, epoch seconds
    t: int
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class GaugePoints:
    """n points of gauges."""

    #: int64 (n,), and so are count and at
    key: Array
    count: Array
    #: float64 (n,)
    low: Array
    high: Array
    total: Array
    last: Array
    #: when the last value was read, epoch seconds
    at: Array

    def taken(self, places: Array) -> "GaugePoints":
        """Return the points at some places, or where a mask is true."""
        return self.under(self.key[places], places)

    def under(self, key: Array, places: Array) -> "GaugePoints":
        """Return the points at some places under other keys."""
        rest = (self.count, self.low, self.high, self.total, self.last, self.at)
        return GaugePoints(key, *(column[places] for column in rest))


def take(batch: Batch, t: int, numbers: Numbers) -> Taken:
    """Return the gauges of a batch; t is the start of its stored window, 10 s wide.

    numbers has the number of each gauge (a GaugeKey); new gauges are added with the next one.
    """
    agent = batch.agent
    gauges: list[int] = []
    values: list[float] = []
    for gauge in batch.gauges:
        if not abs(gauge.value) < _MOST:
            continue
        key = (agent, *gauge[:4])
        number = numbers.get(key)
        if number is None:
            # A batch has its own copies of texts; thousands of gauges share a few distinct ones.
            number = numbers[GaugeKey(*map(sys.intern, key))] = len(numbers)
        gauges.append(number)
        values.append(gauge.value)
    # The window is by our clock, the second in it by the agent's: finer batches share a window.
    at = t + (batch.window_s % _WINDOW_S if batch.step_s < _WINDOW_S else 0) + batch.step_s
    # Zero gets one sign, so that equal values are equal bits.
    return Taken(np.array(gauges, np.int32), np.array(values, np.float64) + 0.0, t, at)


def chosen(batches: Sequence[Taken], numbers: Array | None = None) -> GaugePoints:
    """Return the gauges of batches as points, not merged.

    numbers has the number to use for each gauge, negative for gauges to leave out.
    """
    gauge = np.concatenate([batch.gauge for batch in batches] or [np.zeros(0, np.int32)])
    value = np.concatenate([batch.value for batch in batches] or [np.zeros(0)])
    sizes = [len(batch.gauge) for batch in batches]
    place = np.repeat(np.arange(len(batches)), sizes)
    if numbers is None:
        gauge = gauge.astype(np.int64)
    else:
        gauge = numbers[gauge]
        keep = np.flatnonzero(gauge >= 0)
        gauge, value, place = gauge[keep], value[keep], place[keep]
    t = np.array([batch.t for batch in batches], np.int64)[place]
    at = np.array([batch.at for batch in batches], np.int64)[place]
    return GaugePoints((gauge << 32) | t, np.ones_like(t), value, value, value, value, at)


def merge(parts: Sequence[GaugePoints]) -> GaugePoints:
    """Return one point per key, in order of key."""
    parts = [part for part in parts if len(part.key)]
    if not parts:
        return chosen([])
    if len(parts) == 1 and (np.diff(parts[0].key) > 0).all():
        return parts[0]
    joined = GaugePoints(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in GaugePoints.__dataclass_fields__
        )
    )
    joined = joined.taken(np.lexsort((joined.last, joined.at, joined.key)))
    first = np.flatnonzero(np.diff(joined.key, prepend=joined.key[0] - 1))
    end = np.append(first[1:], len(joined.key)) - 1
    return GaugePoints(
        joined.key[first],
        np.add.reduceat(joined.count, first),
        np.minimum.reduceat(joined.low, first),
        np.maximum.reduceat(joined.high, first),
        np.add.reduceat(joined.total, first),
        joined.last[end],
        joined.at[end],
    )


def rolled_up(points: GaugePoints, width_s: int) -> GaugePoints:
    """Return points in windows of width_s, merged."""
    t = points.key & 0xFFFFFFFF
    return merge([points.under(points.key - t % width_s, np.ones(len(t), bool))])
