"""The alerts of a collector: what is open, what was, and what people do with it.

Alerts are judged in memory and kept in `state.db`; a transition and the messages about it are one
transaction, so that a crash neither forgets nor invents one.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from trimtab_collector.alerts.bodies import body_of, is_current
from trimtab_collector.alerts.configs import unit_of
from trimtab_collector.alerts.incidents import Incident
from trimtab_collector.alerts.judge import Judge, Outcome, Silenced
from trimtab_collector.alerts.machine import Alert
from trimtab_collector.alerts.rules import LEVELS, Rule
from trimtab_collector.auth.audit import note
from trimtab_collector.checkedrows import CheckedConnection, add_checksums
from trimtab_collector.contract.alerts import (
    AGENT_MISSING,
    ALERT,
    SEVERITY,
    SILENCED,
    STATE,
    AlertBody,
    Alerts,
    concerns,
    is_silenced,
    is_told,
)
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.statefile import Schema, StateFile

__all__ = ["AlertBook", "acknowledge", "alerts", "one_alert"]

logger = logging.getLogger("trimtab.alerts")

_SCHEMA: Final = Schema(
    "alerts",
    (
        """
CREATE TABLE alert (id TEXT PRIMARY KEY, rule_id TEXT NOT NULL, rule TEXT NOT NULL,
 data TEXT NOT NULL, state TEXT NOT NULL, highest INTEGER NOT NULL, environment TEXT NOT NULL,
 service TEXT NOT NULL, since_s REAL NOT NULL, fired_s REAL, ended_s REAL) WITHOUT ROWID;
CREATE INDEX alert_ended ON alert (ended_s);
CREATE TABLE incident (id TEXT PRIMARY KEY, rule TEXT NOT NULL, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE expected (rule_id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE evaluation (one INTEGER PRIMARY KEY CHECK (one = 1), judged_s REAL NOT NULL)
""",
        add_checksums("alert", "incident", "expected", "evaluation"),
    ),
)
_KEPT: Final = 100_000
_MOST_BETWEEN: Final = 10_000
_KEPT_S: Final = 400 * 86_400

_Values = tuple[object, ...]
#: called with alerts whose state or level changed, once that is durable
ChangeListener = Callable[[Sequence[AlertBody]], None]
Metadata = Callable[[Rule, Mapping[str, str]], dict[str, Any] | None]


class AlertBook:
    """Every alert, open and past; any thread. The evaluator alone lets it judge."""

    def __init__(self, state: StateFile, metadata: Metadata = lambda rule, labels: None) -> None:
        """Ask metadata what an open alert carries along, by its rule and labels."""
        state.bring(_SCHEMA)
        self._state = state
        self._metadata = metadata
        self._listeners: list[ChangeListener] = []
        #: returns what says whether an alert is silent now; the evaluator's
        self.silenced_now: Callable[[], Silenced] = lambda: lambda rule, alert: False
        #: held while alerts are judged, read or acknowledged
        self.lock = threading.RLock()
        self.judge = Judge()
        #: end of the last step that was judged, None before the first
        self.judged_s: float | None = None
        self._load()

    def reload(self) -> None:
        """Take what is kept for what holds: a step could not be written, so it did not happen."""
        with self.lock:
            before, self.judge = self.judge, Judge()
            self.judge.left_out, self.judge.left_out_s = before.left_out, before.left_out_s
            self._load()

    def on_change(self, listener: ChangeListener) -> None:
        """Call a listener with alerts that began, got worse or better, or ended.

        Also with those that somebody looks after now, and those that silences hold, or no longer.

        It is called in the evaluator's thread after the commit, and must be quick.
        """
        self._listeners.append(listener)

    def keep(
        self,
        connection: CheckedConnection,
        outcome: Outcome,
        t_s: float,
        more: Iterable[Alert] = (),
    ) -> None:
        """Write what a step did, within the transaction of its messages; more are written too."""
        for alert in {id(each): each for each in (*outcome.changed, *more)}.values():
            if alert.is_over and alert.fired_s is None:
                connection.execute("DELETE FROM alert WHERE id = ?", (alert.id,))
            else:
                _write(connection, alert, outcome.rules[alert.rule_id])
        for incident in outcome.incidents:
            rule = outcome.rules[incident.rule_id]
            row = (incident.id, _packed(rule), _packed(incident))
            connection.put("incident", row, conflict="REPLACE")
        for incident in outcome.gone:
            connection.execute("DELETE FROM incident WHERE id = ?", (incident.id,))
        connection.put("evaluation", (1, t_s), conflict="REPLACE")
        if any(alert.is_over for alert in outcome.changed):
            connection.execute("DELETE FROM alert WHERE ended_s < ?", (t_s - _KEPT_S,))
            connection.execute(
                "DELETE FROM alert WHERE id IN (SELECT id FROM alert WHERE ended_s IS NOT NULL"
                " ORDER BY ended_s DESC LIMIT -1 OFFSET ?)",
                (_KEPT,),
            )

    def keep_expected(self, connection: CheckedConnection) -> None:
        """Write which series had data, for the rules that want to know of their absence."""
        connection.execute("DELETE FROM expected")
        rows = [(rule_id, _packed(list(seen.items()))) for rule_id, seen in self.judge.seen.items()]
        connection.put_all("expected", rows)

    def announce(self, changed: Sequence[Alert], rules: Mapping[str, Rule]) -> None:
        """Tell listeners of alerts that changed."""
        silenced = self.silenced_now()
        with self.lock:
            incidents = {each.id: each for each in self.judge.incidents.values()}
        bodies = [
            self._body(rules[alert.rule_id], alert, incidents.get(alert.group_id), silenced)
            for alert in changed
            if not (alert.is_over and alert.fired_s is None)
        ]
        for listener in self._listeners if bodies else ():
            try:
                listener(bodies)
            except Exception:
                logger.exception("a listener of alerts failed")

    def open(self, environment: str = "", service: str = "") -> list[AlertBody]:
        """Return alerts that are not over, those that need somebody first."""
        silenced = self.silenced_now()
        with self.lock:
            incidents = {each.id: each for each in self.judge.incidents.values()}
            found = [
                self._body(self.judge.rules[rule_id], each, incidents.get(each.group_id), silenced)
                for rule_id, rows in self.judge.alerts.items()
                for each in rows.values()
            ]
        order = {"firing": 0, "keeping": 1, "pending": 2}
        found.sort(key=lambda each: (order[each.state], each.severity, each.since))
        return [each for each in found if concerns(each, environment, service)]

    def between(
        self, from_s: float, to_s: float, environment: str = "", service: str = ""
    ) -> list[AlertBody]:
        """Return up to 10,000 alerts that fired at any time within a range, the latest first."""
        where, values = _past(from_s, to_s, environment, service)
        sql = f"SELECT rule, data FROM alert WHERE {where} ORDER BY fired_s DESC LIMIT ?"  # noqa: S608 - constant
        found = self._state.decoded(sql, (*values, _MOST_BETWEEN), _body_of_row)
        # What is open is known better: whether a silence is on it, and how old its value is.
        open_ = {each.id: each for each in self.open(environment, service)}
        return [open_.get(each.id, each) for each in found]

    def ended(
        self, from_s: float, to_s: float, environment: str, service: str, severity: str, limit: int
    ) -> tuple[list[AlertBody], int]:
        """Return alerts of a range that are over, the latest first, and how many there are."""
        where, values = _past(from_s, to_s, environment, service)
        where += " AND ended_s IS NOT NULL"
        if severity in LEVELS:
            where += " AND highest = ?"
            values = (*values, LEVELS.index(severity) + 1)
        ((count,),) = self._state.rows(f"SELECT count(*) FROM alert WHERE {where}", values)  # noqa: S608 - constant
        sql = f"SELECT rule, data FROM alert WHERE {where} ORDER BY fired_s DESC LIMIT ?"  # noqa: S608 - constant
        return self._state.decoded(sql, (*values, limit), _body_of_row), count

    def find(self, alert_id: str) -> AlertBody:
        """Return one alert; raises ApiError 404."""
        with self.lock:
            alert = self._open_one(alert_id)
            if alert is not None:
                rule, incident = self.judge.rules[alert.rule_id], self._incident(alert)
                return self._body(rule, alert, incident, self.silenced_now())
        return body_of(*self.judged(alert_id), None)

    def judged(self, alert_id: str) -> tuple[Rule, Alert]:
        """Return an alert as it was judged, with its rule; raises ApiError 404."""
        with self.lock:
            alert = self._open_one(alert_id)
            if alert is not None:
                return self.judge.rules[alert.rule_id], replace(alert)
        sql = "SELECT rule, data FROM alert WHERE id = ?"
        for found in self._state.decoded(sql, (alert_id,), _read):
            return found
        raise ApiError(404, "not_found", f"expected the id of an alert, got {alert_id!r:.80}")

    def acknowledge(self, alert_id: str, by: Parameters) -> AlertBody:
        """Note who looks after an open alert, which ends its reminders.

        Raises ApiError 404, and 409 for one that is over.
        """
        with self.lock:
            alert = self._open_one(alert_id)
            if alert is None:
                ended = self.find(alert_id)
                raise ApiError(
                    409,
                    "ended",
                    f"expected an open alert, this one is {ended.state}: nothing to do",
                )
            rule = self.judge.rules[alert.rule_id]
            alert.acknowledged_by, alert.acknowledged_s = by.caller.name, by.now_s
            with self._state.change() as connection:
                _write(connection, alert, rule)
                note(connection, by.caller, "alert.acknowledge", alert_id)
            self.announce([alert], {rule.id: rule})
            return self._body(rule, alert, self._incident(alert), self.silenced_now())

    def _open_one(self, alert_id: str) -> Alert | None:
        every = (alert for rows in self.judge.alerts.values() for alert in rows.values())
        return next((alert for alert in every if alert.id == alert_id), None)

    def _body(
        self, rule: Rule, alert: Alert, incident: Incident | None, silenced: Silenced
    ) -> AlertBody:
        body = body_of(rule, alert, incident, self.judged_s)
        # A silence holds from the moment in which it is made, not from the next step on, and is
        # said before any other reason: it is what somebody wanted.
        if not alert.is_over and silenced(rule, alert):
            body.held = SILENCED
        elif is_silenced(body):
            body.held = AGENT_MISSING if alert.waits else None
        body.told = is_told(body)
        body.metadata = self._metadata(rule, body.labels)
        if body.metadata and not is_current(body):
            # Its words are of what is found now, which is not what the alert tells of any more.
            body.metadata = {name: each for name, each in body.metadata.items()
                             if name not in ("title", "message")}  # fmt: skip
        return body

    def _incident(self, alert: Alert) -> Incident | None:
        every = self.judge.incidents.values()
        return next((each for each in every if each.id == alert.group_id), None)

    def _load(self) -> None:
        sql = "SELECT rule, data FROM alert WHERE ended_s IS NULL"
        for rule, alert in self._state.decoded(sql, (), _read):
            self.judge.rules[rule.id] = rule
            self.judge.alerts.setdefault(alert.rule_id, {})[alert.labels] = alert
        sql = "SELECT rule, data FROM incident"
        for rule, incident in self._state.decoded(sql, (), _read_incident):
            self.judge.incidents[incident.key] = incident
            self.judge.rules.setdefault(incident.rule_id, rule)
        sql = "SELECT rule_id, data FROM expected"
        self.judge.seen = dict(self._state.decoded(sql, (), _read_expected))
        for judged_s in self._state.decoded("SELECT judged_s FROM evaluation", (), float):
            self.judged_s = judged_s


def alerts(book: AlertBook, parameters: Parameters) -> Alerts:
    """Return alerts."""
    where = parameters.where
    environment, service = where.get("environment", ""), where.get("service", "")
    severity, limit = parameters[SEVERITY], parameters[LIMIT]
    open_ = book.open(environment, service)
    chosen = [each for each in open_ if severity in ("any", each.severity)]
    if parameters[STATE] == "ended":
        chosen = []
    found, count = chosen[:limit], len(chosen)
    if parameters[STATE] != "open":
        past, more = book.ended(
            *(parameters.from_s, parameters.to_s, environment, service, severity),
            limit - len(found),
        )
        found, count = [*found, *past], count + more
    told = Counter(each.severity for each in open_ if is_told(each))
    return Alerts(
        alerts=found,
        alerts_left_out=count - len(found),
        open={name: told[name] for name in ("critical", "warning")},
    )


def one_alert(book: AlertBook, parameters: Parameters) -> AlertBody:
    """Return one alert."""
    return book.find(parameters[ALERT])


def acknowledge(book: AlertBook, parameters: Parameters) -> AlertBody:
    """Note who looks after an alert."""
    return book.acknowledge(parameters[ALERT], parameters)


def _write(connection: CheckedConnection, alert: Alert, rule: Rule) -> None:
    labels = {**rule.where, **dict(zip(rule.group_by, alert.labels, strict=True))}
    connection.put(
        "alert",
        (
            alert.id,
            alert.rule_id,
            _packed(rule),
            _packed(alert),
            alert.state,
            alert.highest,
            labels.get("environment", ""),
            labels.get("service", ""),
            alert.since_s,
            alert.fired_s,
            alert.ended_s,
        ),
        conflict="REPLACE",
    )


def _packed(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _past(from_s: float, to_s: float, environment: str, service: str) -> tuple[str, _Values]:
    """Return the condition of alerts that fired within a range, and its values."""
    values = (to_s, from_s, environment, environment, service, service)
    return (
        """fired_s IS NOT NULL AND fired_s < ? AND (ended_s IS NULL OR ended_s >= ?)
        AND (? = '' OR environment IN ('', ?)) AND (? = '' OR service = ?)""",
        values,
    )


def _body_of_row(rule: str, data: str) -> AlertBody:
    return body_of(*_read(rule, data), None)


def _read_incident(rule: str, data: str) -> tuple[Rule, Incident]:
    return msgspec.json.decode(rule, type=Rule), msgspec.json.decode(data, type=Incident)


def _read_expected(rule_id: str, data: str) -> tuple[str, dict[tuple[str, ...], float]]:
    rows = msgspec.json.decode(data, type=list[tuple[tuple[str, ...], float]])
    return rule_id, dict(rows)


def _read(rule: Any, data: Any) -> tuple[Rule, Alert]:
    found, alert = msgspec.json.decode(rule, type=Rule), msgspec.json.decode(data, type=Alert)
    if len(alert.labels) != len(found.group_by):
        raise ValueError(f"alert {alert.id!r:.40}: expected {len(found.group_by)} labels")
    try:
        unit_of(found)
    except ApiError as error:
        raise ValueError(f"alert {alert.id!r:.40}: {error}") from error
    return found, alert
