"""Points of gauges: how often read, smallest, largest, sum, and the last of a window.

A point's key is `gauge << 32 | start of its window in epoch seconds`, its gauge a number of
whatever dictionary it comes from. Points of the same key add up in any order; sums of floats then
differ in their last bits, nothing else does. Of two last gauges made in the same second the
larger is taken, so that order does not matter there either.
"""

import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_core.batches import Batch

__all__ = ["GaugeKey", "GaugePoints", "Numbers", "Taken", "chosen", "merge", "rolled_up", "take"]

#: what no machine measures is left out, as is what is no number; sums stay finite
_MOST: Final = 1e300
_WINDOW_S: Final = 10


class GaugeKey(NamedTuple):
    """What distinguishes a gauge; environment and service are empty for those of a host."""

    agent: str
    environment: str
    service: str
    instance: str
    name: str


Numbers = MutableMapping[tuple[str, ...], int]


class Taken(NamedTuple):
    """The gauges of one batch, in few bytes."""

    #: int32 and float64 (n,)
    gauge: Array
    value: Array
    #: start of the stored window and time of the gauges, epoch seconds
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
    #: when the last one was made, epoch seconds
    at: Array

    def taken(self, places: Array) -> "GaugePoints":
        """Return points by their places, or where a mask is true."""
        return self.under(self.key[places], places)

    def under(self, key: Array, places: Array) -> "GaugePoints":
        """Return the same under other keys."""
        rest = (self.count, self.low, self.high, self.total, self.last, self.at)
        return GaugePoints(key, *(column[places] for column in rest))


def take(batch: Batch, t: int, numbers: Numbers) -> Taken:
    """Return the gauges of a batch; t is the start of its stored window, 10 s wide.

    numbers gives each gauge (a GaugeKey) its number, new ones the next.
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
            # The texts of a batch are its own: thousands of gauges share a few of them.
            number = numbers[GaugeKey(*map(sys.intern, key))] = len(numbers)
        gauges.append(number)
        values.append(gauge.value)
    # By our clock to the window, within it by the agent's: finer batches share a window.
    at = t + (batch.window_s % _WINDOW_S if batch.step_s < _WINDOW_S else 0) + batch.step_s
    # Zero has one sign here, so that equal values are equal bits.
    return Taken(np.array(gauges, np.int32), np.array(values, np.float64) + 0.0, t, at)


def chosen(batches: Sequence[Taken], numbers: Array | None = None) -> GaugePoints:
    """Return the gauges of batches as points, not merged.

    numbers has another number for each gauge, negative for those that are left out.
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
    """Return one point a key, in order of key."""
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
