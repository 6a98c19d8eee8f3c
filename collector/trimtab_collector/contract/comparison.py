"""Two sides beside each other: two ranges, or two values of a field over one range."""

from typing import Final

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.figures import RANKED, Stats
from trimtab_collector.contract.kinds import Choice, Instant, Text, Whole
from trimtab_collector.contract.parameters import TO

__all__ = [
    "AGAINST",
    "AGAINST_FROM",
    "AGAINST_TO",
    "BY",
    "COMPARED",
    "COMPARISON",
    "DAYS_BEFORE",
    "FIELD",
    "LEAST",
    "A",
    "B",
    "Compared",
    "ComparedRoute",
    "Comparison",
    "Side",
]

#: figures that grow with the length of a side
_AMOUNTS: Final = ("requests", "errors", "totalTime")
#: what routes may be ordered by -> the figure: what sides of different length have in common
COMPARED: Final = {
    **{name: figure for name, figure in RANKED.items() if name not in _AMOUNTS},
    "apdex": "apdex",
}
#: value of `against` -> how many days earlier; 0 is the range right before
DAYS_BEFORE: Final = {"previous": 0, "day": 1, "week": 7}

BY: Final = Choice("by", "Routes with the largest change of this come first.", COMPARED, "p95")
LEAST: Final = Whole(
    "minRequests", "Routes with fewer requests on a side come last.", 1, 1_000_000, 100
)
FIELD: Final = Text("field", "A filter whose values `a` and `b` are compared over one range.")
A: Final = Text("a", "The value of `field` on side a.")
B: Final = Text("b", "The value of `field` on side b.")
AGAINST: Final = Choice(
    "against", "The earlier range that is side a.", tuple(DAYS_BEFORE), "previous"
)
AGAINST_FROM: Final = Instant("againstFrom", "Start of side a, together with `againstTo`.")
AGAINST_TO: Final = Instant("againstTo", "End of side a, together with `againstFrom`.", TO.examples)
COMPARISON: Final = (BY, LEAST, FIELD, A, B, AGAINST, AGAINST_FROM, AGAINST_TO)


class Side(ResolvedBody, kw_only=True):
    """One side of a comparison: what it is of, and how much there is."""

    #: what its requests have in common: the filters of both sides, and `field`
    where: dict[str, str]
    seconds: float
    requests: int


class Compared(Body, kw_only=True):
    """Figures of both sides, b - a, and (b - a) / a; null where a side has no such figure."""

    a: Stats | None
    b: Stats | None
    difference: dict[str, float | None]
    change: dict[str, float | None]
    #: whether there are enough requests for the figure that routes are ordered by
    enough: bool


class ComparedRoute(Compared, kw_only=True):
    """One route and method on both sides."""

    environment: str
    service: str
    route: str
    method: str


class Comparison(Body, kw_only=True):
    """Two sides: all requests together, and route by route with the largest change first."""

    by: str
    min_requests: int
    a: Side
    b: Side
    overall: Compared
    routes: list[ComparedRoute]
    routes_left_out: int
    #: what limits the comparison, in sentences
    notes: list[str]
