"""An app's own metrics: what they have in common, their registry, Counter and Gauge.

    orders = Counter("shop.orders", "Orders placed.", "{order}", labels=["country"])
    orders.inc(country="se")
    swedish = orders.labels(country="se")      # keep it where it is hot
    swedish.inc()

A metric is made once: the same name gives the same object again. What is added goes to the agent
by itself (`trimtab.metrics.measures`), can be read back here, and can be stored elsewhere too
(`trimtab.sinks`). Every method may be called from any thread or task, and counts exactly. A child
of a fork starts from nothing.

Adding to a metric without labels, or to one that `labels` returned, costs about 0.2 us.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Self, TypeVar, cast

from trimtab.metrics.measures import MEASURES, Measure, MeasureFamily
from trimtab_core import names
from trimtab_core.measures import COUNTER, GAUGE, MAX_TEXT, OTHER, Delta

__all__ = [
    "CAP",
    "MOST_VALUE",
    "REGISTRY",
    "Counter",
    "Definition",
    "Distribution",
    "Gauge",
    "Metric",
    "MetricRow",
    "collect",
    "registry",
]

#: Series of a metric, unless it says otherwise.
CAP: Final = 1000
#: Metrics of a process.
MAX_METRICS: Final = 2000
#: larger values are no measurements; measures leave them out, too
MOST_VALUE: Final = 1e300


@dataclass(frozen=True, slots=True)
class Distribution:
    """The value of a histogram or summary, exported."""

    count: int
    sum: float
    #: (q, value)
    quantiles: tuple[tuple[float, float], ...] = ()
    #: (upper bound, values up to it), the last bound infinite; empty without buckets of its own
    buckets: tuple[tuple[float, int], ...] = ()


class MetricRow(NamedTuple):
    """One series at one time, exported."""

    name: str
    kind: str
    unit: str
    description: str
    labels: Mapping[str, str]
    value: float | Distribution
    #: seconds since 1970
    timestamp: float


class Definition(NamedTuple):
    """What a metric was made with."""

    name: str
    description: str
    unit: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...]
    cap: int


_M = TypeVar("_M", bound="Metric")


class Metric:
    """What every metric has: with label names it is a family, else, or with `labels`, a series.

    Raises ValueError, with what to do, for a name or unit that is none, and for a name that was
    given to another kind of metric, or with another unit or other labels, before.
    """

    __slots__ = (
        "_add", "_bound", "_children", "_definition", "_family", "_lock", "_measure",
    )  # fmt: skip
    kind: ClassVar[str]
    #: the measure's kind
    _measured: ClassVar[str]
    _definition: Definition
    _family: MeasureFamily
    _bound: bool
    _measure: Measure | None
    _children: "dict[tuple[str, ...], Self]"
    _add: Callable[[float], None]

    def __new__(
        cls,
        name: str,
        description: str = "",
        unit: str = "1",
        labels: Sequence[str] = (),
        *,
        cap: int = CAP,
    ) -> Self:
        """Return the metric of a name; beyond cap series all values go to one, `other`."""
        names.check_labels(labels)
        return REGISTRY.get(cls, Definition(name, description, unit, tuple(labels), (), cap))

    @classmethod
    def _make(cls, definition: Definition, family: MeasureFamily, measure: Measure | None) -> Self:
        metric: Self = object.__new__(cls)
        metric._definition = definition
        metric._family = family
        metric._bound = measure is not None
        metric._measure = measure
        metric._children = {}
        metric._add = metric._needs_labels if measure is None else measure.add
        metric._forget()
        return metric

    @property
    def name(self) -> str:
        """Return its name."""
        return self._definition.name

    @property
    def description(self) -> str:
        """Return what it was first described as."""
        return self._definition.description

    @property
    def unit(self) -> str:
        """Return its unit."""
        return self._definition.unit

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the names of its labels."""
        return self._definition.labels

    @property
    def over_cap(self) -> int:
        """Return how often labels beyond the cap were asked for, and `other` given."""
        return self._family.over_cap

    def labels(self, **labels: object) -> Self:
        """Return the series of these labels, the same one each time; values become text.

        Raises ValueError unless each label has a value.
        """
        if tuple(labels) == self._definition.labels:
            values = tuple(map(str, labels.values()))
        else:
            values = self._values(labels)
        found = self._children.get(values)
        return self._new_child(values) if found is None else found

    def _values(self, labels: Mapping[str, object]) -> tuple[str, ...]:
        expected = self._definition.labels
        if labels.keys() != set(expected):
            raise ValueError(
                f"expected the labels {', '.join(expected) or '(none)'} of {self.name}, got "
                f"{', '.join(labels) or '(none)'}: give each of them a value"
            )
        return tuple(str(labels[label]) for label in expected)

    def _new_child(self, values: tuple[str, ...]) -> Self:
        if self._bound:
            raise ValueError(f"this series of {self.name} has its labels: use it as it is")
        # What a family would cut or replace, so that equal series are one.
        values = tuple(each[:MAX_TEXT].encode("utf-8", "replace").decode() for each in values)
        with self._lock:
            found = self._children.get(values)
            if found is None:
                measure = self._family.at(self._attributes(values))
                others = (OTHER,) * len(values)
                if measure.key.attributes == self._attributes(others):
                    # Over the cap: not kept under its own values, of which there is no end.
                    values = others
                    found = self._children.get(others)
            if found is None:
                found = self._children[values] = self._make(self._definition, self._family, measure)
            return found

    def _attributes(self, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(zip(self._definition.labels, values, strict=True)))

    def _find(self, labels: Mapping[str, object]) -> Self | None:
        """Return the series of labels without making one."""
        if self._bound and not labels:
            return self
        return self._children.get(self._values(labels))

    def _needs_labels(self, _value: float) -> None:
        self._values({})

    def _read(self) -> Delta:
        return self._measure.read() if self._measure is not None else Delta()

    def _forget(self) -> None:
        """Start from nothing: as new, and in the child of a fork, who has no use for its locks."""
        # A signal handler or a finalizer may come while this very thread holds it.
        self._lock = threading.RLock()
        for child in self._children.values():
            child._forget()

    def _series(self) -> Iterator[tuple[Mapping[str, str], Self]]:
        if self._bound:
            yield {}, self
        for values, child in list(self._children.items()):
            yield dict(zip(self._definition.labels, values, strict=True)), child

    def rows(self, now: float | None = None) -> list[MetricRow]:
        """Return its series as they are; now is seconds since 1970."""
        at = time.time() if now is None else now
        is_ = self._definition
        return [
            MetricRow(is_.name, self.kind, is_.unit, is_.description, labels, each._exported(), at)
            for labels, each in self._series()
        ]

    def _exported(self) -> float | Distribution:
        raise NotImplementedError

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self


class Counter(Metric):
    """Counts what only grows."""

    __slots__ = ()
    kind = COUNTER
    _measured = COUNTER

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Add an amount; raises ValueError for one below 0, or when labels are missing."""
        if labels:
            self.labels(**labels).inc(amount)
            return
        if amount < 0:
            raise ValueError(f"expected {self.name} to grow, got {amount!r}: use a Gauge")
        self._add(amount)

    def value(self, **labels: object) -> float:
        """Return what this process has counted; 0 for labels that nobody used."""
        found = self._find(labels)
        return 0.0 if found is None else found._read().sum

    def _exported(self) -> float:
        return self._read().sum


class Gauge(Metric):
    """A value that goes up and down. What is no finite number is left out."""

    __slots__ = ("_value",)
    kind = GAUGE
    _measured = GAUGE
    _value: float

    def set(self, value: float, **labels: object) -> None:
        """Make it this value."""
        if labels:
            self.labels(**labels).set(value)
        elif -MOST_VALUE < value < MOST_VALUE:
            with self._lock:
                self._add(value)
                self._value = value

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Add an amount, exact between threads."""
        if labels:
            self.labels(**labels).inc(amount)
            return
        with self._lock:
            value = self._value + amount
            if -MOST_VALUE < value < MOST_VALUE:
                self._add(value)
                self._value = value

    def dec(self, amount: float = 1, **labels: object) -> None:
        """Take an amount away, exact between threads."""
        self.inc(-amount, **labels)

    def value(self, **labels: object) -> float:
        """Return the value in this process; 0 for labels that nobody used."""
        found = self._find(labels)
        return 0.0 if found is None else float(found._value)

    def _forget(self) -> None:
        super()._forget()
        self._value = 0.0

    def _exported(self) -> float:
        return float(self._value)


class Registry:
    """All metrics of the process, by name."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.metrics: dict[str, Metric] = {}
        self._exposed: dict[str, str] = {}
        #: calls without an object for names beyond the most there may be
        self.over_cap = 0

    def get(self, kind: type[_M], wanted: Definition) -> _M:
        """Return the metric of a name, a new one when there is none; raises as Metric does."""
        with self._lock:
            found = self.metrics.get(wanted.name)
            if found is None:
                found = self.metrics[wanted.name] = self._new(kind, wanted)
            before = found._definition
        same = (
            type(found) is kind
            and (before.unit, before.buckets) == (wanted.unit, wanted.buckets)
            and sorted(before.labels) == sorted(wanted.labels)
        )
        if not same:
            raise ValueError(
                f"expected {wanted.name} to be {_described(type(found), before)} as before, got "
                f"{_described(kind, wanted)}: make both the same, or choose another name"
            )
        return cast(_M, found)

    def _new(self, kind: type[_M], wanted: Definition) -> _M:
        names.check_name(wanted.name)
        names.check_unit(wanted.unit)
        if self.is_full:
            raise ValueError(
                f"expected at most {MAX_METRICS} metrics, got {wanted.name!r} as one more: "
                "tell series apart by labels, not by names"
            )
        shown = names.exposed_samples(wanted.name, kind.kind, wanted.unit)
        taken = next((self._exposed[each] for each in shown if each in self._exposed), None)
        if taken is not None:
            raise ValueError(
                f"expected a name that differs from {taken!r} in Prometheus, too, got "
                f"{wanted.name!r}: choose another name"
            )
        family = MEASURES.family(wanted.name, kind._measured, wanted.unit, max(1, wanted.cap))
        measure = None if wanted.labels else family.at()
        metric = kind._make(wanted, family, measure)
        self._exposed.update(dict.fromkeys(shown, wanted.name))
        return metric

    @property
    def is_full(self) -> bool:
        """Tell whether the process has as many metrics as it may."""
        return len(self.metrics) >= MAX_METRICS

    def after_fork(self) -> None:
        """Start from nothing; in the child of a fork."""
        self._lock = threading.RLock()
        for metric in self.metrics.values():
            metric._forget()


def _described(kind: type[Metric], definition: Definition) -> str:
    labels = f" by {', '.join(definition.labels)}" if definition.labels else ""
    buckets = f" with buckets {definition.buckets}" if definition.buckets else ""
    return f"a {kind.kind} in {definition.unit!r}{labels}{buckets}"


REGISTRY: Final = Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=REGISTRY.after_fork)


def registry() -> Mapping[str, Metric]:
    """Return all metrics of this process by name."""
    return dict(REGISTRY.metrics)


def collect(metrics: Iterable[Metric] | None = None) -> list[MetricRow]:
    """Return every series of the metrics, of all there are by default, as they are now."""
    now = time.time()
    chosen = registry().values() if metrics is None else metrics
    return [row for metric in chosen for row in metric.rows(now)]
