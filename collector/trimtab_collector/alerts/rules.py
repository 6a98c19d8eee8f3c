"""A rule: which figure is held against which lines, for how long, and who is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Final

from trimtab_collector.contract.comparisons import COMPARE
from trimtab_collector.storage.columns import Array

__all__ = ["LEVELS", "NO_DATA", "OPERATORS", "TYPES", "Rule", "severity_of"]

#: severities, the mild one first; level 1 is the first of them
LEVELS: Final = ("warning", "critical")
TYPES: Final = ("performance", "predictive", "critical")
#: what a series without data does to its alert: nothing, fire, or count as recovered
NO_DATA: Final = ("keep", "alert", "ok")

OPERATORS: Final = tuple(COMPARE)


def severity_of(level: int) -> str:
    """Return the severity of a level, 1 for the first."""
    return LEVELS[level - 1]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as it is judged. Durations are in seconds of the event clock."""

    id: str
    name: str
    metric: str
    operator: str = "gt"
    #: the lines, by level: warning, critical; None where there is none
    lines: tuple[float | None, float | None] = (None, None)
    type: str = "performance"
    #: how a metric without a figure of its own is read, such as p95 or rate; empty: its default
    figure: str = ""
    #: a value is over the last so many seconds
    over_s: int = 60
    #: how long a line must be crossed before its level fires, by level
    for_s: tuple[int, int] = (300, 300)
    keep_firing_s: int = 900
    #: an alert recovers beyond this line only; None: beyond the lowest line
    recovery: float | None = None
    no_data: str = "keep"
    #: an alert ends when no value of it has been known for so long
    expires_s: int = 86_400
    #: no rate, share or percentile of fewer requests is judged
    min_requests: int = 20
    group_by: tuple[str, ...] = ("environment", "service")
    where: Mapping[str, str] = field(default_factory=dict)
    #: how often a firing alert is told again
    cooldown_s: int = 14_400
    recipients: tuple[str, ...] = ()
    enabled: bool = True
    description: str = ""
    #: default, api or file: who may change it
    source: str = "api"

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that have a line, ascending."""
        warning, critical = self.lines
        if warning is None:
            return () if critical is None else (2,)
        return (1,) if critical is None else (1, 2)

    @property
    def lowest(self) -> int:
        """The level whose line is crossed first."""
        return self.levels[0]

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields that its figure is read by: those of a series, and those that are filtered."""
        return (*self.group_by, *(name for name in self.where if name not in self.group_by))

    @property
    def is_named(self) -> bool:
        """Whether its filter names the one series that it judges."""
        return all(self.where.get(name) for name in self.group_by)

    @property
    def subject(self) -> tuple[object, ...]:
        """What it judges: with another subject, open alerts of a rule mean nothing."""
        where = tuple(sorted(self.where.items()))
        return self.metric, self.figure, self.operator, self.group_by, where, self.levels

    def line(self, level: int) -> float:
        """Return the line of a level, nan, which nothing crosses, where there is none."""
        line = self.lines[level - 1]
        return nan if line is None else line

    def crossed(self, values: Array, level: int) -> Array:
        """Return which values cross the line of a level; nan crosses none."""
        found: Array = COMPARE[self.operator](values, self.line(level))
        return found

    def crosses(self, value: float, level: int) -> bool:
        """Return whether one value crosses the line of a level."""
        return bool(COMPARE[self.operator](value, self.line(level)))

    @property
    def recovery_line(self) -> float:
        """The line that an alert recovers beyond."""
        return self.line(self.lowest) if self.recovery is None else self.recovery

    def recovered(self, value: float) -> bool:
        """Return whether a value is on the good side of the line of recovery."""
        return not COMPARE[self.operator](value, self.recovery_line)

    def lasting(self, values: Array) -> Array:
        """Return which values are not on the good side of the line of recovery."""
        found: Array = COMPARE[self.operator](values, self.recovery_line)
        return found

    def worse(self, a: float, b: float | None) -> float:
        """Return which of two values is further over the lines."""
        if b is None:
            return a
        return min(a, b) if self.operator in ("lt", "lte") else max(a, b)
