"""Alerts as the API shows them, and as notices for people elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Final
from urllib.parse import urlencode

from trimtab_collector.alerts.configs import unit_of
from trimtab_collector.alerts.incidents import Incident, Telling
from trimtab_collector.alerts.machine import Alert, labels_of
from trimtab_collector.alerts.metrics import SIGNALS
from trimtab_collector.alerts.rules import Rule, severity_of
from trimtab_collector.contract.alerts import AGENT_MISSING, ANALYSIS, THRESHOLD, AlertBody, is_told
from trimtab_collector.contract.comparisons import COMPARE
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.pagelink import PageLink, address_of
from trimtab_collector.contract.quantities import QUANTITIES
from trimtab_collector.notify.notice import Change, Member, Notice, Promise, Where
from trimtab_core.addresses import API

__all__ = ["body_of", "is_current", "notice_of", "rule_page"]

_MOST_MEMBERS: Final = 10
_LONGEST_ADDRESS: Final = 1000
#: a value that is older is said to be
_LATE_S: Final = 60
#: rules that are shaped by what they judge -> the page that shows that
_PAGES_BUILT_IN: Final = {"slo": "objectives", "analysis": "advice"}
#: how alerts ended, by their state
_LAST: Final = {
    "resolved": "recovered",
    "expired": "was not seen to recover",
    "dismissed": "was dismissed with its agent",
}
#: labels of what is no place of requests
_SUBJECTS: Final = ("agent", "part", "slo")


def where_of(labels: Mapping[str, str]) -> Where:
    """Return what labels name."""
    kind = next((name for name in _SUBJECTS if labels.get(name)), "")
    return Where(
        environment=labels.get("environment", ""),
        service=labels.get("service", ""),
        route=labels.get("route", ""),
        instance=labels.get("instance", ""),
        version=labels.get("version", ""),
        subject=labels.get(kind, ""),
        subject_kind=kind,
    )


def body_of(
    rule: Rule, alert: Alert, incident: Incident | None, at_s: float | None = None
) -> AlertBody:
    """Return an alert as the API shows it; at_s is how far it was judged, None once it is over."""
    labels = labels_of(rule, alert)
    where = where_of(labels)
    level = alert.level or _coming(rule, alert)
    shown = alert.highest if alert.is_over and alert.highest else level
    named = (where.service, where.route, where.instance, where.subject)
    place = " ".join(filter(None, named)) or "everything"
    severe_s = None if alert.is_over else alert.level_since_s(level)
    body = AlertBody(
        id=alert.id,
        incident=alert.group_id,
        rule_id=rule.id,
        rule_name=rule.name,
        type="critical" if rule.type == "performance" and shown == 2 else rule.type,
        severity=severity_of(shown),
        state=alert.state,
        metric=rule.metric,
        operator=rule.operator,
        threshold=rule.line(shown),
        warning=rule.lines[0],
        critical=rule.lines[1],
        value=alert.value,
        worst=alert.worst,
        over=None if rule.metric in SIGNALS else rule.over_s,
        unit=unit_of(rule),
        environment=where.environment,
        service=where.service,
        route=where.route,
        instance=where.instance,
        version=where.version,
        labels=labels,
        since=instant(alert.since_s),
        severity_since=None if severe_s is None else instant(severe_s),
        fired_at=None if alert.fired_s is None else instant(alert.fired_s),
        resolved_at=None if alert.ended_s is None else instant(alert.ended_s),
        recovered_at=None if alert.good_s is None else instant(alert.good_s),
        last_data=instant(alert.known_s),
        acknowledged_by=alert.acknowledged_by or None,
        acknowledged_at=None if alert.acknowledged_s is None else instant(alert.acknowledged_s),
        held=(incident.held if incident else "") or (AGENT_MISSING if alert.waits else None),
        no_data=None,
        title=f"{place}: {rule.name}",
        message="",
        metadata=None,
    )
    body.told = is_told(body)
    late_s = 0.0 if at_s is None or alert.is_over else at_s - alert.known_s
    if late_s > _LATE_S:
        body.no_data = rule.no_data
        late = f"last value {QUANTITIES['en'].duration(late_s)} ago"
        body.title, body.message = f"{body.title} ({late})", f"{_sentence(body)}; {late}"
    else:
        body.message = _sentence(body)
    return body


def notice_of(
    rule: Rule,
    telling: Telling,
    t_s: float,
    changes: Sequence[Change] = (),
    promise: Promise | None = None,
    line: float | None = None,
) -> Notice:
    """Return the notice of what is due to be told; line is the one crossed, if not the rule's."""
    incident = telling.incident
    ordered = sorted(telling.alerts, key=lambda each: (-each.highest, _size(rule, each)))
    members = tuple(
        Member(where_of(labels_of(rule, each)), each.value, severity_of(each.level or 1),
               each.since_s)
        for each in ordered[:_MOST_MEMBERS]
    )  # fmt: skip
    over = telling.kind in ("resolved", "expired")
    first = ordered[0] if ordered else None
    labels = {"environment": incident.environment, "service": incident.service}
    if first is not None and not (over and incident.told_alerts > 1):
        # Figures are those of the worst: so is the place. At the end of several it is all of them.
        labels = {**labels, **labels_of(rule, first)}
    level = telling.level
    times = [each.level_since_s(level) for each in ordered if each.level >= level]
    began = [at for at in times if at is not None]
    since_s = incident.since_s if over or not began else min(began)
    if since_s is None:
        since_s = min((each.since_s for each in ordered), default=t_s)
    # It lasted until it was good again, not until that had been so for a while.
    good = [each.good_s for each in ordered if each.good_s is not None]
    ended_s = max(good, default=t_s) if over else None
    found = Notice(
        key=f"{incident.id}:{telling.number}",
        thread=incident.id,
        kind=telling.kind,
        severity=severity_of(telling.level),
        type="critical" if rule.type == "performance" and telling.level == 2 else rule.type,
        rule_id=rule.id,
        rule_name=rule.name,
        metric=rule.metric,
        operator=rule.operator,
        threshold=_line(rule, level, first, over=over) if line is None else line,
        unit=unit_of(rule),
        value=first.value if first else incident.value,
        worst=incident.worst,
        where=where_of(labels),
        members=members,
        members_left_out=max(0, len(ordered) - _MOST_MEMBERS),
        since_s=since_s,
        at_s=t_s,
        ended_s=ended_s,
        changes=tuple(changes),
        promise=promise,
        description=rule.description,
        recipients=rule.recipients,
        links=(*_pages(rule, first, labels, since_s, t_s), *_links(rule, labels, since_s, t_s)),
    )  # fmt: skip
    return _without_figures(found) if rule.metric == ANALYSIS else found


def _without_figures(found: Notice) -> Notice:
    """Return a notice of the analysis: its levels are severities, and say nothing as numbers."""
    members = tuple(replace(each, value=None) for each in found.members)
    return replace(found, value=None, worst=None, threshold=None, members=members)


def _line(rule: Rule, level: int, first: Alert | None, *, over: bool) -> float:
    """Return the line that a notice speaks of: the highest one that the value crosses now.

    At the end it is the lowest: once the value was on its good side, it was over.
    """
    if over:
        return rule.line(rule.lowest)
    lines = [each for each in rule.levels if each <= level] or [rule.lowest]
    if first is not None and first.value is not None:
        crossed = [each for each in lines if rule.crosses(first.value, each)]
        lines = crossed or lines
    return rule.line(lines[-1])


def _pages(
    rule: Rule, first: Alert | None, labels: Mapping[str, str], since_s: float, t_s: float
) -> tuple[tuple[str, str], ...]:
    """Return the pages of the dashboard that show more."""
    around = {"from": instant(since_s - 900), "to": instant(t_s)}
    named = {name: labels[name] for name in ("environment", "service", "route") if labels.get(name)}
    pages = [rule_page(rule, named)]
    if first is not None:
        pages.insert(0, PageLink(page="alert", params={"id": first.id}))
    if named.get("service"):
        page = "route" if "route" in named else "service"
        pages.append(PageLink(page=page, params={**named, **around}))
    elif labels.get("instance"):
        pages.append(PageLink(page="hosts", params={"instance": labels["instance"], **around}))
    elif labels.get("agent"):
        pages.append(PageLink(page="agents", params={"agent": labels["agent"]}))
    found = ((each.page, address_of(each)) for each in pages)
    # A longer one would not be kept whole, and lead to another place.
    return tuple(each for each in found if len(each[1]) <= _LONGEST_ADDRESS)


def rule_page(rule: Rule, named: Mapping[str, str]) -> PageLink:
    """Return the page on which a rule is set: those that are always there are no configurations."""
    owner = {name: text for name, text in named.items() if name != "route"}
    if rule.id.startswith(THRESHOLD):
        return PageLink(page="thresholds", params={"metric": rule.metric})
    if rule.id in _PAGES_BUILT_IN:
        return PageLink(page=_PAGES_BUILT_IN[rule.id], params=owner)
    return PageLink(page="rule", params={"id": rule.id})


def _links(
    rule: Rule, labels: Mapping[str, str], since_s: float, t_s: float
) -> tuple[tuple[str, str], ...]:
    named = {name: labels[name] for name in ("environment", "service") if labels.get(name)}
    around = {"from": instant(since_s - 900), "to": instant(t_s)}
    links = [("alerts", f"{API}/alerts?{urlencode({**named, 'state': 'all', **around})}")]
    if named.get("service"):
        links.append(("routes", f"{API}/routes?{urlencode({**named, **around})}"))
        if not rule.metric.startswith(("gauge:", "measure:")):
            links.append(("explain", f"{API}/explain?{urlencode({**named, **around})}"))
    return tuple(links)


def _coming(rule: Rule, alert: Alert) -> int:
    """Return the level that a pending alert would fire with."""
    crossed = [level for level in rule.levels if alert.crossed_s[level - 1] is not None]
    return max(crossed, default=rule.lowest)


def _size(rule: Rule, alert: Alert) -> float:
    """Return what sorts alerts: the worst first, one without a value last."""
    if alert.worst is None:
        return inf
    return alert.worst if rule.operator in ("lt", "lte") else -alert.worst


def _of_analysis(body: AlertBody) -> str:
    """Return what an alert of the analysis says: its levels are severities, and no figures."""
    found = f"the analysis found {body.severity} issues from {body.since}"
    if body.state in _LAST:
        return f"{found} to {body.recovered_at or body.resolved_at} and {_LAST[body.state]}"
    if body.state == "keeping":
        return f"{found} to {body.recovered_at}"
    fired = f", fired {body.fired_at}" if body.fired_at else ""
    if not _crosses(body):
        return f"{found} on{fired}; it finds none as severe now"
    return f"the analysis finds {body.severity} issues since {body.since}{fired}"


def _crosses(body: AlertBody) -> bool:
    return body.value is None or COMPARE[body.operator](body.value, body.threshold)


def is_current(body: AlertBody) -> bool:
    """Whether an alert is beyond the line of its severity by its last value."""
    return body.state in ("pending", "firing") and _crosses(body)


def _sentence(body: AlertBody) -> str:
    if body.metric == ANALYSIS:
        return _of_analysis(body)
    signs = {"gt": "over", "gte": "at or over", "lt": "under", "lte": "at or under", "eq": "at"}
    shown = QUANTITIES["en"]
    sign, line = signs[body.operator], shown.quantity(body.threshold, body.unit)
    value, worst = (
        None if each is None else shown.beside(each, body.threshold, body.unit)
        for each in (body.value, body.worst)
    )
    value = "unknown" if value is None else value
    worst = "" if worst is None else f"; the worst was {worst}"
    if body.state in _LAST:
        last = _LAST[body.state]
        ended = body.recovered_at or body.resolved_at
        return f"{body.metric} was {sign} {line} from {body.since} to {ended} and {last}{worst}"
    was = f"{body.metric} was {sign} {line}, now {value}"
    if body.state == "keeping":
        return f"{was}, good since {body.recovered_at}{worst}"
    fired = f", fired {body.fired_at}" if body.fired_at else ""
    if not _crosses(body):
        return f"{was}; since {body.since}{fired}{worst}"
    return f"{body.metric} is {value} since {body.since}{fired}; {sign} {line} is {body.severity}"
