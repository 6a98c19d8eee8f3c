"""What is usual for a figure, and whether a value is out of the ordinary; pure.

A baseline is a range of earlier steps. What is usual is the median of its steps, and how far values
stray is 1.4826 times their median absolute deviation, which estimates a standard deviation and is
not moved by a few outliers (Hampel, 1974). Of three baselines the middle one counts, of two the one
nearer to the value: a value is out of the ordinary only where most of what it can be compared with
says so, and one odd hour, day or week makes no alarm.

A value is out of the ordinary when it lies further from what is usual than (a) six deviations, of
the middle one of the baselines and widened where it rests on fewer requests than the steps, (b)
four standard errors of a share of so few requests, and (c) the smallest change that matters for its
figure. Six, because a deviation of a dozen steps is often found too small. How often steady traffic
is judged wrong all the same stands in docs/api-overview.md; `./dev bench overview` measures it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import median
from typing import Final

__all__ = [
    "APDEX_KIND",
    "CACHE_KIND",
    "CPU_KIND",
    "ERRORS_KIND",
    "MEAN_KIND",
    "ORDINARY",
    "P95_KIND",
    "RATE_KIND",
    "REQUEST_KINDS",
    "WORSE",
    "Baseline",
    "BesideUsual",
    "FigureKind",
    "baseline_of",
    "judged",
]

_BETTER: Final = "better"
WORSE: Final = "worse"
ORDINARY: Final = "ordinary"

_DEVIATIONS: Final = 6.0
_ERRORS: Final = 4.0
_MAD: Final = 1.4826
#: requests without which a value, and a step of a baseline, says nothing
_FEWEST: Final = 50
_FEWEST_STEP: Final = 20
#: errors without which a share of them is no news
_FEWEST_ERRORS: Final = 10
#: steps without which a baseline is none
_STEPS: Final = 4


@dataclass(frozen=True, slots=True)
class FigureKind:
    """How a figure is judged."""

    name: str
    #: the figure of a row of requests; empty where it is none of requests
    column: str
    unit: str
    #: ratio, points or difference
    change_unit: str
    #: 1 where more is worse, -1 where less is
    worse: int
    #: the smallest change that matters: a share of what is usual where ratios are compared
    floor: float
    #: the first part of the keys of what is said when it is worse; empty where nothing is
    text_key: str = ""
    #: the metric of thresholds and alerts that judges the same; empty where none does
    metric: str = ""
    #: whether values are compared by ratio
    by_ratio: bool = False
    #: whether it is a share of requests or reads, so that few of them make it stray
    of_count: bool = False
    #: the smallest difference that matters in any case, in the unit
    least: float = 0.0
    #: whether a change for the better is told as well
    tells_better: bool = True
    #: what a value and a step must rest on
    fewest: int = _FEWEST
    fewest_step: int = _FEWEST_STEP


RATE_KIND: Final = FigureKind(
    *("requests", "requests_per_second", "1/s", "ratio", -1, 0.5),
    text_key="fewer",
    tells_better=False,
    fewest=0,
    fewest_step=0,
)
P95_KIND: Final = FigureKind(
    *("p95", "p95", "ms", "ratio", 1, 0.25),
    text_key="slower",
    metric="responseTime",
    by_ratio=True,
    least=5.0,
    fewest=100,
)
#: for routes that are few requests and most of the time, which a p95 does not see. Twice as long,
#: since the mean of a few hundred requests with a long tail strays by half: see `bench overview`
MEAN_KIND: Final = FigureKind(
    *("mean", "mean", "ms", "ratio", 1, 1.0),
    text_key="longer",
    metric="mean",
    by_ratio=True,
    least=5.0,
    tells_better=False,
    fewest=200,
)
ERRORS_KIND: Final = FigureKind(
    *("errorRate", "error_rate", "ratio", "points", 1, 0.01),
    text_key="failing",
    metric="errorRate",
    of_count=True,
)
APDEX_KIND: Final = FigureKind("apdex", "apdex", "", "difference", -1, 0.05, of_count=True)
CPU_KIND: Final = FigureKind(
    *("cpu", "", "ratio", "points", 1, 0.15), text_key="cpu", fewest=0, fewest_step=0
)
CACHE_KIND: Final = FigureKind(
    *("cacheHits", "", "ratio", "points", -1, 0.05), text_key="cacheHits", of_count=True
)
#: those of requests, which have a column
REQUEST_KINDS: Final = (RATE_KIND, P95_KIND, MEAN_KIND, ERRORS_KIND, APDEX_KIND)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a figure was in an earlier range."""

    against: str
    #: in the unit of the figure
    middle: float
    #: of the steps; of logarithms where ratios are compared
    deviation: float
    #: requests of a step
    weight: float


@dataclass(frozen=True, slots=True)
class BesideUsual:
    """A value beside what is usual for it."""

    usual: float
    against: str
    judgement: str
    #: how much of the way to being out of the ordinary for the worse it went; 0 the other way
    reach: float


def baseline_of(
    kind: FigureKind, against: str, values: Sequence[float], weights: Sequence[float]
) -> Baseline | None:
    """Return what a figure was in an earlier range; None with too few steps that say something.

    values of steps, nan where there are none, and the requests that each rests on.
    """
    pairs = [
        (value, weight)
        for value, weight in zip(values, weights, strict=True)
        if value == value and weight >= kind.fewest_step and (value > 0 or not kind.by_ratio)
    ]
    if len(pairs) < _STEPS:
        return None
    found = [log(value) if kind.by_ratio else value for value, _ in pairs]
    middle = median(found)
    deviation = _MAD * median(abs(each - middle) for each in found)
    weight = median(weight for _, weight in pairs)
    return Baseline(against, exp(middle) if kind.by_ratio else middle, deviation, weight)


def judged(
    kind: FigureKind,
    value: float | None,
    weight: float,
    baselines: Sequence[Baseline],
) -> BesideUsual | None:
    """Return a value beside what is usual; None where there is no value or nothing earlier.

    weight is the number of requests that the value rests on; of a rate, the seconds.
    """
    if value is None or value != value or not baselines:
        return None
    usual = _middle(kind, value, baselines)
    few = usual.middle * weight < _FEWEST if kind is RATE_KIND else weight < kind.fewest
    if kind is ERRORS_KIND and value > usual.middle:
        few = few or round(value * weight) < _FEWEST_ERRORS
    if few or (kind.by_ratio and value <= 0):
        return BesideUsual(usual.middle, usual.against, ORDINARY, 0.0)
    deviation = median(each.deviation for each in baselines)
    allowed = _allowed(kind, weight, usual, max(usual.deviation, deviation))
    moved = _scale(kind, value) - _scale(kind, usual.middle)
    reach = moved * kind.worse / allowed
    far = abs(reach) > 1 and abs(value - usual.middle) >= kind.least
    told = reach > 0 or kind.tells_better
    judgement = (WORSE if reach > 0 else _BETTER) if far and told else ORDINARY
    return BesideUsual(usual.middle, usual.against, judgement, max(0.0, reach))


def _scale(kind: FigureKind, value: float) -> float:
    return log(value) if kind.by_ratio else value


def _middle(kind: FigureKind, value: float, baselines: Sequence[Baseline]) -> Baseline:
    """Return the middle one of three, of two the one nearer to the value."""
    ordered = sorted(baselines, key=lambda each: each.middle)
    if len(ordered) != 2:
        return ordered[len(ordered) // 2]
    at = _scale(kind, value) if value > 0 or not kind.by_ratio else 0.0
    return min(ordered, key=lambda each: abs(_scale(kind, each.middle) - at))


def _allowed(kind: FigureKind, weight: float, usual: Baseline, deviation: float) -> float:
    """Return how far a value may lie from what is usual, positive."""
    fewer = sqrt(max(1.0, usual.weight / weight)) if weight else 1.0
    floor = log(1 + kind.floor) if kind.by_ratio else kind.floor
    if kind is RATE_KIND:
        # Less than half of it, and more than chance makes of so many.
        floor = usual.middle * kind.floor
    if kind.of_count and weight:
        share = min(1.0, max(0.0, usual.middle))
        error = sqrt((share * (1 - share) + 1 / weight) / weight)
        floor = max(floor, _ERRORS * error)
    return max(floor, _DEVIATIONS * deviation * fewer, 1e-12)
