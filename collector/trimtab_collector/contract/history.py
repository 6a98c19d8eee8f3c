"""Figures step by step."""

from typing import Final

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.figures import Stats
from trimtab_collector.contract.kinds import Choice, Fields, Whole
from trimtab_collector.contract.parameters import FIELDS, BackBy

__all__ = [
    "BACK",
    "GROUPS",
    "GROUP_BY",
    "PERIOD",
    "PERIODS",
    "GroupHistory",
    "GroupedHistory",
    "History",
    "HistoryRow",
]

#: period -> range and step, where neither is given, in seconds
PERIODS: Final = {"hourly": (3600, 60), "daily": (86_400, 600), "weekly": (7 * 86_400, 3600)}
PERIOD: Final = Choice("period", "Range and step, where neither is given.", PERIODS, "hourly")
BACK: Final = BackBy(PERIOD, {name: back_s for name, (back_s, _) in PERIODS.items()})
GROUP_BY: Final = Fields("groupBy", "A series for each of these, together.", FIELDS, ())
GROUPS: Final = Whole("limit", "Most groups; those with the most requests come first.", 1, 100, 20)


class HistoryRow(Stats, kw_only=True):
    """One step of history; rates are over the seconds of it that have arrived."""

    t: str
    seconds: float


class History(ResolvedBody, kw_only=True):
    """Steps that hold something; the others have no row."""

    period: str
    step: int | str
    series: list[HistoryRow]


class GroupHistory(Body, kw_only=True):
    """The steps of one group, and its requests in the whole range."""

    group: dict[str, str]
    requests: int
    series: list[HistoryRow]


class GroupedHistory(ResolvedBody, kw_only=True):
    """A series for each group, the one with the most requests first."""

    period: str
    step: int | str
    group_by: list[str]
    groups: list[GroupHistory]
    groups_left_out: int
