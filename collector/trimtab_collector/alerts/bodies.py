"""Alerts as the API shows them, and as notices for people elsewhere."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final
from urllib.parse import urlencode

from trimtab_collector.alerts.configs import unit_of
from trimtab_collector.alerts.incidents import Incident, Telling
from trimtab_collector.alerts.machine import Alert
from trimtab_collector.alerts.rules import Rule, severity_of
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.quantities import QUANTITIES
from trimtab_collector.notify.notice import Change, Member, Notice, Where
from trimtab_core.addresses import API

__all__ = ["body_of", "labels_of", "notice_of"]

_MOST_MEMBERS: Final = 10


def labels_of(rule: Rule, alert: Alert) -> dict[str, str]:
    """Return every label of an alert: those it is told apart by, and those of its rule's filter."""
    return {**rule.where, **dict(zip(rule.group_by, alert.labels, strict=True))}


def where_of(labels: Mapping[str, str]) -> Where:
    """Return what labels name; what has no field of its own stands for the instance."""
    named = [labels.get(name, "") for name in ("instance", "agent", "part", "slo")]
    return Where(
        environment=labels.get("environment", ""),
        service=labels.get("service", ""),
        route=labels.get("route", ""),
        instance=next(filter(None, named), ""),
        version=labels.get("version", ""),
    )


def body_of(rule: Rule, alert: Alert, incident: Incident | None) -> AlertBody:
    """Return an alert as the API shows it."""
    labels = labels_of(rule, alert)
    where = where_of(labels)
    level = alert.level or _coming(rule, alert)
    shown = alert.highest if alert.is_over and alert.highest else level
    place = " ".join(filter(None, (where.service, where.route, where.instance))) or "everything"
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
        value=alert.value,
        worst=alert.worst,
        unit=unit_of(rule),
        environment=where.environment,
        service=where.service,
        route=where.route,
        instance=where.instance,
        version=where.version,
        labels=labels,
        since=instant(alert.since_s),
        fired_at=None if alert.fired_s is None else instant(alert.fired_s),
        resolved_at=None if alert.ended_s is None else instant(alert.ended_s),
        last_data=instant(alert.known_s),
        acknowledged_by=alert.acknowledged_by or None,
        acknowledged_at=None if alert.acknowledged_s is None else instant(alert.acknowledged_s),
        held=(incident.held or None) if incident else None,
        title=f"{place}: {rule.name}",
        message="",
        metadata=None,
    )
    body.message = _sentence(body)
    return body


def notice_of(
    rule: Rule, telling: Telling, t_s: float, changes: Sequence[Change], worst: float | None
) -> Notice:
    """Return the notice of what is due to be told."""
    incident = telling.incident
    ordered = sorted(telling.alerts, key=lambda each: (-each.highest, _size(rule, each)))
    members = tuple(
        Member(where_of(labels_of(rule, each)), each.value, severity_of(each.level or 1),
               each.fired_s or each.since_s)
        for each in ordered[:_MOST_MEMBERS]
    )  # fmt: skip
    first = ordered[0] if ordered else None
    labels = labels_of(rule, first) if first else {}
    labels = {**labels, "environment": incident.environment, "service": incident.service}
    if len(ordered) > 1:
        # Several of them: the place is what they share.
        shared = [labels_of(rule, each) for each in ordered]
        labels = {name: text for name, text in labels.items()
                  if all(each.get(name, "") == text for each in shared)}  # fmt: skip
    over = telling.kind in ("resolved", "expired")
    since_s = min((each.since_s for each in ordered), default=incident.told_s)
    return Notice(
        key=f"{incident.id}:{telling.number}",
        thread=incident.id,
        kind=telling.kind,
        severity=severity_of(telling.level),
        type="critical" if rule.type == "performance" and telling.level == 2 else rule.type,
        rule_id=rule.id,
        rule_name=rule.name,
        metric=rule.metric,
        operator=rule.operator,
        threshold=rule.line(telling.level) if rule.lines[telling.level - 1] is not None
        else rule.line(rule.lowest),
        unit=unit_of(rule),
        value=first.value if first else None,
        worst=worst,
        where=where_of(labels),
        members=members,
        members_left_out=max(0, len(ordered) - _MOST_MEMBERS),
        since_s=since_s,
        at_s=t_s,
        ended_s=t_s if over else None,
        changes=tuple(changes),
        description=rule.description,
        recipients=rule.recipients,
        links=_links(rule, labels, since_s, t_s),
    )  # fmt: skip


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


def _sentence(body: AlertBody) -> str:
    signs = {"gt": "over", "gte": "at or over", "lt": "under", "lte": "at or under", "eq": "at"}
    shown = QUANTITIES["en"]
    if body.value is None:
        value, line = "unknown", shown.quantity(body.threshold, body.unit)
    else:
        value, line = shown.pair(body.value, body.threshold, body.unit)
    return (
        f"{body.metric} is {value}, {signs[body.operator]} {line} is {body.severity}; "
        f"{body.state} since {body.since}"
    )
