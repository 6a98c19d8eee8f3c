"""Advice on settings, from what was measured; a rule without evidence gives none."""

from typing import Final

from trimtab_collector.contract.advice import Advice
from trimtab_collector.contract.languages import language_of
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.reads.judging.advice_clients import CACHE_RULES, HTTP_RULES
from trimtab_collector.reads.judging.advice_pools import POOL_RULES
from trimtab_collector.reads.judging.advice_postgresql import POSTGRESQL_RULES
from trimtab_collector.reads.judging.advice_tasks import TASK_RULES
from trimtab_collector.reads.judging.advising import AdviceRule, Advised
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.judging.findings import RANKS
from trimtab_collector.reads.judging.wording import Phrasing
from trimtab_collector.reads.reader import StoreReader

__all__ = ["ADVICE_RULES", "advice", "advice_of"]

#: every rule; equally urgent pieces of advice are shown in this order
ADVICE_RULES: Final[tuple[AdviceRule, ...]] = (
    *POOL_RULES,
    *POSTGRESQL_RULES,
    *TASK_RULES,
    *HTTP_RULES,
    *CACHE_RULES,
)


def advice(reader: StoreReader, parameters: Parameters) -> Advice:
    """Return what to change in settings and why, what is fine, and what could not be checked."""
    limit = parameters.values.get(LIMIT.name, LIMIT.default)
    return advice_of(Facts(reader, parameters), language_of(parameters), limit)


def advice_of(facts: Facts, language: str, limit: int = LIMIT.default) -> Advice:
    """Return the advice that follows from what was measured, with at most limit pieces.

    Pure but for what facts read. Raises TooMuchError.
    """
    wording = Phrasing(language)
    advised, fine, unseen = [], [], []
    for rule in ADVICE_RULES:
        found = list(rule.look(facts))
        if not found:
            fine.append(wording.fine(rule))
        for each in found:
            if isinstance(each, Advised):
                advised.append(wording.advice(rule, each))
            else:
                unseen.append(wording.not_looked_at(rule, each))
    advised.sort(key=lambda each: -RANKS[each.priority])
    return Advice(
        **facts.range.fields(),
        advice=advised[:limit],
        advice_left_out=max(0, len(advised) - limit),
        fine=fine,
        not_looked_at=unseen[:limit],
        not_looked_at_left_out=max(0, len(unseen) - limit),
    )
