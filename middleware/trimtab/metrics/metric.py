"""What all metrics of an app have in common, and how they are read: `registry`, `collect`.

    orders = Counter("shop.orders", "Orders placed.", "{order}", labels=["country"])
    orders.inc(country="se")
    swedish = orders.labels(country="se")      # keep it where it is hot
    swedish.inc()

A metric is made once: the same name gives the same object again. What is added goes to the agent
by itself (`trimtab.metrics.measures`), can be read back here, and can be stored elsewhere too
(`trimtab.sinks`). Every method may be called from any thread or task, and counts exactly. A child
of a fork starts from nothing.

A metric has at most `cap` series. When it has, a series that nobody has added to for some minutes
makes room for a new one, and begins from nothing when it is used again; where all are in use, new
ones are the series `other` (`trimtab.tables` has the rule).

Adding to a metric without labels, or to one that `labels` returned, costs about 0.2 us.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Self, cast

from trimtab.metrics.measures import Measure, MeasureFamily
from trimtab.metrics.registry import Definition
from trimtab.runtime import PROCESS
from trimtab_core import names
from trimtab_core.measures import MAX_TEXT, OTHER, Delta

__all__ = [
    "CAP",
    "Distribution",
    "Metric",
    "MetricRow",
    "collect",
    "registry",
]

#: Series of a metric, unless it says otherwise.
CAP: Final = 1000


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


class Metric:
    """Base of all metrics: one with label names is a family of series, any other is one series.

    Raises ValueError, with what to do, for an invalid name or unit, and for a name that already
    belongs to another kind of metric, or has another unit or other labels.
    """

    __slots__ = (
        "_add",
        "_bound",
        "_children",
        "_family",
        "_lock",
        "_measure",
        "definition",
    )  # fmt: skip
    kind: ClassVar[str]
    #: the measure's kind
    measured: ClassVar[str]
    definition: Definition
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
        return PROCESS.registry.get(
            cls, Definition(name, description, unit, tuple(labels), (), cap)
        )

    @classmethod
    def make(cls, definition: Definition, family: MeasureFamily, measure: Measure | None) -> Self:
        metric: Self = object.__new__(cls)
        metric.definition = definition
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
        return self.definition.name

    @property
    def description(self) -> str:
        """Return what it was first described as."""
        return self.definition.description

    @property
    def unit(self) -> str:
        """Return its unit."""
        return self.definition.unit

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the names of its labels."""
        return self.definition.labels

    @property
    def over_cap(self) -> int:
        """Return how often labels beyond the cap were asked for, and `other` given."""
        return self._family.over_cap

    @property
    def is_other(self) -> bool:
        """Tell whether it is the series of all labels beyond the cap."""
        return self._measure is not None and self._measure.is_other

    def labels(self, **labels: object) -> Self:
        """Return the series of these labels, the same one each time; values become text.

        Raises ValueError unless each label has a value.
        """
        if tuple(labels) == self.definition.labels:
            values = tuple(map(str, labels.values()))
        else:
            values = self._values(labels)
        found = self._children.get(values)
        return self._new_child(values) if found is None else found

    def _values(self, labels: Mapping[str, object]) -> tuple[str, ...]:
        expected = self.definition.labels
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
                if measure.is_other:
                    # Over the cap: not kept under its own values, of which there is no end.
                    values = (OTHER,) * len(values)
                    found = self._children.get(values)
                elif len(self._children) > self.definition.cap * 9 // 8:
                    self._forget_idle()
            if found is None:
                found = self._children[values] = self.make(self.definition, self._family, measure)
            return found

    def _forget_idle(self) -> None:
        """Forget series that lost their place to others; one that is held can still be added to."""
        for values, child in list(self._children.items()):
            if child._measure is not None and not child._measure.is_kept:
                self._children.pop(values, None)

    def _attributes(self, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(zip(self.definition.labels, values, strict=True)))

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
        """Start from nothing: when new, and in the child of a fork, whose locks may be held."""
        # A signal handler or a finalizer may come while this very thread holds it.
        self._lock = threading.RLock()
        for child in self._children.values():
            child._forget()

    def after_fork(self) -> None:
        """Start from nothing; in the child of a fork."""
        self._forget()

    def _series(self) -> Iterator[tuple[Mapping[str, str], Self]]:
        if self._bound:
            yield {}, self
        for values, child in list(self._children.items()):
            yield dict(zip(self.definition.labels, values, strict=True)), child

    def rows(self, now: float | None = None) -> list[MetricRow]:
        """Return its series as they are; now is seconds since 1970."""
        at = time.time() if now is None else now
        is_ = self.definition
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


def registry() -> Mapping[str, Metric]:
    """Return all metrics of this process by name."""
    return cast(Mapping[str, Metric], dict(PROCESS.registry.metrics))


def collect(metrics: Iterable[Metric] | None = None) -> list[MetricRow]:
    """Return every series of the metrics, of all there are by default, as they are now."""
    now = time.time()
    chosen = registry().values() if metrics is None else metrics
    return [row for metric in chosen for row in metric.rows(now)]
