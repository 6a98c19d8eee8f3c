"""How fast the budgets of objectives burn, over several windows at once.

Multi-window, multi-burn-rate alerts after the Site Reliability Workbook, chapter 5: a budget burns
when its failures come at a multiple of the allowed rate over a long window, so that it matters, and
over a short one, so that it still goes on.

Errors are counted exactly. The share of requests below a limit is read from sketches, whose buckets
are 2.2 % wide: the limit is exact to 1.1 %. A request that failed is bad however fast it was.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.contract.slos import SloSettings
from trimtab_collector.storage.columns import MIDDLES_US, Array
from trimtab_collector.storage.store import Rows, Selection, Store

__all__ = ["PAIRS", "Budget", "Burn", "Counted", "Pair", "budget", "burn", "count"]

_HOUR_S: Final = 3600
_DAY_S: Final = 86_400


class Pair(NamedTuple):
    """Two windows and the rate at which a budget must burn over both."""

    rate: float
    long_s: int
    short_s: int
    severity: str


#: the fastest first
PAIRS: Final = (
    Pair(14.4, _HOUR_S, 300, "critical"),
    Pair(6.0, 6 * _HOUR_S, 1800, "critical"),
    Pair(1.0, 3 * _DAY_S, 6 * _HOUR_S, "warning"),
)


class Counted(NamedTuple):
    """Requests of a time, and how many of them were bad."""

    requests: int
    bad: int

    def rate(self, target: float) -> float | None:
        """Return how fast they burn a budget, None without requests."""
        return self.bad / self.requests / (1 - target) if self.requests else None


class Burn(NamedTuple):
    """One pair of windows of one objective."""

    pair: Pair
    long: Counted
    short: Counted
    long_rate: float | None
    short_rate: float | None
    #: enough requests in the longer window
    enough: bool
    #: a target so loose that all requests may fail without reaching the rate never does
    reachable: bool

    @property
    def burns(self) -> bool:
        """Whether both windows are at the rate or over, by enough requests."""
        rates = (self.long_rate, self.short_rate)
        return self.enough and all(rate is not None and rate >= self.pair.rate for rate in rates)

    @property
    def value(self) -> float | None:
        """The lower rate of both windows; None where that says nothing."""
        if not self.enough or self.long_rate is None or self.short_rate is None:
            return None
        return min(self.long_rate, self.short_rate)


class Budget(NamedTuple):
    """The whole window of an objective."""

    from_s: int
    to_s: int
    counted: Counted
    #: bad requests that are allowed
    allowed: float

    @property
    def left(self) -> float | None:
        """The share that is left, below 0 when it is overdrawn; None without requests."""
        return 1 - self.counted.bad / self.allowed if self.counted.requests else None


def burn(store: Store, slo: SloSettings, now_s: float) -> list[Burn]:
    """Return how fast a budget burns, by each pair of windows that fits into the objective's.

    One read with a step for each edge: cheap enough for once a minute. The latest windows may still
    be on their way; they are not missed, only counted at the next call. Raises TooMuchError.
    """
    pairs = [pair for pair in PAIRS if pair.long_s <= slo.window_days * _DAY_S]
    spans = sorted({span for pair in pairs for span in (pair.long_s, pair.short_s)}, reverse=True)
    now = int(now_s) // 10 * 10 + 10
    starts = [_start(now, span) for span in spans]
    steps = count(store, slo, (*starts, now))
    since = {
        span: Counted(*(sum(column) for column in zip(*steps[place:], strict=True)))
        for place, span in enumerate(spans)
    }
    return [_burn(slo, pair, since[pair.long_s], since[pair.short_s]) for pair in pairs]


def budget(store: Store, slo: SloSettings, now_s: float, end_s: float | None = None) -> Budget:
    """Return the budget of the window that ends now, or at another time; raises TooMuchError."""
    to_s = int(now_s if end_s is None else end_s) // 10 * 10 + (10 if end_s is None else 0)
    from_s = _start(to_s, slo.window_days * _DAY_S)
    (counted,) = count(store, slo, (from_s, to_s))
    return Budget(from_s, to_s, counted, (1 - slo.target) * counted.requests)


def count(store: Store, slo: SloSettings, edges_s: Sequence[int]) -> list[Counted]:
    """Return the requests of each step, and the bad ones; raises TooMuchError."""
    fields = (("environment", slo.environment), ("service", slo.service), ("route", slo.route))
    where = {name: text for name, text in fields if text}
    latency = slo.objective == "latency" and slo.below is not None
    by = ("status_class",) if latency else ()
    rows = store.read(Selection(tuple(edges_s), by, where))
    requests = rows.columns.value("requests")
    bad = _slow(rows, 1000 * (slo.below or 0.0)) if latency else rows.columns.value("errors")
    step = np.searchsorted(np.array(edges_s), rows.t, "right") - 1
    steps = len(edges_s) - 1
    all_of, bad_of = (np.bincount(step, column, steps) for column in (requests, bad))
    return [Counted(int(a), int(b)) for a, b in zip(all_of, bad_of, strict=True)]


def _slow(rows: Rows, below_us: float) -> Array:
    """Return the bad requests of rows by status class: too slow, or failed."""
    columns = rows.columns
    owner = np.repeat(np.arange(len(columns.key)), columns.buckets)
    over = below_us < MIDDLES_US[columns.indexes]
    slow = np.bincount(owner, columns.counts * over, len(columns.key))
    failed = np.array([name[0] == "5xx" for name in rows.groups], bool)[rows.group]
    requests = columns.value("requests")
    bad: Array = np.where(failed, requests, np.maximum(slow, columns.value("errors")))
    return bad


def _start(end_s: int, span_s: int) -> int:
    """Return where a window begins: old windows are wide, and edges should not cut them."""
    grain = 10 if span_s <= _HOUR_S else 600 if span_s <= 6 * _HOUR_S else _HOUR_S
    return max(0, (end_s - span_s) // grain * grain)


def _burn(slo: SloSettings, pair: Pair, long: Counted, short: Counted) -> Burn:
    return Burn(
        pair,
        long,
        short,
        long.rate(slo.target),
        short.rate(slo.target),
        long.requests >= slo.min_requests,
        1 / (1 - slo.target) >= pair.rate,
    )
