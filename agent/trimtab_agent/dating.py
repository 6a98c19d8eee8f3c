"""When something in an app happened, by the agent's clock, and into which windows it goes.

What an app adds to its measures travels with the span of time in which it was added. A span is
within one window as a rule. While its agent was away for long, an app joins spans (of up to an
hour): what was added in one is shared evenly among the windows in it, because nobody knows more.
"""

from functools import lru_cache
from math import gcd
from typing import Final

from trimtab_core.deltas import Events
from trimtab_core.measures import Delta

__all__ = ["ages_of", "moment_of", "moments_of", "share"]

_CLOCKS_AGREE_S: Final = 2.0
#: A monotonic clock below this was started for a time namespace, or is not a clock at all.
_FRESH_CLOCK_US: Final = 60_000_000
_MOST_AGE_S: Final = 86_400.0
#: Older than what the collector takes: then a clock says nothing.
_ANY_AGE_S: Final = 7 * 86_400.0
#: Longest span: apps join what they keep to spans of up to an hour.
_MOST_SPAN_S: Final = 7200.0
#: Windows among which a span is shared: an hour becomes minutes, as in what the collector keeps.
_MOST_SHARES: Final = 60


def moment_of(wall_us: int, mono_us: int, now_s: float, now_mono_us: int = 0) -> float:
    """Return when an app read its clocks, in seconds of the agent's wall clock.

    now_s is that wall clock, now_mono_us the monotonic one, 0 where the app may be on another
    machine. Where the wall clocks of app and agent disagree, one of them has jumped, and the
    monotonic clocks decide. A time in the future, or more than seven days ago, counts as now.
    """
    age_s = now_s - wall_us / 1e6
    mono_age_s = (now_mono_us - mono_us) / 1e6
    if (
        abs(age_s - mono_age_s) > _CLOCKS_AGREE_S
        and mono_us > _FRESH_CLOCK_US
        and 0 <= mono_age_s < _MOST_AGE_S
    ):
        age_s = mono_age_s
    return now_s - (age_s if 0 < age_s < _ANY_AGE_S else 0.0)


def ages_of(events: Events, now_s: float, now_mono_us: int = 0) -> list[float]:
    """Return how many seconds ago each event of a frame was, by the clocks of `moment_of`."""
    if not events.wall_us:
        return [now_s - moment_of(event["at_us"], 0, now_s) for event in events.events]
    sent_s = moment_of(events.wall_us, events.mono_us, now_s, now_mono_us)
    return [
        now_s - moment_of(round(sent_s * 1e6) - events.wall_us + event["at_us"], 0, now_s)
        for event in events.events
    ]


def moments_of(end_s: float, span_s: float, window_s: int) -> list[float]:
    """Return a moment in each window among which a span that ended at end_s is shared.

    As many windows as the span has room for, one at least; of more than 60, every second, third
    and so on.
    """
    span_s = min(span_s, _MOST_SPAN_S)
    windows = max(1, round(span_s / window_s))
    # The middle of the first part: the ends of a span may be a little beside those of a window.
    first = end_s - span_s + min(span_s, window_s) / 2
    stride = -(-windows // _MOST_SHARES)
    return [max(0.0, first + window_s * number) for number in range(0, windows, stride)]


def share(delta: Delta, parts: int, index: int) -> Delta | None:
    """Return one of that many parts of a delta, all of equal size; None for one without a value.

    Counts, the counts of buckets and whole sums add up exactly to those of the delta. Each part has
    the least and the largest value of the whole. A delta that is not well formed is its first part.
    """
    if parts < 2 or (delta.buckets and sum(delta.buckets.values()) != delta.count):
        return delta if not index else None
    # What does not go into all parts goes into the first ones by rank, which lie far apart.
    rank = _ranks(parts)[index]
    each, rest = divmod(delta.count, parts)
    count = each + (rank < rest)
    if not count:
        return None
    before = each * rank + min(rank, rest)
    added = _upto(delta, before + count) - _upto(delta, before)
    part = Delta(count, added, delta.min, delta.max, delta.last)
    turn = 0
    for bucket, values in delta.buckets.items():
        each, rest = divmod(values, parts)
        # The rest goes round, from bucket to bucket: so the counts of parts come out even.
        some = each + ((rank - turn) % parts < rest)
        if some:
            part.buckets[bucket] = some
        turn += rest
    return part


def _upto(delta: Delta, count: int) -> float:
    """Return the sum of the first values, as if all were equal but for whole numbers."""
    if delta.sum.is_integer() and abs(delta.sum) < 2**53:
        return float(int(delta.sum) * count // delta.count)
    return delta.sum if count == delta.count else delta.sum * (count / delta.count)


@lru_cache(maxsize=64)
def _ranks(parts: int) -> tuple[int, ...]:
    """Return a rank for each place, so that the first few ranks lie far from one another."""
    step = max(1, round(parts * 0.618))
    while gcd(step, parts) != 1:
        step += 1
    ranks = [0] * parts
    for rank in range(parts):
        ranks[rank * step % parts] = rank
    return tuple(ranks)
