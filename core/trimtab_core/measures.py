"""Measures: named numbers with attributes, beside the records of requests.

A measure is a counter, a gauge or a histogram. Queries, calls to other services, tasks of queues
and an app's own metrics are measures. Name and attributes identify a measure, as in OpenTelemetry
(`db.client.operation.duration` with `db.query.text`).

App, agent and store exchange what was added since the last time (`Delta`). Deltas of one measure
add up, and their order matters only for the last value of a gauge.

A histogram is kept as a sketch with the buckets of `trimtab_core.sketch`, continued upwards for
values that are not durations: the error is at most 1.1 % for values from 2**-20 to 2**75.
"""

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, isfinite
from typing import Final, NamedTuple

from trimtab_core.fields import name_of
from trimtab_core.names import clean_name
from trimtab_core.sketch import BUCKET_OFFSET, SCALE

__all__ = [
    "COUNTER",
    "GAUGE",
    "HISTOGRAM",
    "KINDS",
    "MAX_ATTRIBUTES",
    "MAX_COUNT",
    "MAX_SUM",
    "MAX_TEXT",
    "MAX_VALUE_BUCKET",
    "OTHER",
    "Attributes",
    "Delta",
    "MeasureKey",
    "middle",
    "quantile",
    "value_buckets",
]

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
KINDS: Final = frozenset({COUNTER, GAUGE, HISTOGRAM})

#: Longest text of an attribute, in characters; the app cuts longer ones.
MAX_TEXT: Final = 1024
#: Largest count, of values and of a bucket: counts that add up to more stay there.
MAX_COUNT: Final = 2**53 - 1
#: Largest sum, either way: sums stay there and never become infinite.
MAX_SUM: Final = sys.float_info.max
#: Most attributes of a measure.
MAX_ATTRIBUTES: Final = 16
#: Bucket of all values above 2**75.
MAX_VALUE_BUCKET: Final = BUCKET_OFFSET + 75 * (1 << SCALE)
_PER_DOUBLING: Final = 1 << SCALE
#: sums of whole numbers from here on do not fit msgpack: they travel as floats
_MOST_WHOLE: Final = 2.0**63
#: Value of every attribute of the measure that collects all measures over a limit.
OTHER: Final = "other"

#: (name, value) pairs, sorted by name.
Attributes = tuple[tuple[str, str], ...]


class MeasureKey(NamedTuple):
    """Identifies a measure of one process; unit is a UCUM code (`s`, `By`, `1`)."""

    name: str
    kind: str
    unit: str = "1"
    attributes: Attributes = ()

    def row(self) -> list[object]:
        """Return the key as it travels: name, kind, unit, a flat list of names and values."""
        return [
            self.name,
            self.kind,
            self.unit,
            [text for pair in self.attributes for text in pair],
        ]

    @classmethod
    def of_row(cls, row: Sequence[object]) -> "MeasureKey":
        """Return the key that `row` gave; raises ValueError or TypeError for any other value."""
        name, kind, unit, flat = row
        if kind not in KINDS:
            raise ValueError(f"expected one of {', '.join(sorted(KINDS))}, got {kind!r:.40}")
        if not isinstance(flat, list) or len(flat) % 2 or len(flat) > 2 * MAX_ATTRIBUTES:
            raise ValueError(f"expected at most {MAX_ATTRIBUTES} names, a value behind each")
        if any(not isinstance(text, str) or len(text) > MAX_TEXT for text in flat):
            raise ValueError(f"expected texts of at most {MAX_TEXT} characters")
        together = "".join(flat)
        if not (together.isascii() and together.isprintable()):
            flat = [clean_name(text) for text in flat]
        pairs = tuple(sorted(zip(flat[::2], flat[1::2], strict=True)))
        return cls(name_of(name), str(kind), name_of(unit, empty=True), pairs)


@dataclass(slots=True)
class Delta:
    """What was added to a measure.

    A counter uses `sum`. A gauge uses `last`, and the other fields but `buckets` for the values it
    had. A histogram uses all fields. Other fields are unused.
    """

    #: values that were added
    count: int = 0
    sum: float = 0.0
    min: float = inf
    max: float = -inf
    last: float = 0.0
    #: of a histogram: bucket -> count
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, values: Iterable[float]) -> None:
        """Add values of a counter or gauge, without buckets."""
        for value in values:
            self.count += 1
            self.sum += value
            self.min = min(self.min, value)
            self.max = max(self.max, value)
            self.last = value

    def merge(self, other: "Delta") -> None:
        """Add a later delta of the same measure; counts and sums stay within their bounds."""
        if not other.count:
            return
        self.count += other.count
        if self.count > MAX_COUNT:
            self.count = MAX_COUNT
        self.sum += other.sum
        if not -MAX_SUM <= self.sum <= MAX_SUM:
            self.sum = _bounded(self.sum)
        if other.min < self.min:
            self.min = other.min
        if other.max > self.max:
            self.max = other.max
        self.last = other.last
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def flat_buckets(self) -> list[int]:
        """Return bucket, count, bucket, count and so on, ascending."""
        flat: list[int] = []
        for bucket in sorted(self.buckets):
            count = self.buckets[bucket]
            flat += (bucket, count if count <= MAX_COUNT else MAX_COUNT)
        return flat

    @classmethod
    def of_row(cls, row: list[object]) -> "Delta":
        """Return the delta that `row` gave; raises ValueError or TypeError for any other value."""
        count, total, least, most, last, flat = row
        numbers = (total, least, most, last)
        if type(count) is not int or not 0 < count <= MAX_COUNT:
            raise ValueError(f"expected a count from 1, got {count!r:.40}")
        if any(type(each) not in (int, float) or not isfinite(each) for each in numbers):  # type: ignore[arg-type]
            raise ValueError(f"expected four finite numbers, got {numbers!r:.100}")
        if not isinstance(flat, list) or len(flat) % 2 or len(flat) > 2 * MAX_VALUE_BUCKET:
            raise ValueError("expected a list of buckets, a count behind each")
        if any(type(each) is not int or not 0 <= each <= MAX_COUNT for each in flat):
            raise ValueError("expected buckets and counts as whole numbers")
        if flat and max(flat[::2]) > MAX_VALUE_BUCKET:
            raise ValueError(f"expected buckets up to {MAX_VALUE_BUCKET}, got {max(flat[::2])}")
        buckets = dict(zip(flat[::2], flat[1::2], strict=True))
        return cls(count, float(total), float(least), float(most), float(last), buckets)  # type: ignore[arg-type]

    def row(self) -> list[object]:
        """Return the delta as it travels: count, sum, min, max, last, flat buckets.

        What `of_row` takes, if its values were finite; whole ones have up to 63 bits.
        """
        count, total = self.count, self.sum
        if count > MAX_COUNT:
            count = MAX_COUNT
        if not -_MOST_WHOLE < total < _MOST_WHOLE:
            total = _bounded(total)
        return [count, total, self.min, self.max, self.last, self.flat_buckets()]


def _bounded(total: float) -> float:
    """Return a sum as a float within MAX_SUM; 0 for no number, which two infinite ones give."""
    return float(max(-MAX_SUM, min(MAX_SUM, total))) if total == total else 0.0


def _upper(bucket: int) -> float:
    return float(2.0 ** ((bucket + 1 - BUCKET_OFFSET) / _PER_DOUBLING))


#: Largest value of each bucket: a search is faster than a logarithm, and exact at the bounds.
_UPPER: Final = [0.0, *(_upper(bucket) for bucket in range(1, MAX_VALUE_BUCKET))]


def value_buckets(values: Iterable[float]) -> dict[int, int]:
    """Return how many values each bucket has: 0 for zero and below, the last above 2**75."""
    return Counter(bisect_left(_UPPER, value) for value in values)


def middle(bucket: int) -> float:
    """Return the value that represents a bucket: at most 1.09 % off, 0 for bucket 0."""
    if not bucket:
        return 0.0
    return float(
        2.0 ** ((bucket - BUCKET_OFFSET) / _PER_DOUBLING) * 2 / (1 + 2 ** (-1 / _PER_DOUBLING))
    )


def quantile(buckets: Mapping[int, int], q: float, least: float = -inf, most: float = inf) -> float:
    """Return the q-quantile (0 to 1, nearest rank) of a sketch, clamped to least and most.

    Returns 0.0 if it is empty; raises ValueError for q outside 0 to 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile is between 0 and 1, got {q!r}")
    total = sum(buckets.values())
    if not total:
        return 0.0
    rank = max(1, ceil(q * total))
    if rank == total and most < inf:
        return most
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank:
            return max(least, min(most, middle(bucket)))
    raise AssertionError("expected the rank to be within the total")
