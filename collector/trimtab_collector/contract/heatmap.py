"""Requests by time and duration."""

from typing import Final

from trimtab_collector.contract.body import ResolvedBody
from trimtab_collector.contract.kinds import Choice, Whole
from trimtab_core.sketch import SCALE

__all__ = ["BUCKETS", "COARSEST", "FINEST", "Heatmap"]

#: at this scale a bucket is four doublings: ten hold any duration, the zero bucket among them
COARSEST: Final = -2
FINEST: Final = Choice(
    "scale",
    "The finest scale to use: at scale s a bucket is 2 ** (2 ** -s) wide.",
    tuple(str(scale) for scale in range(COARSEST, SCALE + 1)),
    str(SCALE),
)
BUCKETS: Final = Whole("buckets", "Most buckets of duration.", 10, 200, 60)


class Heatmap(ResolvedBody, kw_only=True):
    """Requests by time and duration: counts[i][j] of step times[i] and bucket j.

    A bucket has the durations over lower[j] and up to upper[j], ms; it is 2 ** (2 ** -scale) wide.
    With these as minDuration and maxDuration, and the step as the range, `/slow-requests` has the
    requests of a cell that were kept.
    """

    step: int | str
    scale: int
    requests: int
    lower: list[float]
    upper: list[float]
    #: start and end of each step
    times: list[str]
    ends: list[str]
    counts: list[list[int]]
