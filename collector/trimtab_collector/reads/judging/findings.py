"""What rules return: findings without words, which `wording.py` puts into a language."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trimtab_collector.contract.analysis import Place
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.sites import NOWHERE, AppLine

__all__ = ["HIGH", "LOW", "MEDIUM", "RANKS", "Clue", "FoundIssue", "IssueRule", "Unjudged"]

LOW: Final = "low"
MEDIUM: Final = "medium"
HIGH: Final = "high"
#: severity, priority or effort -> place in the order
RANKS: Final = {LOW: 0, MEDIUM: 1, HIGH: 2}


@dataclass(frozen=True, slots=True)
class Clue:
    """A piece of evidence: a key of the phrases below `evidence.`, and what fills it."""

    key: str
    fields: Mapping[str, Any]
    where: Place
    query: str = ""
    line: AppLine = NOWHERE


@dataclass(frozen=True, slots=True)
class FoundIssue:
    """An issue; its texts are `issue.<type>.*`, filled with metrics and fields."""

    severity: str
    metrics: Mapping[str, float | None]
    where: Place
    clues: tuple[Clue, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: findings of one severity with the largest come first
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class Unjudged:
    """What a rule could not judge; its text is `unjudged.<key>`."""

    key: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    where: Place = field(default_factory=Place)


@dataclass(frozen=True, slots=True)
class IssueRule:
    """A row of the table of rules of the analysis; `type` is what its issues are called."""

    type: str
    #: the recommendation that its issues lead to: its texts are `recommend.<answer>.*`
    answer: str
    #: of the recommendation: low, medium or high
    effort: str
    #: looks at the facts of a range
    look: Callable[[Facts], Iterable[FoundIssue | Unjudged]]
