"""When services were up: measured minute by minute from what processes and agents report.

A minute is out when no process of the service reported while the agents of its hosts did, or when
errors of its requests were critical: from when that alert fired until they were good again, not
until the alert was over. Where their response times were, the minute is up, and counted as too slow
if it has enough requests: among few, some slow ones say nothing of the service. A minute in which
those agents were silent too is unknown and counts neither way. A service exists from its first
sight until a day after its last one.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.errors import epoch
from trimtab_collector.reads.presence import Heartbeats
from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.store import Selection, Store

__all__ = ["DOWN", "FAILED", "Outage", "ServiceUptime", "uptime"]

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
#: what makes a service down where it is critical: how its own requests fare. Not a budget that
#: burns over hours, not what an analysis finds, not how a host does.
#: kinds of outages, the worst first: no process, its requests failed
DOWN: Final = "down"
FAILED: Final = "failed"
_SLOW: Final = "slow"
_METRICS: Final = {"errorRate": FAILED, "responseTime": _SLOW}
#: in a minute with fewer requests, nothing is too slow: a handful of them makes the p95
_LEAST_REQUESTS: Final = 60
#: the last minute is on its way
_LATE_S: Final = 30


class Outage(NamedTuple):
    """A time in which a service was not there for its callers, epoch seconds."""

    from_s: int
    to_s: int
    #: the worst of it: down or failed
    kind: str
    #: why: `no process`, or titles of critical alerts
    causes: tuple[str, ...]
    #: whether it goes on at the end of what is known
    open: bool


class ServiceUptime(NamedTuple):
    """What is known of one service, in seconds."""

    environment: str
    service: str
    up_s: int
    down_s: int
    unknown_s: int
    #: of the time up, too slow
    slow_s: int
    outages: tuple[Outage, ...]

    @property
    def share(self) -> float | None:
        """The share of the watched time in which it was up; None if it was never watched."""
        watched_s = self.up_s + self.down_s
        return self.up_s / watched_s if watched_s else None

    @property
    def recovery_s(self) -> float | None:
        """Mean length of the outages that ended, None without one."""
        ended = [outage.to_s - outage.from_s for outage in self.outages if not outage.open]
        return sum(ended) / len(ended) if ended else None


def uptime(
    store: Store,
    alerts: Sequence[AlertBody],
    from_s: int,
    to_s: int,
    now_s: float,
    where: Mapping[str, str],
) -> list[ServiceUptime]:
    """Return when the services chosen were up in a range; raises TooMuchError.

    where may name environment and service.
    """
    end_s = min(to_s, int(now_s - _LATE_S) // _MINUTE_S * _MINUTE_S)
    if end_s <= from_s:
        return []
    chosen = {name: where[name] for name in ("environment", "service") if name in where}
    edges_s = tuple(from_s + _MINUTE_S * i for i in range(ceil((end_s - from_s) / _MINUTE_S)))
    edges_s = (*edges_s, end_s)
    beats = Heartbeats(store, edges_s, chosen)
    runs = beats.runs
    hours_s = tuple(max(0, from_s - _HOUR_S * back) for back in range(24, -1, -1))
    before = {
        name: hours_s[int(np.flatnonzero(seen_in)[-1]) + 1]
        for name, seen_in in Heartbeats(store, hours_s, chosen).runs.items()
    }
    busy = _Busy(store, edges_s, chosen)
    return [
        _of_service(beats, busy, name, runs.get(name), before.get(name), alerts, edges_s)
        for name in sorted({*runs, *before})
    ]


class _Busy:
    """In which minutes services had enough requests; read once, and only if one was slow."""

    def __init__(self, store: Store, edges_s: Sequence[int], where: Mapping[str, str]) -> None:
        self._store = store
        self._edges_s = edges_s
        self._where = where
        self._of: dict[tuple[str, ...], Array] | None = None

    def minutes(self, name: tuple[str, ...]) -> Array:
        """Return the minutes in which a service had enough requests for a p95 that says something.

        These are all where the windows of that age are wider than a minute.
        """
        count = len(self._edges_s) - 1
        if self._of is None:
            by = ("environment", "service")
            rows = self._store.read(Selection(tuple(self._edges_s), by, self._where))
            if rows.resolution_s > _MINUTE_S:
                return np.ones(count, bool)
            step = np.searchsorted(np.array(self._edges_s), rows.t, "right") - 1
            requests = rows.columns.value("requests")
            self._of = {}
            for place, group in enumerate(rows.groups):
                mine = rows.group == place
                sums = np.bincount(step[mine], requests[mine], count)
                self._of[group[0], group[1]] = sums >= _LEAST_REQUESTS
        return self._of.get(name, np.zeros(count, bool))


def _of_service(
    beats: Heartbeats,
    busy: _Busy,
    name: tuple[str, ...],
    runs: Array | None,
    before_s: int | None,
    alerts: Sequence[AlertBody],
    edges_s: Sequence[int],
) -> ServiceUptime:
    count = len(edges_s) - 1
    runs = np.zeros(count, bool) if runs is None else runs
    exists = _exists(runs, edges_s, before_s)
    absent = exists & ~runs
    heard = np.ones(count, bool)
    if absent.any():
        told = beats.heard(name)
        heard = np.zeros(count, bool) if told is None else told
    unknown = absent & ~heard
    fired = _fired(alerts, name, edges_s, busy)
    slow = _minutes_of(fired, _SLOW, count)
    down = (absent & heard) | (_minutes_of(fired, FAILED, count) & exists & ~unknown)
    widths = np.diff(np.array(edges_s))
    environment, service = name
    return ServiceUptime(
        environment,
        service,
        up_s=int(widths[exists & ~down & ~unknown].sum()),
        down_s=int(widths[down].sum()),
        unknown_s=int(widths[unknown].sum()),
        slow_s=int(widths[slow & exists & ~down & ~unknown].sum()),
        outages=tuple(_outages(down, absent & heard, fired, edges_s)),
    )


def _minutes_of(fired: Sequence[tuple[str, str, Array]], kind: str, count: int) -> Array:
    """Return the minutes in which any alert of a kind fired."""
    found = np.zeros(count, bool)
    for each, _, mask in fired:
        if each == kind:
            found |= mask
    return found


def _exists(runs: Array, edges_s: Sequence[int], before_s: int | None) -> Array:
    """Return in which minutes a service is expected; before_s is when it was seen earlier."""
    places = np.flatnonzero(runs)
    if len(places):
        last_s = edges_s[int(places[-1]) + 1]
        first_s = edges_s[0] if before_s is not None else edges_s[int(places[0])]
    elif before_s is not None:
        first_s, last_s = edges_s[0], before_s
    else:
        return np.zeros(len(runs), bool)
    starts = np.array(edges_s[:-1])
    exists: Array = (starts >= first_s) & (starts < last_s + _DAY_S)
    return exists


def _fired(
    alerts: Sequence[AlertBody], name: tuple[str, ...], edges_s: Sequence[int], busy: _Busy
) -> list[tuple[str, str, Array]]:
    """Return kind and title of the critical alerts of a service, and the minutes that it was so."""
    found = []
    starts = np.array(edges_s)
    for alert in alerts:
        mine = alert.service == name[1] and alert.environment in ("", name[0])
        if not mine or alert.severity != "critical" or alert.type == "predictive":
            continue
        if alert.fired_at is None or alert.metric not in _METRICS:
            continue
        begin_s = epoch(alert.fired_at)
        # An alert stays open for a while after it is good again: that is no outage any more.
        good_at = alert.recovered_at or alert.resolved_at
        finish_s = edges_s[-1] if good_at is None else epoch(good_at)
        mask = (starts[1:] > begin_s) & (starts[:-1] < finish_s)
        kind = _METRICS[alert.metric]
        if kind == _SLOW and mask.any():
            mask &= busy.minutes(name)
        if mask.any():
            found.append((kind, alert.title, mask))
    return found


def _outages(
    down: Array, absent: Array, fired: Sequence[tuple[str, str, Array]], edges_s: Sequence[int]
) -> list[Outage]:
    turns = np.flatnonzero(np.diff(np.concatenate([[False], down, [False]]).astype(np.int8)))
    outages = []
    for begin, end in turns.reshape(-1, 2).tolist():
        causes = ["no process"] if absent[begin:end].any() else []
        kind = DOWN if causes else FAILED
        failed = (title for name, title, mask in fired if name == FAILED and mask[begin:end].any())
        causes += dict.fromkeys(failed)
        is_open = end == len(edges_s) - 1
        outages.append(Outage(edges_s[begin], edges_s[end], kind, tuple(causes[:5]), is_open))
    return outages
