"""What an overview is made of: figures of services and of all, lately and earlier, read once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from trimtab_collector.contract.overview import TimeShares
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.overview.arrivals import last_arrival
from trimtab_collector.overview.beginnings import beginnings
from trimtab_collector.overview.earlier import (
    EarlierFigures,
    EarlierRanges,
    StepFigures,
    baselines,
)
from trimtab_collector.overview.machines import Machines
from trimtab_collector.overview.shares import time_shares
from trimtab_collector.overview.spans import EARLIER, Spans, spans_of, stepped
from trimtab_collector.overview.streams import Streams
from trimtab_collector.overview.usual import (
    ORDINARY,
    P95_KIND,
    RATE_KIND,
    REQUEST_KINDS,
    WORSE,
    Baseline,
    BesideUsual,
    FigureKind,
    judged,
)
from trimtab_collector.reads.departures import GONE_TOLD_S
from trimtab_collector.reads.digits import significant
from trimtab_collector.reads.figures import Figures, no_requests
from trimtab_collector.reads.processes import Owner
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.store import Rows

__all__ = ["EVERYTHING", "Observed"]

#: all services together are nobody's
EVERYTHING: Final[Owner] = ()
_OWNER: Final = ("environment", "service")
#: steps with any requests without which an earlier range says nothing of those who had none
_STEPS: Final = 4
#: requests that ended so long before the processes did not end with them
_TOGETHER_S: Final = 120
#: steps that ended so long ago are read once for all who ask, until the next step ends
_SETTLED_S: Final = 300
#: whether anything was measured before a range is asked for ranges that begin within so long
_BEFORE_S: Final = 1800


@dataclass(slots=True)
class _ServiceFigures:
    """The figures of one service, or of all together."""

    #: of lately, by name of `Stats`
    now: Mapping[str, Any] = field(default_factory=no_requests)
    shares: TimeShares | None = None
    #: kind -> what it was earlier
    before: Mapping[FigureKind, Sequence[Baseline]] = field(default_factory=dict)
    judged: dict[FigureKind, BesideUsual | None] = field(default_factory=dict)
    #: when its requests stopped, epoch seconds; None while they come
    stopped_s: int | None = None
    #: what its figures are of, where that is not lately: start and end, epoch seconds
    span: tuple[int, int] | None = None


class Observed:
    """What was measured, for one overview; reading threads. Its reads raise TooMuchError."""

    def __init__(self, reader: StoreReader, parameters: Parameters, kept: EarlierRanges) -> None:
        self.reader = reader
        self._kept = kept
        self.parameters = parameters
        self.spans: Spans = spans_of(reader.ranges, parameters)
        self.machines = Machines(reader, parameters, self.spans)
        self.services: dict[Owner, _ServiceFigures] = {}
        lately, all_lately = self._read(self.spans.lately)
        self._add(lately)
        self._add(all_lately)
        self.services.setdefault(EVERYTHING, _ServiceFigures())
        self._begin()
        self._series = self._steps(self.spans.series)
        for owner, presence in self.machines.processes.items():
            if presence.gone_s is None or presence.lost_s is not None:
                self.services.setdefault(owner, _ServiceFigures())
        for name in self._series.p95:
            self.services.setdefault(name, _ServiceFigures())
        #: what the rate of all is of, where that is not lately: start and end, epoch seconds
        self.rate_span: tuple[int, int] | None = None
        #: whether any agent tells how many requests there are
        self.is_rate_known = True
        self._judge()
        self._stop()

    @property
    def everything(self) -> _ServiceFigures:
        """All requests together."""
        return self.services[EVERYTHING]

    @cached_property
    def owners(self) -> list[Owner]:
        """Every service of the range, in the order of their names."""
        return sorted(owner for owner in self.services if owner)

    def instances(self, owner: Owner) -> int:
        """Return how many instances a service has, by fresh gauges, else by its requests lately."""
        presence = self.machines.processes.get(owner)
        if presence is not None:
            return len(presence.instances)
        return self._instances.get(owner, 0) if self.services[owner].stopped_s is None else 0

    def is_lost(self, owner: Owner) -> bool:
        """Tell whether a service that was there a while has no process any more."""
        presence = self.machines.processes.get(owner)
        return presence is not None and (presence.lost_s is not None or presence.is_unknown)

    def is_dead(self, owner: Owner) -> bool:
        """Tell whether it is known that none of the processes of a service runs."""
        presence = self.machines.processes.get(owner)
        return presence is not None and presence.lost_s is not None and presence.is_watched

    def is_unknown(self, owner: Owner) -> bool:
        """Tell whether the agents of a service are silent: nobody knows how it is now."""
        presence = self.machines.processes.get(owner)
        return presence is not None and presence.is_unknown

    @cached_property
    def dead(self) -> list[tuple[int, Owner, bool]]:
        """Services that had requests and whose processes are gone, the first to end first.

        Each with when that was, and whether its requests came until then.
        """
        found = []
        for owner, presence in self.machines.processes.items():
            if presence.lost_s is None or not presence.is_watched:
                continue
            if self.last_request_s(owner) is None:
                continue
            stopped_s = self.services[owner].stopped_s
            together = stopped_s is not None and stopped_s >= presence.lost_s - _TOGETHER_S
            since_s = stopped_s if together and stopped_s is not None else presence.lost_s
            found.append((since_s, owner, together))
        return sorted(found)

    def last_request_s(self, owner: Owner) -> int | None:
        """Return the end of the last step of the range with requests of a service; None without."""
        steps = self._series.p95.get(owner)
        edges_s = self.spans.series.selection.edges_s
        return edges_s[edges_s.index(max(steps)) + 1] if steps else None

    @cached_property
    def _instances(self) -> dict[Owner, int]:
        rows = self.reader.rows(self.spans.lately, (*_OWNER, "instance"))
        return Counter(name[:2] for name in rows.groups)

    @cached_property
    def has_requests(self) -> bool:
        """Whether the range has any request."""
        return bool(self._series.p95) or bool(self.everything.now["requests"])

    def series_of(self, kind: FigureKind) -> list[float | None]:
        """Return a figure of all requests, for each step of the range."""
        starts = self.spans.series.selection.edges_s[:-1]
        values = self._series.together[kind]
        if kind is not RATE_KIND or not self.has_requests:
            return [values.get(t) for t in starts]
        first_s = 0 if starts[0] in values or self._had_data else min(values, default=0)
        return [values.get(t, 0.0) if t >= first_s else None for t in starts]

    @cached_property
    def _had_data(self) -> bool:
        """Whether anything was measured before the range, so that no requests means none."""
        start_s = self.spans.series.selection.start_s
        # Whoever asks in the same minutes gets what was found.
        whole = _part(self.spans.series, (0, max(1, start_s - start_s % _BEFORE_S)))
        where = self.parameters.where
        found = self._kept.get(
            "first", whole, lambda: last_arrival(self.reader.store, where, start_s)
        )
        return found is not None

    @cached_property
    def p95_series(self) -> dict[Owner, list[float | None]]:
        """Owner -> p95 for each step of the range."""
        starts = self.spans.series.selection.edges_s[:-1]
        return {
            owner: [values.get(t) for t in starts] for owner, values in self._series.p95.items()
        }

    def _steps(self, time_range: TimeRange) -> StepFigures:
        """Return the figures of steps; those that ended a while ago are read once for all."""
        edges_s = time_range.selection.edges_s
        old = [edge for edge in edges_s if edge <= self.spans.end_s - _SETTLED_S]
        if len(old) < _STEPS or not self.spans.is_now:
            return self._read_steps(time_range)
        earlier = _part(time_range, tuple(old))
        settled = self._kept.get("steps", earlier, lambda: self._read_steps(earlier))
        return settled.with_later(self._read_steps(_part(time_range, edges_s[len(old) - 1 :])))

    def _read_steps(self, time_range: TimeRange) -> StepFigures:
        each, everything = self._read(time_range)
        p95: dict[Owner, dict[int, float]] = {}
        columns = (each.names, each.rows.t.tolist(), significant(each["p95"]).tolist())
        for name, t, value in zip(*columns, strict=True):
            if value == value:
                p95.setdefault(name, {})[t] = value
        times = everything.rows.t.tolist()
        together = {
            kind: {
                t: value
                for t, value in zip(
                    times, significant(everything[kind.column]).tolist(), strict=True
                )
                if value == value
            }
            for kind in REQUEST_KINDS
        }
        return StepFigures(p95, together)

    def _read(self, time_range: TimeRange) -> tuple[Figures, Figures]:
        """Return the figures of each service, and of all together."""
        rows = self.reader.rows(time_range, (*_OWNER, "status_class"))
        return (
            self.reader.shown(time_range, rows),
            self.reader.shown(time_range, _together(rows)),
        )

    def _add(self, figures: Figures) -> None:
        shares = time_shares(figures)
        for name, now, share in zip(figures.names, figures.dicts(), shares, strict=True):
            self.services[name] = _ServiceFigures(now, share)

    def _begin(self) -> None:
        """Make the rates of services that began lately those of the time since then."""
        began = beginnings(self.reader, self.parameters, self.spans, self.machines.processes)
        busy = {owner for owner, each in self.services.items() if owner and each.now["requests"]}
        if busy and busy <= began.keys():
            began[EVERYTHING] = min(began[owner] for owner in busy)
        for owner, began_s in began.items():
            service = self.services.get(owner)
            if service is not None and service.now["requests"]:
                service.span = (began_s, self.spans.end_s)
                rate = service.now["requests"] / (self.spans.end_s - began_s)
                shown = float(significant(np.array([rate]))[0])
                service.now = {**service.now, "requests_per_second": shown}

    def _judge(self) -> None:
        found: dict[Owner, dict[FigureKind, list[Baseline]]] = {}
        for against, time_range in self.spans.before.items():
            earlier = self._baselines(against, time_range)
            for owner, was in earlier.baselines.items():
                for kind, baseline in was.items():
                    found.setdefault(owner, {}).setdefault(kind, []).append(baseline)
            if earlier.steps >= _STEPS:
                # One that had no request while others had is usually without.
                for owner in self.services.keys() - {*earlier.baselines, EVERYTHING}:
                    none = Baseline(against, 0.0, 0.0, 0.0)
                    found.setdefault(owner, {}).setdefault(RATE_KIND, []).append(none)
        is_new = any(P95_KIND not in found.get(owner, {}) for owner in self.services)
        if self.spans.recent is not None and is_new:
            # A collector or a service that is new must not be silent about its first bad hour.
            for owner, new in self._baselines(EARLIER, self.spans.recent).baselines.items():
                kinds = found.setdefault(owner, {})
                for kind, baseline in new.items():
                    kinds.setdefault(kind, [baseline])
        whole_s = self.spans.end_s - self.spans.start_s
        for owner, service in self.services.items():
            service.before = found.get(owner, {})
            requests, seconds = service.now["requests"], self.spans.lately.seconds
            if service.span is not None:
                seconds = min(seconds, service.span[1] - service.span[0])
            for kind in REQUEST_KINDS:
                weight = seconds if kind is RATE_KIND else requests
                service.judged[kind] = judged(
                    kind, service.now[kind.column], weight, service.before.get(kind, ())
                )
            rate = service.judged[RATE_KIND]
            if rate and rate.judgement == WORSE and self.spans.is_now and seconds < whole_s:
                # Less than all of it was watched: that says nothing of fewer.
                service.judged[RATE_KIND] = replace(rate, judgement=ORDINARY, reach=0.0)

    def _stop(self) -> None:
        """Note whose requests have stopped: their figures are of the time since then."""
        streams = Streams(self.reader, self.parameters, self.spans)
        unknown = [owner for owner in self.owners if self.is_unknown(owner)]
        for owner, presence in self.machines.processes.items():
            gone_s = presence.gone_s
            if gone_s is None or owner not in self._series.p95 or not presence.is_watched:
                continue
            if presence.lost_s is None and self.spans.end_s - gone_s > GONE_TOLD_S:
                continue
            presence.lost_s = gone_s
            if owner not in streams.halts:
                self._note_end(owner, gone_s)
        for owner, halt in streams.halts.items():
            unusual = halt.judged(self.services[owner].before.get(RATE_KIND, ()))
            if self.is_unknown(owner) or (owner == EVERYTHING and unknown):
                continue
            if self.is_lost(owner) or unusual is not None:
                self._note_stop(owner, halt.since_s, unusual)
        for owner in unknown:
            self._note_unknown(owner)
        named = [owner for owner in self.owners if self.services[owner].now["requests"]]
        halted = streams.halts.get(EVERYTHING)
        here = any(each.instances for each in self.machines.processes.values())
        if unknown and not named and not here:
            self.is_rate_known = False
            self.everything.now, self.everything.judged = no_requests(), {}
        elif halted is not None and not named:
            self._note_stop(EVERYTHING, halted.since_s, None)
        elif unknown or any(self.services[owner].stopped_s is not None for owner in self.owners):
            # What one of them had would be in the rate for five minutes.
            everything = self.everything
            rate, from_s = streams.recent(everything.span[0] if everything.span else 0)
            everything.now = {**everything.now, "requests_per_second": rate}
            self.rate_span = (from_s, self.spans.end_s)
            # What is usual is of all services and of five minutes: not of a minute of some.
            everything.judged[RATE_KIND] = None

    def _note_unknown(self, owner: Owner) -> None:
        """Note that nobody knows how a service is since its agents are silent."""
        service, heard_s = self.services[owner], self.machines.processes[owner].heard_s
        service.now, service.shares, service.judged = no_requests(), None, {}
        start_s = self.spans.start_s if heard_s is None else heard_s
        service.span = (start_s, max(start_s + 1, self.spans.end_s))

    def _note_end(self, owner: Owner, gone_s: int) -> None:
        """Note when the requests of a service ended that are too long ago for `Streams`."""
        end_s = self.last_request_s(owner)
        if end_s is None or end_s < gone_s - _TOGETHER_S:
            return
        edges_s = self.spans.series.selection.edges_s
        start_s = edges_s[edges_s.index(end_s) - 1]
        where = dict(zip(_OWNER, owner, strict=True))
        parameters = replace(self.parameters, where={**self.parameters.where, **where})
        steps = stepped(self.reader.ranges, parameters, start_s, end_s, WINDOW_S)
        starts = self.reader.rows(steps, ()).t.tolist()
        self._note_stop(owner, max(starts) + WINDOW_S if starts else end_s, None)

    def _note_stop(self, owner: Owner, since_s: int, unusual: BesideUsual | None) -> None:
        service = self.services[owner]
        service.now, service.shares, service.stopped_s = no_requests(), None, since_s
        service.span = (since_s, max(since_s + 1, self.spans.end_s))
        if unusual is None:
            baselines = service.before.get(RATE_KIND, ())
            unusual = judged(RATE_KIND, 0.0, self.spans.end_s - since_s, baselines)
        service.judged = {RATE_KIND: unusual}

    def _baselines(self, against: str, time_range: TimeRange) -> EarlierFigures:
        def read() -> EarlierFigures:
            return self._earlier(against, time_range)

        return self._kept.get("baselines", time_range, read)

    def _earlier(self, against: str, time_range: TimeRange) -> EarlierFigures:
        each, everything = self._read(time_range)
        steps = int((everything["requests"] > 0).sum())
        found = baselines(each, against, time_range, steps)
        found.update(baselines(everything, against, time_range, steps))
        return EarlierFigures(found, steps)


def _part(time_range: TimeRange, edges_s: tuple[int, ...]) -> TimeRange:
    return replace(time_range, selection=replace(time_range.selection, edges_s=edges_s))


def _together(rows: Rows) -> Rows:
    """Return rows by service and status class added up by class."""
    groups: dict[tuple[str, ...], int] = {}
    place = [groups.setdefault(name[2:], len(groups)) for name in rows.groups]
    key = np.asarray(place, np.int64)[rows.group] << 32 | rows.t
    merged = merge([replace(rows.columns, key=key)])
    t = merged.key & 0xFFFFFFFF
    return Rows(list(groups), merged.key >> 32, t, merged, rows.resolution_s)
