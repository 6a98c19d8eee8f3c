"""What the agent shows on /metrics: its own counters, and request durations since it started.

Durations are a Prometheus histogram whose bounds are powers of two seconds. The sketch has these
bounds, too (at scale 0), so the counts are exact; any other bound would be a guess.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from trimtab_core.batches import Point, SeriesKey
from trimtab_core.catalog import CATALOG
from trimtab_core.exposition import MetricFamily
from trimtab_core.sketch import BUCKET_OFFSET, BUCKETS, SCALE

__all__ = ["BOUNDS_S", "IDLE_S", "MAX_SERIES", "Totals", "families_of"]

#: Series of request durations shown; all further ones are one series `other`.
MAX_SERIES: Final = 2000
#: When the table is full, a series without requests for this long gives its place to a new one.
IDLE_S: Final = 600
_LOWEST: Final = -10
_HIGHEST: Final = 6
#: Upper bounds of the histogram in seconds, about 1 ms to 64 s; +Inf follows them.
BOUNDS_S: Final = tuple(2.0**exponent for exponent in range(_LOWEST, _HIGHEST + 1))
_LE: Final = (*map(repr, BOUNDS_S), "+Inf")
#: Place in the histogram of each sketch bucket: index i holds up to 2**((i + 1) / 32) s, so its
#: power of two is (i >> 5) + 1.
_PLACE: Final = tuple(
    min(max(((bucket - BUCKET_OFFSET) >> SCALE) + 1 - _LOWEST, 0), len(BOUNDS_S))
    for bucket in range(BUCKETS)
)


class _Key(NamedTuple):
    environment: str
    service: str
    route: str
    method: str
    status_class: str


_OTHER: Final = _Key("other", "other", "other", "other", "other")


class _Durations:
    __slots__ = ("counts", "sum_us", "used_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_us = 0
        #: when a point was added last, by the clock of `Totals`
        self.used_s = 0.0


class Totals:
    """Request durations since the agent started, without version and instance.

    About 400 bytes per series and at most 2,001 series. When all places are taken, the series that
    was used least recently is forgotten once it has been idle for 10 minutes; one that comes back
    later counts from zero, which Prometheus takes for a restart. Until then new names go into the
    series `other`.

    For one loop; `families` may be read in slices with `add` in between: the samples of one series
    always belong together.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: the series used least recently stands first
        self._rows: dict[_Key, _Durations] = {}
        self._other = _Durations()
        #: points that went into the series `other`
        self.over_limit = 0

    def add(self, key: SeriesKey, point: Point) -> None:
        """Add a point of a closed window."""
        short = _Key(key.environment, key.service, key.route, key.method, key.status_class)
        row = self._row(short)
        for bucket, count in point.buckets.items():
            row.counts[_PLACE[bucket]] += count
        row.sum_us += point.sum_us

    def families(self) -> list[MetricFamily]:
        """Return the histogram; empty until there is a request."""
        metric = CATALOG["http.server.request.duration"]
        if not self._rows:
            return []  # `other` has requests only when the table is full
        name = metric.prometheus_name
        return [MetricFamily(name, metric.kind, metric.help, self._samples())]

    def _samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        shown = list(self._rows.items())
        if self.over_limit:
            shown.append((_OTHER, self._other))
        for key, row in shown:
            yield from list(_histogram(key._asdict(), row))

    def _row(self, key: _Key) -> _Durations:
        """Return the row of a series, its place made free where that is possible, else `other`."""
        now_s = self._clock()
        row = self._rows.pop(key, None)
        if row is None:
            if len(self._rows) >= MAX_SERIES:
                idlest = next(iter(self._rows))
                if now_s - self._rows[idlest].used_s < IDLE_S:
                    self.over_limit += 1
                    return self._other
                del self._rows[idlest]
            row = _Durations()
        row.used_s = now_s
        self._rows[key] = row
        return row


def families_of(
    values: Mapping[str, float | Mapping[str, Mapping[str, float]]], totals: Totals | None = None
) -> list[MetricFamily]:
    """Return counters and gauges, by catalogue name, and the totals as families.

    A value is a number, or `{label: {text: number}}`: one number for each value of the label.
    Raises KeyError for a name that is not in the catalogue.
    """
    families = []
    for name, value in values.items():
        metric = CATALOG[name]
        samples: list[tuple[str, Mapping[str, str], float]] = []
        if isinstance(value, Mapping):
            for label, numbers in value.items():
                samples += [("", {label: text}, number) for text, number in numbers.items()]
        else:
            samples = [("", {}, value)]
        families.append(MetricFamily(metric.prometheus_name, metric.kind, metric.help, samples))
    return families + (totals.families() if totals else [])


def _histogram(
    labels: dict[str, str], row: _Durations
) -> Iterator[tuple[str, Mapping[str, str], float]]:
    total = 0
    for le, count in zip(_LE, row.counts, strict=True):
        total += count
        yield "_bucket", {**labels, "le": le}, total
    yield "_sum", labels, row.sum_us / 1e6
    yield "_count", labels, total
