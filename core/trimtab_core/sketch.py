"""A quantile sketch: base-2 exponential histogram of durations, scale 5.

Each doubling is divided into 32 buckets. So the bounds of a bucket differ by the factor 2**(1/32) =
1.0219, and its middle is at most 1.09 % from any value in it. Bucket i holds
(2**(i/32), 2**((i+1)/32)] **seconds**, the boundaries of OpenTelemetry's exponential histogram
(data model, "ExponentialHistogram", scale 5) and of Prometheus' native histograms (schema 5,
index + 1): conversion is a copy. Boundaries over microseconds would not line up with boundaries
over seconds.

Values are whole microseconds. The bucket of a value is decided on integers alone (`UPPER_US`),
so every machine puts a value into the same bucket, and merging is addition: exact in any order.

In trimtab the number of a bucket is its index + 640: from 1 (1 us is in bucket 2) to 1026 (4295 s,
the largest u32 of microseconds). Bucket 0 is the zero bucket.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil, isqrt
from typing import Final

__all__ = ["BUCKETS", "BUCKET_OFFSET", "SCALE", "UPPER_US", "Sketch", "bucket_of", "middle_us"]

SCALE: Final = 5
_PER_DOUBLING: Final = 1 << SCALE
#: Number of a bucket less its index.
BUCKET_OFFSET: Final = 640
#: Number of buckets that a u32 of microseconds can reach.
BUCKETS: Final = 1028


def _upper_us(index: int) -> int:
    """Largest whole microsecond in bucket index: floor(10**6 * 2**((index+1)/32)), exactly.

    The 32nd root of 10**192 * 2**(index+1) is five integer square roots; floors nest.
    """
    exponent = index + 1
    power: int = 10 ** (6 * _PER_DOUBLING)
    power = power << exponent if exponent >= 0 else power >> -exponent
    for _ in range(SCALE):
        power = isqrt(power)
    return power


#: UPPER_US[bucket] is the largest whole microsecond that bucket holds.
UPPER_US: Final = [0, *(_upper_us(bucket - BUCKET_OFFSET) for bucket in range(1, BUCKETS))]
_MIDDLE_US: Final = [
    0.0,
    # The harmonic mean of a bucket's bounds has the same relative distance to both.
    *(
        1e6 * 2 ** ((bucket - BUCKET_OFFSET) / _PER_DOUBLING) * 2 / (1 + 2 ** (-1 / _PER_DOUBLING))
        for bucket in range(1, BUCKETS)
    ),
]


def bucket_of(us: int) -> int:
    """Return the bucket of a duration in whole microseconds, 0 to 2**32 - 1."""
    return bisect_left(UPPER_US, us)


def middle_us(bucket: int) -> float:
    """Return the value that represents a bucket, in microseconds, at most 1.09 % off."""
    return _MIDDLE_US[bucket]


class Sketch:
    """Counts by bucket, with the largest value; not thread-safe.

    Quantiles are true to 1.1 % of the value. The sum of counts is exact for any number of merges.
    """

    __slots__ = ("buckets", "max_us")

    def __init__(self, buckets: Mapping[int, int] | None = None, max_us: int = 0) -> None:
        #: bucket -> count, never zero
        self.buckets: Counter[int] = Counter(buckets)
        #: the largest duration seen, in microseconds
        self.max_us = max_us

    def add(self, us: int, count: int = 1) -> None:
        """Count a duration of whole microseconds."""
        self.buckets[bucket_of(us)] += count
        if us > self.max_us:
            self.max_us = us

    def merge(self, other: "Sketch") -> None:
        """Add another sketch; the order of merges does not matter."""
        self.buckets.update(other.buckets)
        self.max_us = max(self.max_us, other.max_us)

    @property
    def count(self) -> int:
        """Number of durations counted."""
        return self.buckets.total()

    def quantile_us(self, q: float) -> float:
        """Return the q-quantile (0 to 1, nearest rank) in microseconds; 0.0 when empty.

        Raises ValueError when q is outside 0 to 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is between 0 and 1, got {q!r}")
        total = self.count
        if not total:
            return 0.0
        rank = max(1, ceil(q * total))
        if rank == total and self.max_us:
            return float(self.max_us)
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return (
                    min(middle_us(bucket), float(self.max_us)) if self.max_us else middle_us(bucket)
                )
        raise AssertionError("expected the rank to be within the total")

    def downscaled(self, scale: int) -> dict[int, int]:
        """Return bucket index -> count at a coarser scale (OTLP scale, Prometheus schema).

        Exact: one scale less joins each two neighbouring buckets. The zero bucket is left out.
        Raises ValueError for a scale finer than 5.
        """
        if scale > SCALE:
            raise ValueError(f"a sketch of scale {SCALE} cannot be read at the finer {scale}")
        shift = SCALE - scale
        buckets: dict[int, int] = {}
        for bucket, count in self.buckets.items():
            if bucket:
                index = (bucket - BUCKET_OFFSET) >> shift
                buckets[index] = buckets.get(index, 0) + count
        return buckets

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sketch)
            and self.buckets == other.buckets
            and self.max_us == other.max_us
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Sketch(count={self.count}, max_us={self.max_us})"

    @classmethod
    def of(cls, durations_us: Iterable[int]) -> "Sketch":
        """Return a sketch of whole-microsecond durations."""
        values = list(durations_us)
        return cls(Counter(map(bucket_of, values)), max(values, default=0))
