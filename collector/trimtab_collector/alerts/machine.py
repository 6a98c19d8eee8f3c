"""The life of one alert: pending, firing, keeping, resolved or expired.

Pure: time is the event clock, the ends of the windows that are judged, and every value that is
known is given once. A value that is not known (nothing arrived, or too few requests) moves nothing:
it neither fires nor resolves, whatever the wall clock says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from trimtab_collector.alerts.rules import Rule
from trimtab_collector.contract.alerts import FIRING, KEEPING

__all__ = [
    "DISMISSED",
    "EXPIRED",
    "FIRING",
    "KEEPING",
    "PENDING",
    "RESOLVED",
    "Alert",
    "advance",
    "alert_due_s",
    "alert_stays",
    "labels_of",
]

#: a line is crossed, not for long enough
PENDING: Final = "pending"
RESOLVED: Final = "resolved"
#: ended without being seen to recover: nothing was heard for a day, or as its metric says
EXPIRED: Final = "expired"
#: ended because somebody said that what it is about will not come back
DISMISSED: Final = "dismissed"


@dataclass(slots=True)
class Alert:
    """One series of a rule that crosses a line, or did until a moment ago."""

    id: str
    rule_id: str
    #: texts of the rule's group_by
    labels: tuple[str, ...]
    state: str
    #: of the incident it is told with
    group_id: str
    #: since when its lowest line is crossed, or what it tells of goes on, if that is earlier
    since_s: float
    #: when it was last judged by a known value
    known_s: float
    #: 0 while pending, then 1 warning, 2 critical
    level: int = 0
    highest: int = 0
    value: float | None = None
    worst: float | None = None
    #: since when each line is crossed without a break; None where it is not
    crossed_s: list[float | None] = field(default_factory=lambda: [None, None])
    #: for how long it has recovered, and is below the line of its level; known time only
    recovered_s: float = 0.0
    below_s: float = 0.0
    fired_s: float | None = None
    #: since when it has been good; None while it is not
    good_s: float | None = None
    #: whether good values do not count, as part of what they are made of is missing
    waits: bool = False
    ended_s: float | None = None
    acknowledged_by: str = ""
    acknowledged_s: float | None = None
    #: since when what it tells of now goes on, where that is not when its line was crossed
    began_s: float | None = None

    def level_since_s(self, level: int) -> float | None:
        """Return since when it is as bad as that without a break; None where it is not."""
        crossed_s = self.crossed_s[level - 1]
        return crossed_s if crossed_s is None or self.began_s is None else self.began_s

    def begin(self, began_s: float | None, t_s: float) -> None:
        """Note at t_s since when what it tells of now goes on; None where its line says it."""
        self.began_s = None if began_s is None else min(began_s, t_s)
        if self.began_s is not None:
            # It may tell of something else by now; it never began later than it was told to have.
            self.since_s = min(self.since_s, self.began_s)

    @property
    def is_open(self) -> bool:
        """Whether it fires, or keeps on for a while."""
        return self.state in (FIRING, KEEPING)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in (RESOLVED, EXPIRED, DISMISSED)


def labels_of(rule: Rule, alert: Alert) -> dict[str, str]:
    """Return every label of an alert: those it is told apart by, and those of its rule's filter."""
    return {**rule.where, **dict(zip(rule.group_by, alert.labels, strict=True))}


def advance(
    alert: Alert, rule: Rule, t_s: float, value: float | None, step_s: float, *, hold: bool
) -> bool:
    """Move an alert on to t_s by its value there; returns whether its state or level changed.

    value is None where it is not known; it stands for the last step_s seconds. hold: part of what
    the value is made of is missing, so that a good value does not count as recovery. A pending
    alert that is dropped becomes RESOLVED with fired_s None.
    """
    before = (alert.state, alert.level)
    if value is None:
        _unknown(alert, rule, t_s, step_s)
    else:
        if alert.state == PENDING and t_s - alert.known_s > max(*rule.for_s, 3 * step_s):
            # Nobody knows what was in between: it has not been crossed all the time.
            alert.crossed_s, alert.since_s = [None, None], t_s
        alert.known_s = t_s
        alert.value = value
        _cross(alert, rule, t_s, value)
        if any(since is not None for since in alert.crossed_s):
            alert.worst = rule.worse(value, alert.worst)
        alert.waits = hold
        if alert.state == PENDING:
            _pending(alert, rule, t_s)
        else:
            _open(alert, rule, t_s, 0.0 if hold else step_s, good=rule.recovered(value))
    return (alert.state, alert.level) != before


def alert_due_s(alert: Alert, rule: Rule, t_s: float) -> float:
    """Return the time before which an alert cannot move, as long as its values stay where they are.

    It was advanced to t_s and did not move. Its values stay where they are while they are on the
    same side of every line as at t_s, or unknown if it was. It may be due before it moves.
    """
    if alert.waits:
        return t_s
    times = [inf]
    if known := alert.known_s >= t_s:
        for level in rule.levels:
            since_s = alert.crossed_s[level - 1]
            if level > alert.level and since_s is not None:
                times.append(since_s + rule.for_s[level - 1])
    else:
        times.append(alert.known_s + rule.expires_s)
        if alert.state == PENDING:
            times.append(alert.known_s + max(rule.for_s))
    if alert.state != PENDING and (known or rule.no_data == "ok"):
        if alert.state == KEEPING:
            times.append(t_s + rule.keep_firing_s - alert.recovered_s)
        if alert.level > rule.lowest and alert.crossed_s[alert.level - 1] is None:
            times.append(t_s + rule.keep_firing_s - alert.below_s)
    return min(times)


def alert_stays(
    alert: Alert, rule: Rule, t_s: float, values: Sequence[float], passed_s: float
) -> None:
    """Move an alert on over steps before it is due, up to t_s, as `advance` at each of them would.

    values are those of the steps, none where they are unknown; passed_s is how long they take.
    """
    if values:
        alert.known_s, alert.value = t_s, values[-1]
        if any(since is not None for since in alert.crossed_s):
            for value in values:
                alert.worst = rule.worse(value, alert.worst)
    elif rule.no_data != "ok":
        return
    if alert.is_open and alert.crossed_s[alert.level - 1] is None:
        alert.below_s += passed_s
    if alert.state == KEEPING:
        alert.recovered_s += passed_s


def _cross(alert: Alert, rule: Rule, t_s: float, value: float) -> None:
    for level in rule.levels:
        if not rule.crosses(value, level):
            alert.crossed_s[level - 1] = None
        elif alert.crossed_s[level - 1] is None:
            alert.crossed_s[level - 1] = t_s


def _reached(alert: Alert, rule: Rule, t_s: float) -> int:
    """Return the highest level whose line has been crossed for long enough."""
    reached = 0
    for level in rule.levels:
        since_s = alert.crossed_s[level - 1]
        if since_s is not None and t_s - since_s >= rule.for_s[level - 1]:
            reached = level
    return reached


def _pending(alert: Alert, rule: Rule, t_s: float) -> None:
    reached = _reached(alert, rule, t_s)
    if reached:
        alert.state, alert.level, alert.highest = FIRING, reached, reached
        alert.fired_s = t_s
    elif all(since is None for since in alert.crossed_s):
        alert.state, alert.ended_s = RESOLVED, t_s


def _open(alert: Alert, rule: Rule, t_s: float, passed_s: float, *, good: bool) -> None:
    reached = _reached(alert, rule, t_s)
    if reached > alert.level:
        alert.level = reached
        alert.highest = max(alert.highest, reached)
    line_s = alert.crossed_s[alert.level - 1]
    alert.below_s = 0.0 if line_s is not None else alert.below_s + passed_s
    if not good:
        alert.state, alert.recovered_s, alert.good_s = FIRING, 0.0, None
    elif passed_s:
        alert.recovered_s = alert.recovered_s + passed_s if alert.state == KEEPING else 0.0
        alert.state = KEEPING
        alert.good_s = t_s if alert.good_s is None else alert.good_s
        if alert.recovered_s >= rule.keep_firing_s:
            alert.state, alert.ended_s = RESOLVED, t_s
            return
    if alert.level > rule.lowest and alert.below_s > rule.keep_firing_s:
        # It was told with its highest level; the milder one shows, and says nothing.
        alert.level = max(level for level in rule.levels if level < alert.level)
        alert.below_s = 0.0


def _unknown(alert: Alert, rule: Rule, t_s: float, step_s: float) -> None:
    silent_s = t_s - alert.known_s
    # A series that is named is expected for ever; any other for a while.
    if silent_s > rule.expires_s and not (rule.no_data == "alert" and rule.is_named):
        alert.state, alert.ended_s = EXPIRED, t_s
    elif rule.no_data == "ok":
        if alert.state == PENDING:
            alert.state, alert.ended_s = RESOLVED, t_s
        else:
            alert.crossed_s = [None, None]
            _open(alert, rule, t_s, step_s, good=True)
    elif rule.no_data == "alert":
        lowest = rule.lowest
        if alert.crossed_s[lowest - 1] is None:
            alert.crossed_s[lowest - 1] = t_s
        alert.value, alert.recovered_s, alert.good_s = None, 0.0, None
        if alert.state == PENDING:
            _pending(alert, rule, t_s)
        else:
            alert.state = FIRING
    elif alert.state == PENDING and silent_s > max(rule.for_s):
        alert.state, alert.ended_s = RESOLVED, t_s
