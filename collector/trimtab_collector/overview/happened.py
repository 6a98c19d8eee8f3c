"""What happened in a range, the latest first: alerts, services that ended, deploys, damage, N+1."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from trimtab_collector.contract.alerts import (
    AGENT_SILENCE,
    ANALYSIS,
    AlertBody,
    is_silenced,
    lasted_s,
)
from trimtab_collector.contract.errors import epoch
from trimtab_collector.contract.marks import DEPLOY
from trimtab_collector.contract.overview import Happening
from trimtab_collector.marks import Mark
from trimtab_collector.overview.situation import Situation
from trimtab_collector.overview.wording import (
    OverviewWords,
    capital,
    of_alert,
    of_service,
    page,
)
from trimtab_collector.reads.events import events, number
from trimtab_collector.reads.sites import AppLine, Helpers
from trimtab_collector.storage.store import EventSelection, GaugeSelection

__all__ = ["happened"]

_MOST: Final = 20
#: repeated queries looked at, the latest; and how far back one of the same is looked for
_EVENTS: Final = 500
_DAY_S: Final = 86_400
_DROPPED: Final = "trimtab.agent.spool.dropped"
_STEPS: Final = 60


def happened(situation: Situation, words: OverviewWords) -> list[Happening]:
    """Return up to 20 things that happened, the latest first; raises TooMuchError."""
    found: list[tuple[float, Happening]] = []
    for source in (_alerts, _gone, _marks, _losses, _repeated):
        found += source(situation, words)
    damage = list(_damage(situation, words))
    # What goes on is never left out for what is later.
    found.sort(key=lambda each: (not _goes_on(each[1]), -each[0]))
    shown = sorted(found[: max(0, _MOST - len(damage))], key=lambda each: -each[0])
    return [*damage, *(each for _, each in shown)][:_MOST]


def _goes_on(each: Happening) -> bool:
    return each.kind in ("alert", "agent", "gone") and each.until is None


def _alerts(situation: Situation, words: OverviewWords) -> Iterator[tuple[float, Happening]]:
    shown = situation.observed.parameters.shown
    now_s = situation.observed.parameters.now_s
    for alert in situation.fired:
        since_s = epoch(alert.since)
        ended = alert.recovered_at or alert.resolved_at
        ended_s = None if ended is None else epoch(ended)
        subject, lost = words.subject(alert), alert.metric == AGENT_SILENCE
        if lost:
            text = words.say(
                "happened.agent" if ended_s is None else "happened.agent_back",
                subject=capital(subject),
            )
        else:
            text = words.alert(alert, subject)
        yield (
            since_s,
            Happening(
                at=shown(since_s),
                until=None if ended_s is None else shown(ended_s),
                kind="agent" if lost else "alert",
                severity=alert.severity,
                text=text,
                detail=_detail(words, alert, lasted_s(alert, now_s)),
                link=of_alert(alert.id),
            ),
        )


def _detail(words: OverviewWords, alert: AlertBody, seconds: float) -> str:
    """Return how long an alert has lasted, and what people do about it."""
    long = words.shown.duration(seconds)
    if alert.metric == AGENT_SILENCE:
        parts = [words.say("happened.agent_lasted", long=long)]
    elif alert.recovered_at or alert.resolved_at:
        if alert.metric == ANALYSIS:
            parts = [words.say("happened.analysis_lasted", long=long)]
        else:
            worst = words.value(alert, alert.worst)
            parts = [words.say("happened.alert_lasted", long=long, worst=worst)]
    else:
        parts = [words.say("happened.alert_firing", long=long)]
        severe_s = epoch(alert.severity_since) if alert.severity_since else 0.0
        if severe_s > epoch(alert.since):
            severity = words.severity(alert.severity)
            at = words.at(severe_s)
            parts.append(words.say("happened.alert_severe", severity=severity, at=at))
        if alert.no_data is not None:
            at = words.at(epoch(alert.last_data))
            parts.append(words.say("happened.alert_unheard", at=at))
    if is_silenced(alert):
        parts.append(words.say("happened.alert_silenced"))
    if alert.acknowledged_by:
        name = words.name(alert.acknowledged_by)
        parts.append(words.say("happened.alert_acknowledged", name=name))
    return "; ".join(parts)


def _gone(situation: Situation, words: OverviewWords) -> Iterator[tuple[float, Happening]]:
    """Yield which services had requests and have no process any more."""
    observed = situation.observed
    for since_s, owner, _ in observed.dead:
        yield (
            since_s,
            Happening(
                at=observed.parameters.shown(since_s),
                until=None,
                kind="gone",
                severity="critical",
                text=words.say("happened.gone", service=words.name(owner[1])),
                detail=words.name(owner[0]) if owner[0] else "",
                link=of_service(owner),
            ),
        )


def _marks(situation: Situation, words: OverviewWords) -> Iterator[tuple[float, Happening]]:
    start_s = situation.observed.spans.series.selection.start_s
    for mark in situation.marks(start_s, situation.observed.parameters.to_s)[-_MOST:]:
        yield (
            mark.at_s,
            Happening(
                at=situation.observed.parameters.shown(mark.at_s),
                until=None,
                kind="deploy" if mark.kind == DEPLOY else "mark",
                severity="info",
                text=_of_mark(words, mark),
                detail=words.name(mark.detail) if mark.detail else _by(words, mark),
                link=of_service((mark.environment, mark.service)) if mark.service else None,
            ),
        )


def _of_mark(words: OverviewWords, mark: Mark) -> str:
    name = words.name(mark.name)
    service = words.name(mark.service) if mark.service else ""
    if mark.kind == DEPLOY:
        if service:
            return words.say("happened.deploy", service=service, version=name)
        return words.say("happened.deploy_all", version=name)
    if service:
        return words.say("happened.mark_of", service=service, name=name)
    return words.say("happened.mark", name=name)


def _by(words: OverviewWords, mark: Mark) -> str:
    return words.say("happened.mark_by", name=words.name(mark.by)) if mark.by else ""


def _damage(situation: Situation, words: OverviewWords) -> Iterator[Happening]:
    """Yield what cannot be read any more; when that happened is not known."""
    if not situation.observed.spans.is_now:
        return
    for part, why in situation.observed.reader.store.health().damage.items():
        yield Happening(
            at=None,
            until=None,
            kind="damage",
            severity="critical",
            text=words.say("happened.damage", part=words.name(part)),
            detail=words.name(why),
            link=None,
        )


def _losses(situation: Situation, words: OverviewWords) -> Iterator[tuple[float, Happening]]:
    """Yield which agents dropped batches of their spool, counters that only grow."""
    spans = situation.observed.spans
    edges_s = spans.series.selection.edges_s
    rows = situation.observed.reader.store.read_gauges(
        GaugeSelection(edges_s, (_DROPPED,), {}, ("name", "agent"))
    )
    grown: dict[str, tuple[float, int]] = {}
    before: dict[str, float] = {}
    for group, t, most in zip(rows.group.tolist(), rows.t.tolist(), rows.max.tolist(), strict=True):
        agent = rows.groups[group][1]
        last = before.get(agent)
        if last is not None and most > last:
            grown[agent] = (grown.get(agent, (0.0, 0))[0] + most - last, t)
        before[agent] = most
    for agent, (count, t) in grown.items():
        subject = capital(words.part("who.agent", name=words.name(agent)))
        yield (
            float(t),
            Happening(
                at=situation.observed.parameters.shown(t),
                until=None,
                kind="loss",
                severity="warning",
                text=words.say("happened.loss", subject=subject, count=int(count)),
                detail=words.say("happened.loss_detail"),
                link=page("agents", {"agent": agent}),
            ),
        )


def _repeated(situation: Situation, words: OverviewWords) -> Iterator[tuple[float, Happening]]:
    """Yield queries that a line repeats within requests, where it did not the day before."""
    observed = situation.observed
    time_range = observed.spans.series
    found: dict[tuple[str, ...], list[tuple[float, Mapping[str, Any]]]] = {}
    lines: dict[tuple[str, ...], AppLine] = {}
    helpers = Helpers(observed.reader, time_range)
    for row, event in events(observed.reader, time_range, "n_plus_one", _EVENTS):
        key: tuple[str, ...] = (row.environment, row.service, *_place(event))
        lines.setdefault(key, helpers.line(row, event))
        found.setdefault(key, []).append((event["at_us"] / 1e6, event))
    if not found:
        return
    start_s = time_range.selection.start_s
    where = observed.parameters.where
    earlier = observed.reader.store.read_events(
        EventSelection(max(0, start_s - _DAY_S), start_s, "n_plus_one", where, _EVENTS)
    )
    known = {(row.environment, row.service, *_place(row.event)) for row in earlier}
    for key, some in found.items():
        if key in known:
            continue
        environment, service, method, route, *_ = key
        first_s = min(at_s for at_s, _ in some)
        most = max(int(number(event, "count")) for _, event in some)
        detail = words.say(
            "happened.n_plus_one_site", site=_site(words, lines[key]), requests=len(some)
        )
        yield (
            first_s,
            Happening(
                at=observed.parameters.shown(first_s),
                until=None,
                kind="nPlusOne",
                severity="warning",
                text=words.say(
                    "happened.n_plus_one",
                    route=words.route(method, route),
                    service=words.name(service),
                    count=most,
                ),
                detail=detail,
                link=of_service((environment, service), route=route),
            ),
        )


def _site(words: OverviewWords, line: AppLine) -> str:
    """Return the line to look at first, and what it goes by way of or was called from."""
    first = words.name(line.first)
    if line.helper:
        return words.say("line.helper", line=first, helper=words.name(line.helper))
    if line.caller:
        return words.say("line.caller", line=first, caller=words.name(line.caller))
    return first


def _place(event: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(event.get(name) or "") for name in ("method", "route", "site", "caller"))
