"""All rules over the values of one step: which alerts begin, move on and end, and what is told.

Pure state in memory: the evaluator keeps it in a file, a preview throws it away.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from trimtab_collector.alerts.incidents import (
    Incident,
    Telling,
    incident_due_s,
    incident_stays,
    tell,
)
from trimtab_collector.alerts.machine import (
    DISMISSED,
    EXPIRED,
    FIRING,
    PENDING,
    Alert,
    advance,
    alert_due_s,
    alert_stays,
    labels_of,
)
from trimtab_collector.alerts.rules import LEVELS, Rule
from trimtab_collector.alerts.values import StepValues
from trimtab_collector.contract.alerts import AGES, SERVICE_GONE

__all__ = ["Began", "Judge", "Judged", "Outcome", "Silenced"]

#: alerts of a rule at one time; further series that cross are counted
_MOST_ALERTS: Final = 1_000
#: a series is expected to have data for this long after its last
_EXPECTED_S: Final = 86_400

Silenced = Callable[[Rule, Alert], bool]
#: since when what a rule tells of goes on, by all labels; None: since its line is crossed
Began = Callable[[Rule, Mapping[str, str]], float | None]
Missing = Callable[[Mapping[str, str]], bool]


class Judged(NamedTuple):
    """A rule and the values that it is held against; None: none could be read."""

    rule: Rule
    values: StepValues | None


@dataclass(slots=True)
class Outcome:
    """What one step did."""

    #: the rules of everything below, by id
    rules: dict[str, Rule]
    #: alerts that began, changed state or level, or ended
    changed: list[Alert] = field(default_factory=list)
    #: open alerts of which from now on is told, or no longer
    held: list[Alert] = field(default_factory=list)
    tellings: list[tuple[Rule, Telling]] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    gone: list[Incident] = field(default_factory=list)


class Judge:
    """Alerts and incidents of all rules; one thread at a time."""

    def __init__(self) -> None:
        self.alerts: dict[str, dict[tuple[str, ...], Alert]] = {}
        #: the rules of alerts and incidents, as they were judged last
        self.rules: dict[str, Rule] = {}
        self.incidents: dict[tuple[str, str, str], Incident] = {}
        #: series that crossed a line and found no place, since the start, and when last
        self.left_out = 0
        self.left_out_s = 0.0
        #: rule -> series -> when it last had data, for rules that want to know of its absence
        self.seen: dict[str, dict[tuple[str, ...], float]] = {}

    def step(
        self,
        t_s: float,
        step_s: float,
        judged: Sequence[Judged],
        silenced: Silenced = lambda rule, alert: False,
        missing: Missing = lambda labels: False,
        dismissed: Collection[str] = (),
        began: Began = lambda rule, labels: None,
    ) -> Outcome:
        """Judge all rules by their values over the step_s seconds up to t_s.

        began says since when what an alert tells of goes on, None where its line says it.
        Alerts of rules that are not among them, or judge something else by now, end. So do those of
        agents that were dismissed.
        """
        rules = {each.rule.id: each.rule for each in judged}
        outcome = Outcome({**self.rules, **rules})
        outcome.changed += self._retire(rules, t_s)
        outcome.changed += self._dismiss(dismissed, t_s)
        for rule, values in judged:
            outcome.changed += self._judge(rule, values, t_s, step_s, missing, began)
        over: dict[str, list[Alert]] = {}
        for alert in outcome.changed:
            if alert.is_over:
                rows = self.alerts[alert.rule_id]
                # A rule that judges something else may have begun another one there already.
                if rows.get(alert.labels) is alert:
                    del rows[alert.labels]
                over.setdefault(alert.group_id, []).append(alert)
        self._tell(outcome, over, t_s, silenced)
        told = {incident.rule_id for incident in self.incidents.values()}
        self.alerts = {each: rows for each, rows in self.alerts.items() if rows}
        self.rules = {
            each: rule
            for each, rule in outcome.rules.items()
            if each in self.alerts or each in told
        }
        return outcome

    def due_s(self, t_s: float) -> float:
        """Return the time before which nothing happens, as long as values stay where they are.

        That is of a step at t_s which changed and told nothing, without silences and with all
        data there; t_s where nobody can say, as with rules that want to know of the absence of
        data. See `alert_due_s`.
        """
        rules = self.rules
        full = any(len(rows) >= _MOST_ALERTS for rows in self.alerts.values())
        if full or self.seen:
            return t_s
        members = self._members({})
        times = [inf]
        for rows in self.alerts.values():
            times += [alert_due_s(each, rules[each.rule_id], t_s) for each in rows.values()]
        for incident in self.incidents.values():
            alerts = members.get(incident.id, ())
            times.append(incident_due_s(incident, rules[incident.rule_id], alerts, t_s))
        return min(times)

    def stay(
        self, t_s: float, passed_s: float, values_of: Callable[[Alert], Sequence[float]]
    ) -> None:
        """Move on to t_s over passed_s seconds of steps before anything is due.

        This is what `step` at each of them would do; values_of returns the values of an alert in
        them, which stay where they are, or none.
        """
        for rows in self.alerts.values():
            for alert in rows.values():
                rule = self.rules[alert.rule_id]
                alert_stays(alert, rule, t_s, values_of(alert), passed_s)
        members = self._members({})
        for incident in self.incidents.values():
            incident_stays(incident, self.rules[incident.rule_id], members.get(incident.id, ()))

    def _members(self, over: Mapping[str, Sequence[Alert]]) -> dict[str, list[Alert]]:
        """Return the alerts of each incident, those that have just ended first."""
        members: dict[str, list[Alert]] = {group: [*alerts] for group, alerts in over.items()}
        for rows in self.alerts.values():
            for alert in rows.values():
                members.setdefault(alert.group_id, []).append(alert)
        return members

    def _retire(self, rules: Mapping[str, Rule], t_s: float) -> list[Alert]:
        """End the alerts of rules that are no more."""
        retired = []
        for rule_id, before in self.rules.items():
            now = rules.get(rule_id)
            if now is before:
                continue
            if now is None or now.subject != before.subject:
                for alert in self.alerts.get(rule_id, {}).values():
                    # Nobody has seen it recover; what was pending was never told.
                    alert.state, alert.ended_s = EXPIRED, t_s
                    retired.append(alert)
                self.alerts[rule_id] = {}
        return retired

    def _dismiss(self, agents: Collection[str], t_s: float) -> list[Alert]:
        """End the alerts of agents that will not come back; they are expected no more."""
        ended = []
        for rule_id, rows in self.alerts.items() if agents else ():
            by = self.rules[rule_id].group_by
            for labels, alert in rows.items():
                if dict(zip(by, labels, strict=True)).get("agent") in agents:
                    alert.state, alert.ended_s = DISMISSED, t_s
                    ended.append(alert)
        for alert in ended:
            del self.alerts[alert.rule_id][alert.labels]
            self.seen.get(alert.rule_id, {}).pop(alert.labels, None)
        return ended

    def open_alerts(self) -> list[Alert]:
        """Return the alerts that fire or keep on."""
        return [each for rows in self.alerts.values() for each in rows.values() if each.is_open]

    def clamp(self, now_s: float) -> None:
        """Take times that lie ahead for now: the clock was put back."""
        for rows in self.alerts.values():
            for alert in rows.values():
                alert.since_s = min(alert.since_s, now_s)
                alert.known_s = min(alert.known_s, now_s)
                alert.crossed_s = [
                    None if each is None else min(each, now_s) for each in alert.crossed_s
                ]
                if alert.fired_s is not None:
                    alert.fired_s = min(alert.fired_s, now_s)
        for incident in self.incidents.values():
            incident.told_s = min(incident.told_s, now_s)
            incident.openings_s = [min(each, now_s) for each in incident.openings_s]
            if incident.opened_s is not None:
                incident.opened_s = min(incident.opened_s, now_s)

    def _judge(
        self,
        rule: Rule,
        values: StepValues | None,
        t_s: float,
        step_s: float,
        missing: Missing,
        began: Began,
    ) -> list[Alert]:
        active = self.alerts.setdefault(rule.id, {})
        new: list[Alert] = []
        if values is not None:
            for labels, value in values.crossing(rule):
                if labels not in active:
                    new += self._begin(rule, labels, value, t_s)
        if rule.no_data == "alert":
            new += [
                alert
                for labels in self._absent(rule, values, t_s)
                if labels not in active
                for alert in self._begin(rule, labels, None, t_s)
            ]
        changed = []
        for labels, alert in list(active.items()):
            known = None if values is None else values.value_of(rule, labels)
            # One process is enough to say that there is one, whoever else is missing.
            by = dict(zip(rule.group_by, labels, strict=True))
            hold = rule.metric != SERVICE_GONE and missing(by)
            if advance(alert, rule, t_s, known, step_s, hold=hold):
                changed.append(alert)
            if known is not None and rule.crosses(known, alert.level or rule.lowest):
                alert.begin(
                    t_s - known if rule.metric in AGES else began(rule, labels_of(rule, alert)), t_s
                )
        seen = {id(alert) for alert in changed}
        return [*(alert for alert in new if id(alert) not in seen), *changed]

    def _begin(
        self, rule: Rule, labels: tuple[str, ...], value: float | None, t_s: float
    ) -> list[Alert]:
        active = self.alerts[rule.id]
        shed = []
        if len(active) >= _MOST_ALERTS:
            self.left_out += 1
            self.left_out_s = t_s
            shed = self._room(rule, labels, t_s)
            if not shed:
                return []
        incident = self._incident(rule, labels)
        alert = Alert(
            uuid.uuid4().hex[:16], rule.id, labels, PENDING, incident.id, t_s, t_s, value=value
        )
        active[labels] = alert
        return [*shed, alert]

    def _room(self, rule: Rule, labels: tuple[str, ...], t_s: float) -> list[Alert]:
        """Make room for a series of an environment that has less than its share; else none.

        No environment takes the places of another: of the one with the most, the latest goes. It
        ends as one that was not seen to recover.
        """
        if "environment" not in rule.group_by:
            return []
        place = rule.group_by.index("environment")
        active = self.alerts[rule.id]
        counts = Counter(each[place] for each in active)
        largest, count = counts.most_common(1)[0]
        if counts[labels[place]] + 1 >= count:
            return []
        latest = max(
            (each for each in active.values() if each.labels[place] == largest),
            key=lambda each: each.since_s,
        )
        latest.state, latest.ended_s = EXPIRED, t_s
        del active[latest.labels]
        return [latest]

    def _incident(self, rule: Rule, labels: tuple[str, ...]) -> Incident:
        of = {**rule.where, **dict(zip(rule.group_by, labels, strict=True))}
        key = (rule.id, of.get("environment", ""), of.get("service", ""))
        if key not in self.incidents:
            self.incidents[key] = Incident(uuid.uuid4().hex[:16], *key)
        return self.incidents[key]

    def _absent(
        self, rule: Rule, values: StepValues | None, t_s: float
    ) -> Iterable[tuple[str, ...]]:
        """Yield the series of a rule that had data within a day, or are named, and have none."""
        seen = self.seen.setdefault(rule.id, {})
        if values is None:
            return
        now = dict.fromkeys(values.labels(rule), t_s)
        seen.update(now)
        for labels, at_s in list(seen.items()):
            if at_s < t_s - _EXPECTED_S or len(seen) > 20 * _MOST_ALERTS:
                del seen[labels]
        yield from seen.keys() - now.keys()
        named = tuple(rule.where.get(name, "") for name in rule.group_by)
        if all(named) and named not in now and named not in seen:
            yield named

    def _tell(
        self,
        outcome: Outcome,
        over: Mapping[str, Sequence[Alert]],
        t_s: float,
        silenced: Silenced,
    ) -> None:
        rules = outcome.rules
        members = self._members(over)
        critical = self._critical(rules, members) if len(self.incidents) > 1 else {}
        for key, incident in list(self.incidents.items()):
            rule = rules[incident.rule_id]
            alerts = members.get(incident.id, [])
            level = max((alert.level for alert in alerts if alert.is_open), default=0)
            place = (rule.metric, incident.environment, incident.service)
            others = critical.get(place, set()) - {rule.id}
            before = incident.held
            telling = tell(
                incident,
                rule,
                alerts,
                t_s,
                lambda alert, rule=rule: silenced(rule, alert),  # type: ignore[misc]
                inhibited=bool(others) and level < len(LEVELS),
            )
            if incident.held != before:
                outcome.held += [alert for alert in alerts if alert.is_open]
            if telling is not None:
                outcome.tellings.append((rule, telling))
            over_all = all(alert.is_over for alert in alerts)
            if over_all and not incident.openings_s and not incident.told_level:
                del self.incidents[key]
                outcome.gone.append(incident)
            else:
                outcome.incidents.append(incident)

    def _critical(
        self, rules: Mapping[str, Rule], members: Mapping[str, Sequence[Alert]]
    ) -> dict[tuple[str, str, str], set[str]]:
        """Return the rules that are critical, by what they judge."""
        found: dict[tuple[str, str, str], set[str]] = {}
        for incident in self.incidents.values():
            rule = rules[incident.rule_id]
            alerts = members.get(incident.id, ())
            if any(alert.state == FIRING and alert.level == len(LEVELS) for alert in alerts):
                place = (rule.metric, incident.environment, incident.service)
                found.setdefault(place, set()).add(rule.id)
        return found
