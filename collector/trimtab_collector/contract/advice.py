"""Advice on settings: what is set, what to change, and why."""

from trimtab_collector.contract.analysis import Evidence, Place
from trimtab_collector.contract.body import Body, RangeBody

__all__ = ["Advice", "AdviceItem", "NotLookedAt", "SoundSetting"]


class AdviceItem(Body, kw_only=True):
    """One thing to change."""

    #: name of the rule
    type: str
    #: pool, postgresql, celery, http or cache
    area: str
    #: low, medium or high
    priority: str
    title: str
    #: what is set now, as it was measured
    set_: str
    change: str
    why: str
    impact: str
    #: low, medium or high
    effort: str
    where: Place
    evidence: list[Evidence]
    #: what to run or write; nothing is run by itself
    commands: list[str]


class SoundSetting(Body, kw_only=True):
    """A rule that looked and has nothing to change."""

    type: str
    area: str
    text: str


class NotLookedAt(Body, kw_only=True):
    """A rule that could not look, and why."""

    type: str
    area: str
    reason: str
    where: Place


class Advice(RangeBody, kw_only=True):
    """What to change, the most urgent first; what is fine; and what could not be checked."""

    advice: list[AdviceItem]
    advice_left_out: int
    fine: list[SoundSetting]
    not_looked_at: list[NotLookedAt]
    not_looked_at_left_out: int
