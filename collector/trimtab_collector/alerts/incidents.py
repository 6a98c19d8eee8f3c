"""What people are told: alerts of one rule and service together, and no more often than helps.

An incident is open while any of its alerts fires. It is told when it opens, when it gets worse,
when more of it fires (not more often than every five minutes), again after each cooldown, and once
when all of it has ended. What must not be told now (silenced, hidden by a critical one, flapping)
is decided anew at each step, so that whatever is still true is told when the reason ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from trimtab_collector.alerts.machine import DISMISSED, EXPIRED, PENDING, Alert
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.contract.alerts import SILENCED, fires
from trimtab_collector.notify.notice import NoticeKind

__all__ = ["Incident", "Telling", "incident_due_s", "incident_stays", "tell"]

#: more of the same within this time is one message
_GATHER_S: Final = 300
#: openings within an hour after which an incident flaps
_FLAPS: Final = 4
_HOUR_S: Final = 3600
_FOREVER_S: Final = 10.0**12


@dataclass(slots=True)
class Incident:
    """What is told together: the alerts of one rule in one environment and service."""

    id: str
    rule_id: str
    environment: str
    service: str
    #: when its first alert fired, None while all are pending
    opened_s: float | None = None
    #: what was told last: level, 0 for nothing or for its end; when, and with how many alerts
    told_level: int = 0
    told_s: float = 0.0
    told_alerts: int = 0
    #: notices so far
    notices: int = 0
    #: when it opened in the last hour, also those that ended
    openings_s: list[float] = field(default_factory=list)
    flapping: bool = False
    #: why it is not told, else empty: silenced, inhibited, flapping
    held: str = ""
    #: over all openings since it was last told to have ended
    since_s: float | None = None
    worst: float | None = None
    #: of the worst alert, when it was last open
    value: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is found by."""
        return self.rule_id, self.environment, self.service


class Telling(NamedTuple):
    """One notice that is due, and the alerts that it is about."""

    kind: NoticeKind
    level: int
    incident: Incident
    alerts: tuple[Alert, ...]
    number: int


def tell(
    incident: Incident,
    rule: Rule,
    alerts: Sequence[Alert],
    t_s: float,
    silenced: Callable[[Alert], bool],
    *,
    inhibited: bool,
) -> Telling | None:
    """Return what is to be told of an incident at t_s, and note it as told.

    alerts are all of the incident, also those that have just ended.
    """
    open_ = [alert for alert in alerts if alert.is_open]
    heard = [alert for alert in open_ if not silenced(alert)]
    _count(incident, rule, open_, t_s, hears=bool(heard) and not inhibited)
    if not open_:
        return _ended(incident, alerts, t_s)
    level = max((alert.level for alert in heard), default=0)
    incident.held = _held(incident, level, heard=bool(heard), inhibited=inhibited)
    # What has recovered, or of which nothing is known, is not told as if it went on.
    now = [alert for alert in heard if fires(alert) and _is_known(alert, rule, t_s)]
    if incident.held:
        if incident.held == "flapping" and not incident.told_level and now:
            return _told(incident, "flapping", level, heard, t_s)
        return None
    kind = _due(incident, rule, heard, now, level, t_s)
    return None if kind is None else _told(incident, kind, level, heard, t_s)


def incident_due_s(incident: Incident, rule: Rule, alerts: Sequence[Alert], t_s: float) -> float:
    """Return the time before which nothing is told of an incident whose alerts do not move.

    It was last asked for at t_s, with these alerts of which none has ended, and told nothing.
    """
    if incident.held not in ("", "flapping"):
        return t_s
    times = [inf, *(at + _HOUR_S for at in incident.openings_s)]
    open_ = [alert for alert in alerts if alert.is_open]
    now = any(fires(alert) and _is_known(alert, rule, t_s) for alert in open_)
    if now and not incident.held:
        times.append(incident.told_s + rule.cooldown_s)
        if len(open_) > incident.told_alerts:
            times.append(incident.told_s + _GATHER_S)
    return min(times)


def incident_stays(incident: Incident, rule: Rule, alerts: Sequence[Alert]) -> None:
    """Move an incident on over steps before it is due, as `tell` at each of them would."""
    _measure(incident, rule, [alert for alert in alerts if alert.is_open])


def _measure(incident: Incident, rule: Rule, open_: Sequence[Alert]) -> None:
    """Note how much it is, of what fires now."""
    for alert in open_:
        if alert.worst is not None:
            incident.worst = rule.worse(alert.worst, incident.worst)
    if open_:
        incident.value = max(open_, key=lambda each: each.highest).value


def _is_known(alert: Alert, rule: Rule, t_s: float) -> bool:
    return rule.no_data == "alert" or alert.known_s >= t_s


def _count(
    incident: Incident, rule: Rule, open_: Sequence[Alert], t_s: float, *, hears: bool
) -> None:
    """Note that an incident opened, and whether it flaps; openings that nobody hears of do not."""
    incident.openings_s = [at for at in incident.openings_s if at > t_s - _HOUR_S]
    if open_ and incident.opened_s is None:
        incident.opened_s = min(alert.fired_s or t_s for alert in open_)
        if hears:
            incident.openings_s.append(t_s)
        if not incident.told_level and not incident.flapping:
            incident.since_s, incident.worst = min(alert.since_s for alert in open_), None
    _measure(incident, rule, open_)
    if len(incident.openings_s) > _FLAPS:
        incident.flapping = True
    elif incident.flapping and len(incident.openings_s) <= 1:
        # It is steady, one way or the other: what it is now is told at once.
        incident.flapping, incident.told_s = False, -_FOREVER_S


def _held(incident: Incident, level: int, *, heard: bool, inhibited: bool) -> str:
    if not heard:
        return SILENCED
    if inhibited:
        return "inhibited"
    # Worse than all that was told is told, whatever else.
    if incident.flapping and (not incident.told_level or level <= incident.told_level):
        return "flapping"
    return ""


def _due(
    incident: Incident,
    rule: Rule,
    heard: Sequence[Alert],
    now: Sequence[Alert],
    level: int,
    t_s: float,
) -> NoticeKind | None:
    if not now:
        return None
    passed_s = t_s - incident.told_s
    if not incident.told_level:
        return "firing"
    if level > incident.told_level:
        return "escalated"
    if len(heard) > incident.told_alerts and passed_s >= _GATHER_S:
        return "updated"
    unseen = any(not alert.acknowledged_by for alert in heard)
    if unseen and passed_s >= rule.cooldown_s:
        return "reminder"
    return None


def _ended(incident: Incident, alerts: Sequence[Alert], t_s: float) -> Telling | None:
    """Return the notice of the end, if its beginning was told; flapping ends after a quiet hour."""
    if any(alert.state == PENDING for alert in alerts) and incident.opened_s is None:
        return None
    incident.held = ""
    if incident.flapping:
        incident.opened_s = None
        incident.held = "flapping"
        return None
    level, incident.opened_s = incident.told_level, None
    if not level:
        return None
    ended = [alert for alert in alerts if alert.is_over and alert.fired_s is not None]
    # Nobody has seen recover what was dismissed, either.
    expired = bool(ended) and all(alert.state in (EXPIRED, DISMISSED) for alert in ended)
    telling = _told(incident, "expired" if expired else "resolved", level, ended, t_s)
    incident.told_level = 0
    return telling


def _told(
    incident: Incident, kind: NoticeKind, level: int, alerts: Sequence[Alert], t_s: float
) -> Telling:
    incident.notices += 1
    incident.told_level = max(level, 1)
    incident.told_s = t_s
    begins = kind in ("firing", "flapping")
    incident.told_alerts = max(0 if begins else incident.told_alerts, len(alerts))
    return Telling(kind, max(level, 1), incident, tuple(alerts), incident.notices)
