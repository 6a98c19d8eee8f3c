"""The metrics of a process by name: one object for one name, and no two of one Prometheus name."""

import threading
from typing import ClassVar, Final, NamedTuple, Protocol, Self, TypeVar, cast

from trimtab.metrics.measures import Measure, MeasureFamily, Measures
from trimtab_core import names

__all__ = ["MAX_METRICS", "Definition", "Named", "Registry"]

#: Metrics of a process.
MAX_METRICS: Final = 2000


class Definition(NamedTuple):
    """What a metric was made with."""

    name: str
    description: str
    unit: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...]
    cap: int


class Named(Protocol):
    """What a registry holds: a metric."""

    kind: ClassVar[str]
    #: the measure's kind
    measured: ClassVar[str]

    @property
    def definition(self) -> Definition:
        """Return what it was made with."""
        ...

    @classmethod
    def make(cls, definition: Definition, family: MeasureFamily, measure: Measure | None) -> Self:
        """Return a new one; measure is None for one with labels."""
        ...

    def after_fork(self) -> None:
        """Start from nothing; in the child of a fork."""
        ...


_M = TypeVar("_M", bound=Named)


class Registry:
    """All metrics of a process, by name; any thread."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._lock = threading.RLock()
        self.metrics: dict[str, Named] = {}
        self._exposed: dict[str, str] = {}
        #: calls without an object for names beyond the most there may be
        self.over_cap = 0

    def get(self, kind: type[_M], wanted: Definition) -> _M:
        """Return the metric of a name, a new one if needed; raises as Metric does."""
        with self._lock:
            found = self.metrics.get(wanted.name)
            if found is None:
                found = self.metrics[wanted.name] = self._new(kind, wanted)
            before = found.definition
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
        family = self._measures.family(wanted.name, kind.measured, wanted.unit, max(1, wanted.cap))
        measure = None if wanted.labels else family.at()
        metric = kind.make(wanted, family, measure)
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
            metric.after_fork()


def _described(kind: type[Named], definition: Definition) -> str:
    labels = f" by {', '.join(definition.labels)}" if definition.labels else ""
    buckets = f" with buckets {definition.buckets}" if definition.buckets else ""
    return f"a {kind.kind} in {definition.unit!r}{labels}{buckets}"
