"""What a rule of the advisor is, and what it returns; the rules stand in `advice_*.py`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab_collector.contract.analysis import Place
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.judging.findings import Clue

__all__ = ["AdviceRule", "Advised", "Unseen", "is_measured"]


@dataclass(frozen=True, slots=True)
class Advised:
    """Something to change; its texts are `advice.<type>.*`, filled with the fields."""

    priority: str
    effort: str
    where: Place
    fields: Mapping[str, Any] = field(default_factory=dict)
    clues: tuple[Clue, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a rule would have to look at and could not; its text is `unseen.<key>`."""

    key: str
    where: Place = field(default_factory=Place)


@dataclass(frozen=True, slots=True)
class AdviceRule:
    """A row of the table of rules: one that yields nothing has found everything in order."""

    type: str
    area: str
    look: Callable[[Facts], Iterable[Advised | Unseen]]
    #: the field that is 0 or below where none is set: then its text is `advice.<type>.set_none`
    limit: str = ""


def is_measured(facts: Facts, *names: str) -> bool:
    """Tell whether there is any measure of one of these names."""
    return bool(facts.of(*names))
