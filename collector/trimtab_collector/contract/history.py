"""Figures step by step."""

from typing import Final

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.figures import Stats
from trimtab_collector.contract.kinds import Choice, Fields, Whole
from trimtab_collector.contract.marks import MarkBody
from trimtab_collector.contract.parameters import FIELDS, BackBy

__all__ = [
    "BACK",
    "EMPTY",
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


EMPTY: Final = Choice(
    "empty",
    "What steps without requests have: no row, or one that says why there are none.",
    ("none", "rows"),
    "none",
)


class HistoryRow(Stats, kw_only=True):
    """One step of history; rates are over the seconds of it that arrived and were watched.

    `state` is measured, quiet (no requests), down (no process ran) or gap: nothing could arrive,
    and every figure is null.
    """

    t: str
    seconds: float
    state: str = "measured"
    requests: int | None  # type: ignore[assignment]
    errors: int | None  # type: ignore[assignment]
    requests_per_second: float | None  # type: ignore[assignment]
    bytes: int | None  # type: ignore[assignment]
    web_sockets: int | None  # type: ignore[assignment]
    event_streams: int | None  # type: ignore[assignment]
    status_codes: dict[str, int] | None  # type: ignore[assignment]


class History(ResolvedBody, kw_only=True):
    """Steps that hold something; the others have a row only if that was asked for."""

    period: str
    step: int | str
    series: list[HistoryRow]
    #: what happened within the range, the latest 100, the earliest first
    marks: list[MarkBody]


class GroupHistory(Body, kw_only=True):
    """The steps of one group, and its figures of the whole range."""

    group: dict[str, str]
    #: as in `overall`
    requests: int
    #: of all its requests together: percentiles of steps cannot be added up
    overall: Stats
    series: list[HistoryRow]


class GroupedHistory(ResolvedBody, kw_only=True):
    """A series for each group, the one with the most requests first."""

    period: str
    step: int | str
    group_by: list[str]
    groups: list[GroupHistory]
    groups_left_out: int
    #: what happened within the range, the latest 100, the earliest first
    marks: list[MarkBody]
