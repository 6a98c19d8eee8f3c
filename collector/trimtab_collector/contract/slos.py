"""Service level objectives: what is promised, and how much of the budget for failures is left."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.kinds import PathName

__all__ = ["SLO_ID", "BudgetBody", "BurnPair", "SloBody", "SloList", "SloSettings"]

SLO_ID: Final = PathName("id", "The id of an objective.")

_Text = Annotated[str, Meta(max_length=256)]


class SloSettings(Body, kw_only=True, forbid_unknown_fields=True):
    """What is promised of some requests."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    #: share of good requests that is promised
    target: Annotated[float, Meta(ge=0.5, lt=1, extra={"noun": "a share", "example": 0.999})]
    #: what makes a request good: no error; or no error and at most `below` ms
    objective: Literal["errors", "latency"] = "errors"
    #: ms, of the objective latency
    below: Annotated[float, Meta(gt=0, le=3_600_000)] | None = None
    #: the promise is about the last so many days
    window_days: Annotated[int, Meta(ge=1, le=90)] = 30
    #: a burn rate of fewer requests than these in its longer window is not judged
    min_requests: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 300
    environment: _Text = ""
    service: _Text = ""
    route: _Text = ""


class BurnPair(Body, kw_only=True):
    """How fast the budget burns over two windows; 1 uses it up exactly within the objective's."""

    severity: str
    #: it burns when both windows are at this rate or over
    rate: float
    long_seconds: int
    short_seconds: int
    #: null without requests
    long_rate: float | None
    short_rate: float | None
    #: requests of the longer window
    requests: int
    #: whether there are enough requests to judge
    enough: bool
    burns: bool
    #: whether so loose a target can burn that fast at all
    reachable: bool


class BudgetBody(Body, kw_only=True):
    """The failures that the target allows in its window, and those that there were."""

    from_: str
    to: str
    requests: int
    bad: int
    #: share of good requests; null without requests
    good_share: float | None
    #: failures that are allowed of so many requests
    allowed: float
    #: share of the budget that is left, below 0 when it is overdrawn; null without requests
    left: float | None


class SloBody(Body, kw_only=True):
    """An objective, its budget and how fast that burns."""

    id: str
    settings: SloSettings
    #: api or file; one from a file is changed there
    source: str
    changed_by: str | None
    changed_at: str | None
    budget: BudgetBody
    burn_rates: list[BurnPair]
    #: what is not exact, in a sentence
    note: str | None


class SloList(Body, kw_only=True):
    """All objectives, by name."""

    slos: list[SloBody]
