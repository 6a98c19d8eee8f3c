"""What the overview shows: one sentence, tiles beside what is usual, services, what happened."""

from typing import Final

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.kinds import Whole
from trimtab_collector.contract.pagelink import PageLink

__all__ = [
    "OVERVIEW_LIMIT",
    "Happening",
    "Overview",
    "OverviewSentence",
    "OverviewService",
    "SentenceLink",
    "Tile",
    "TimeShares",
    "UsualFigure",
]

OVERVIEW_LIMIT: Final = Whole(
    "limit", "Most services, the worst first; the others are counted as left out.", 1, 1000, 50
)


class SentenceLink(PageLink, kw_only=True):
    """A page that a piece of a sentence leads to; `text` is in `text` or `detail`."""

    text: str


class OverviewSentence(Body, kw_only=True):
    """What a colleague would say first.

    Severity is ok, warning, critical, empty (nothing came in the range) or late (nothing comes).
    """

    text: str
    severity: str
    #: ISO 8601; null where there is no beginning, or where it lies further back than is looked
    since: str | None
    #: how much, the likely cause, what others do; may be empty
    detail: str
    links: list[SentenceLink]


class UsualFigure(Body, kw_only=True):
    """What a figure usually is; against hourBefore, yesterday, lastWeek or earlier."""

    value: float
    against: str


class Tile(RangeBody, kw_only=True):
    """A figure between `from` and `to`, what is usual for it, and how it went over the range."""

    name: str
    #: 1/s, ms, ratio, or empty for a plain number
    unit: str
    value: float | None
    #: why there is no value
    why: str | None
    usual: UsualFigure | None
    #: from usual to value: a share of usual (ratio), or a difference (points of a share, number)
    change: float | None
    change_unit: str
    #: better, worse or ordinary
    judgement: str
    #: of CPU alone
    cores: float | None
    #: a value for each step of the range, null where there is none
    series: list[float | None]
    series_from: str
    #: seconds
    series_step: int


class TimeShares(Body, kw_only=True):
    """Where the time of requests goes, shares of 1; queue is the wait before the app."""

    app: float
    database: float
    cache: float
    external: float
    queue: float


class OverviewService(RangeBody, kw_only=True):
    """A service between `from` and `to`.

    State is ok, warning, critical, quiet (no requests) or lost (no process, or no word of any).
    """

    environment: str
    service: str
    state: str
    #: null where nobody knows, as its agents are silent
    instances: int | None
    #: null where nobody knows, as its agents are silent
    requests_per_second: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    error_rate: float | None
    #: null without requests
    shares: TimeShares | None
    #: p95 for each step of the range, as those of tiles
    p95_series: list[float | None]


class Happening(Body, kw_only=True):
    """Something that happened: alert, agent, gone, deploy, mark, damage, loss or nPlusOne."""

    #: null where it is not known when
    at: str | None
    #: null while it goes on, and for what has no length
    until: str | None
    kind: str
    #: critical, warning or info
    severity: str
    text: str
    detail: str
    link: PageLink | None


class Overview(RangeBody, kw_only=True):
    """What the overview shows of a range."""

    #: what figures are of that do not say otherwise: the last minutes of a range that ends now,
    #: else the whole range
    lately_from: str
    lately_to: str
    language: str
    sentence: OverviewSentence
    tiles: list[Tile]
    services: list[OverviewService]
    services_left_out: int
    #: the latest first, up to 20
    happened: list[Happening]
