"""Measures: named numbers with attributes, beside the records of requests.

A measure is a counter, a gauge or a histogram. Queries, calls to other services, tasks of queues
and an app's own metrics are measures; what tells them apart are name and attributes, as in
OpenTelemetry (`db.client.operation.duration` with `db.query.text`).

Between app, agent and store travels what was added since the last time (`Change`); changes of one
measure add up, in any order but for the last value of a gauge.

A histogram's values are kept as a sketch of the same buckets as `trimtab_core.sketch`, continued
upwards for values that are no durations: error at most 1.1 % for values from 2**-20 to 2**75.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, inf, isfinite
from typing import Final, NamedTuple

from trimtab_core.sketch import SCALE, SLOT_OFFSET

__all__ = [
    "COUNTER",
    "GAUGE",
    "HISTOGRAM",
    "KINDS",
    "MAX_ATTRIBUTES",
    "MAX_TEXT",
    "MAX_VALUE_SLOT",
    "OTHER",
    "Attributes",
    "Change",
    "MeasureKey",
    "middle",
    "quantile",
    "value_slot",
    "value_slots",
]

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
KINDS: Final = frozenset({COUNTER, GAUGE, HISTOGRAM})

#: Longest text of an attribute, in characters; longer ones are cut where they are made.
MAX_TEXT: Final = 1024
#: Most attributes of a measure.
MAX_ATTRIBUTES: Final = 16
#: Slot of all values above 2**75.
MAX_VALUE_SLOT: Final = SLOT_OFFSET + 75 * (1 << SCALE)
_PER_DOUBLING: Final = 1 << SCALE
#: Value of every attribute of a measure that stands for all over a limit.
OTHER: Final = "other"

#: (name, value) pairs, sorted by name.
Attributes = tuple[tuple[str, str], ...]


class MeasureKey(NamedTuple):
    """What distinguishes a measure of one process; unit is a UCUM code (`s`, `By`, `1`)."""

    name: str
    kind: str
    unit: str = "1"
    attributes: Attributes = ()


@dataclass(slots=True)
class Change:
    """What was added to a measure; the fields that its kind has no use for stay as they are.

    A counter has `sum`; a gauge `last` and, over the values it had, the rest; a histogram all.
    """

    #: values that were added
    count: int = 0
    sum: float = 0.0
    min: float = inf
    max: float = -inf
    last: float = 0.0
    #: of a histogram: slot -> count
    slots: dict[int, int] = field(default_factory=dict)

    def add(self, values: Iterable[float]) -> None:
        """Add values that are no histogram's."""
        for value in values:
            self.count += 1
            self.sum += value
            self.min = min(self.min, value)
            self.max = max(self.max, value)
            self.last = value

    def merge(self, other: "Change") -> None:
        """Add a later change of the same measure."""
        if not other.count:
            return
        self.count += other.count
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)
        self.last = other.last
        for slot, count in other.slots.items():
            self.slots[slot] = self.slots.get(slot, 0) + count

    def flat_slots(self) -> list[int]:
        """Return slot, count, slot, count and so on, ascending."""
        flat: list[int] = []
        for slot in sorted(self.slots):
            flat += (slot, self.slots[slot])
        return flat

    @classmethod
    def of_row(cls, row: list[object]) -> "Change":
        """Return the change that `row` gave; raises ValueError or TypeError for what is none."""
        count, total, least, most, last, flat = row
        numbers = (total, least, most, last)
        if type(count) is not int or not 0 < count < 2**53:
            raise ValueError(f"expected a count from 1, got {count!r:.40}")
        if any(type(each) not in (int, float) or not isfinite(each) for each in numbers):  # type: ignore[arg-type]
            raise ValueError(f"expected four finite numbers, got {numbers!r:.100}")
        if not isinstance(flat, list) or len(flat) % 2 or len(flat) > 2 * MAX_VALUE_SLOT:
            raise ValueError("expected slots and counts in turn")
        if any(type(each) is not int or not 0 <= each < 2**53 for each in flat):
            raise ValueError("expected slots and counts as whole numbers")
        if flat and max(flat[::2]) > MAX_VALUE_SLOT:
            raise ValueError(f"expected slots up to {MAX_VALUE_SLOT}, got {max(flat[::2])}")
        slots = dict(zip(flat[::2], flat[1::2], strict=True))
        return cls(count, float(total), float(least), float(most), float(last), slots)  # type: ignore[arg-type]

    def row(self) -> list[object]:
        """Return the change as it travels: count, sum, min, max, last, slots and counts in turn."""
        return [self.count, self.sum, self.min, self.max, self.last, self.flat_slots()]


def _upper(slot: int) -> float:
    return float(2.0 ** ((slot + 1 - SLOT_OFFSET) / _PER_DOUBLING))


#: Largest value of each slot: a search is quicker than a logarithm, and safe at the borders.
_UPPER: Final = [0.0, *(_upper(slot) for slot in range(1, MAX_VALUE_SLOT))]


def value_slot(value: float) -> int:
    """Return the slot of a value; 0 for zero and below, the last one for what is too large."""
    return bisect_left(_UPPER, value)


def value_slots(values: Iterable[float]) -> dict[int, int]:
    """Return how many of the values are in each slot."""
    return Counter(bisect_left(_UPPER, value) for value in values)


def middle(slot: int) -> float:
    """Return the value that stands for a slot, at most 1.09 % from its members; 0 for slot 0."""
    if not slot:
        return 0.0
    return float(
        2.0 ** ((slot - SLOT_OFFSET) / _PER_DOUBLING) * 2 / (1 + 2 ** (-1 / _PER_DOUBLING))
    )


def quantile(slots: Mapping[int, int], q: float, least: float = -inf, most: float = inf) -> float:
    """Return the q-quantile (0 to 1, nearest rank) of a sketch, within least and most.

    Returns 0.0 when it is empty; raises ValueError for q outside 0 to 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile is between 0 and 1, got {q!r}")
    total = sum(slots.values())
    if not total:
        return 0.0
    rank = max(1, ceil(q * total))
    if rank == total and most < inf:
        return most
    seen = 0
    for slot in sorted(slots):
        seen += slots[slot]
        if seen >= rank:
            return max(least, min(most, middle(slot)))
    raise AssertionError("ranks end at the total")
