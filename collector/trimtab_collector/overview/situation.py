"""All that an overview is told from: what was measured, alerts, marks, and lines of thresholds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from trimtab_collector.contract.alerts import (
    AlertBody,
    AlertHistory,
    concerns,
    fires,
    is_told,
)
from trimtab_collector.contract.comparisons import COMPARE
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.marks import Mark, Marks
from trimtab_collector.overview.earlier import EarlierRanges
from trimtab_collector.overview.observed import EVERYTHING, Observed
from trimtab_collector.overview.usual import (
    CACHE_KIND,
    CPU_KIND,
    RATE_KIND,
    REQUEST_KINDS,
    BesideUsual,
    FigureKind,
)
from trimtab_collector.reads.reader import StoreReader

__all__ = ["Situation", "Sources"]

#: metric -> the lines of a warning and of a critical state
Lines = Callable[[], Mapping[str, tuple[float | None, float | None]]]


@dataclass(frozen=True, slots=True)
class Sources:
    """The parts that an overview asks; any thread."""

    reader: StoreReader
    marks: Marks
    alerts: AlertHistory
    lines: Lines = dict
    kept: EarlierRanges = field(default_factory=EarlierRanges)


class Situation:
    """What is known at the time of one overview; reading threads."""

    def __init__(self, sources: Sources, parameters: Parameters) -> None:
        self.observed = Observed(sources.reader, parameters, sources.kept)
        self._sources = sources
        self._parameters = parameters
        where = parameters.where
        self._of = (where.get("environment", ""), where.get("service", ""))

    @cached_property
    def alerts(self) -> list[AlertBody]:
        """Alerts that fire now, or, of a range that is past, that fired in it."""
        if not self.observed.spans.is_now:
            return self.fired
        return [each for each in self.open if fires(each)]

    @cached_property
    def told(self) -> list[AlertBody]:
        """Those of these alerts that nobody says should not be told of; a range is past for all."""
        if not self.observed.spans.is_now:
            return self.alerts
        return list(filter(is_told, self.open))

    @cached_property
    def pending(self) -> list[AlertBody]:
        """Alerts that do not fire yet, as their line has not been crossed for long enough."""
        return [each for each in self.open if each.state == "pending"]

    @cached_property
    def open(self) -> list[AlertBody]:
        """Alerts that are not over, of a range that ends now."""
        if not self.observed.spans.is_now:
            return []
        return [each for each in self._sources.alerts.open() if concerns(each, *self._of)]

    def is_recovering(self, alert: AlertBody) -> bool:
        """Tell whether an alert fires whose value is not beyond the line of its severity now."""
        compare = COMPARE.get(alert.operator)
        if not self.observed.spans.is_now or alert.value is None or compare is None:
            return False
        return not compare(alert.value, alert.threshold)

    def milder_line(self, alert: AlertBody) -> float | None:
        """Return the line of a warning that an alert which was critical is still beyond."""
        compare, line, value = COMPARE.get(alert.operator), alert.warning, alert.value
        if compare is None or line is None or value is None or line == alert.threshold:
            return None
        return line if compare(value, line) else None

    def severity_of(self, alert: AlertBody) -> str:
        """Return how bad an alert is now: one that recovers from critical is a warning."""
        return "warning" if self.is_recovering(alert) else alert.severity

    @cached_property
    def fired(self) -> list[AlertBody]:
        """Alerts that fired at any time within the range."""
        spans = self.observed.spans
        start_s, end_s = spans.series.selection.start_s, self._parameters.to_s
        found = self._sources.alerts.between(start_s, end_s)
        return [each for each in found if concerns(each, *self._of)]

    def marks(self, from_s: float, to_s: float, owner: tuple[str, ...] = ()) -> list[Mark]:
        """Return the marks of a range, the earliest first, of a service or of what was chosen."""
        environment, service = owner if len(owner) == 2 else self._of
        return self._sources.marks.between(from_s, to_s, environment, service)

    @cached_property
    def lines(self) -> Mapping[str, tuple[float | None, float | None]]:
        """Metric -> the lines of a warning and of a critical state."""
        return self._sources.lines()

    def span_of(self, kind: FigureKind) -> tuple[int, int]:
        """Return what the figure of a tile is of: start and end, epoch seconds."""
        observed = self.observed
        span = None
        if kind in REQUEST_KINDS:
            span = (observed.rate_span if kind is RATE_KIND else None) or observed.everything.span
        return span or (observed.spans.start_s, observed.spans.end_s)

    @cached_property
    def tiles(self) -> dict[FigureKind, tuple[float | None, BesideUsual | None]]:
        """Kind -> its value lately of everything that was chosen, and how usual that is."""
        every = self.observed.services[EVERYTHING]
        found = {
            kind: (None if not every.now["requests"] and (
                       kind is not RATE_KIND or not self.observed.is_rate_known)
                   else every.now[kind.column], every.judged.get(kind))
            for kind in REQUEST_KINDS
        }  # fmt: skip
        found[CPU_KIND] = self.observed.machines.cpu()
        found[CACHE_KIND] = self.observed.machines.hit_rate()
        return found
