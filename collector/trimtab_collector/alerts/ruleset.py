"""Which rules hold: thresholds and configurations from the API, those of a file, those shipped."""

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from trimtab_collector.alerts.configs import config_of, refuse_new, rule_of, unit_of
from trimtab_collector.alerts.defaults import BUILT_IN, EXAMPLES, THRESHOLDS, Shipped
from trimtab_collector.alerts.file import AlertsFile
from trimtab_collector.alerts.metrics import METRICS
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.auth.audit import note
from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.alertconfigs import (
    CONFIG,
    AlertConfig,
    AlertConfigs,
    NewAlertConfig,
    Removed,
    Threshold,
    ThresholdPair,
    Thresholds,
)
from trimtab_collector.contract.alerts import THRESHOLD
from trimtab_collector.contract.callers import Reply
from trimtab_collector.contract.channels import Recipients
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.statefile import Schema, StateFile

__all__ = [
    "RuleSet",
    "add_config",
    "change_config",
    "configs",
    "one_config",
    "remove_config",
    "set_thresholds",
    "thresholds",
]

_SCHEMA: Final = Schema(
    "alert rules",
    (
        """
CREATE TABLE alert_config (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE threshold (metric TEXT PRIMARY KEY, warning REAL, critical REAL) WITHOUT ROWID
""",
        add_checksums("alert_config", "threshold"),
    ),
)
_MOST: Final = 2_000


class RuleSet:
    """The rules in force; any thread. Changes hold from the next evaluation on."""

    def __init__(
        self,
        state: StateFile,
        file: AlertsFile,
        recipients: Callable[[], Recipients] | None = None,
    ) -> None:
        """Take what tells who can be told; without it, no recipient is refused or missed."""
        self._state = state
        self._recipients = recipients
        self.file = file
        self._lock = threading.Lock()
        self._rules: tuple[Rule, ...] | None = None
        file.on_change(self._forget)
        fresh = not state.rows("SELECT 1 FROM schema_step WHERE owner = ?", (_SCHEMA.owner,))
        state.bring(_SCHEMA)
        if fresh:
            for each, config in EXAMPLES.items():
                self._keep(each, config)

    def rules(self) -> tuple[Rule, ...]:
        """Return every rule that has lines, also those that are switched off."""
        with self._lock:
            if self._rules is None:
                self._rules = (*self._threshold_rules(), *_built_in(), *self.config_rules())
            return self._rules

    def lost(self) -> list[tuple[Rule, tuple[str, ...]]]:
        """Return the rules that name recipients which nobody has, and those."""
        if self._recipients is None:
            return []
        rules = [rule for rule in self.rules() if rule.enabled and rule.recipients]
        known = self._recipients()
        return [(rule, lost) for rule in rules if (lost := known.lost(rule.recipients))]

    def config_rules(self) -> list[Rule]:
        """Return the configurations as rules, those of the file first."""
        found = [rule_of(each, config, "file") for each, config in self.file.configs().items()]
        sql = "SELECT id, body FROM alert_config ORDER BY id"
        return [*found, *self._state.decoded(sql, (), _kept_rule)]

    def pairs(self) -> dict[str, tuple[Shipped, str]]:
        """Return the lines of every metric and where they come from."""
        found = {metric: (shipped, "default") for metric, shipped in THRESHOLDS.items()}
        sql = "SELECT metric, warning, critical FROM threshold"
        given = self._state.decoded(sql, (), _kept_lines)
        given += [
            (metric, pair.warning, pair.critical, "file")
            for metric, pair in self.file.thresholds().items()
        ]
        for metric, warning, critical, source in given:
            before = found.get(metric, (Shipped(None, None, critical_for_s=300), ""))[0]
            found[metric] = (before._replace(warning=warning, critical=critical), source)
        return found

    def name_of(self, rule_id: str) -> str:
        """Return the name of a rule, empty where there is none."""
        return next((rule.name for rule in self.rules() if rule.id == rule_id), "")

    def lines(self) -> dict[str, tuple[float | None, float | None]]:
        """Return the lines of warning and critical of every metric that has a threshold."""
        return {metric: (pair.warning, pair.critical) for metric, (pair, _) in self.pairs().items()}

    def change(self, rule_id: str, config: NewAlertConfig | None, by: Parameters) -> None:
        """Keep a configuration, or remove it, with a line in the audit trail.

        Raises ApiError 422 for one that cannot be, 404 to remove what is not there, 409 for one of
        the file and for one too many.
        """
        if rule_id in self.file.configs():
            raise ApiError(
                409, "read_only", f"expected a configuration of the API, {rule_id!r:.80} is one of "
                f"{self.file.path}: change it there",
            )  # fmt: skip
        if config is not None:
            known = None if self._recipients is None else self._recipients()
            refuse_new(rule_of(rule_id, config), known)
        with self._state.change() as connection:
            sql = "SELECT body FROM alert_config WHERE id = ?"
            before = connection.execute(sql, (rule_id,)).fetchone()
            if config is None:
                if before is None:
                    raise not_found("alert configuration", rule_id)
                connection.execute("DELETE FROM alert_config WHERE id = ?", (rule_id,))
            else:
                (count,) = connection.execute("SELECT count(*) FROM alert_config").fetchone()
                if before is None and count >= _MOST:
                    message = f"expected up to {_MOST} configurations: remove some"
                    raise ApiError(409, "too_many", message)
                self._keep(rule_id, config)
            note(
                connection,
                by.caller,
                "alert-config.remove" if config is None else "alert-config.set",
                rule_id,
                _shown(before[0]) if before else None,
                None if config is None else msgspec.to_builtins(config),
            )
        self._forget()

    def set_thresholds(self, pairs: Mapping[str, ThresholdPair | None], by: Parameters) -> None:
        """Keep the lines of metrics; None forgets what was set. Raises ApiError as `change`."""
        for metric, pair in pairs.items():
            if metric in self.file.thresholds():
                raise ApiError(
                    409, "read_only", f"expected a threshold of the API, {metric!r:.80} is set in "
                    f"{self.file.path}: change it there",
                )  # fmt: skip
            if pair is not None:
                # Also of one without lines: what is kept must be shown, too.
                unit_of(Rule("", "", metric, "gt", (pair.warning, pair.critical)))
            if pair is not None and (pair.warning is not None or pair.critical is not None):
                refuse_new(_threshold_rule(metric, _shipped(metric, pair), "api"))
        before = {each: self.pairs().get(each) for each in pairs}
        with self._state.change() as connection:
            for metric, pair in pairs.items():
                if pair is None:
                    connection.execute("DELETE FROM threshold WHERE metric = ?", (metric,))
                else:
                    row = (metric, pair.warning, pair.critical)
                    connection.put("threshold", row, conflict="REPLACE")
                old = before[metric]
                note(
                    connection,
                    by.caller,
                    "threshold.set",
                    metric,
                    old and {"warning": old[0].warning, "critical": old[0].critical},
                    None if pair is None else msgspec.to_builtins(pair),
                )
            (count,) = connection.execute("SELECT count(*) FROM threshold").fetchone()
            if count > _MOST:
                raise ApiError(409, "too_many", f"expected up to {_MOST} thresholds: remove some")
        self._forget()

    def _threshold_rules(self) -> list[Rule]:
        return [
            _threshold_rule(metric, lines, source)
            for metric, (lines, source) in self.pairs().items()
            if lines.warning is not None or lines.critical is not None
        ]

    def _keep(self, rule_id: str, config: NewAlertConfig) -> None:
        with self._state.change() as connection:
            row = (rule_id, msgspec.json.encode(config).decode())
            connection.put("alert_config", row, conflict="REPLACE")

    def _forget(self) -> None:
        with self._lock:
            self._rules = None


def _shown(body: str) -> dict[str, Any]:
    """Return what a configuration was, for the audit trail, also of one that cannot be read."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return {"unreadable": True}


def _built_in() -> list[Rule]:
    return [rule_of(each, config, "default") for each, config in BUILT_IN.items()]


def _kept_rule(rule_id: str, body: str) -> Rule:
    """Return the rule of a row; raises ValueError for one that this version does not know."""
    try:
        return rule_of(str(rule_id), msgspec.json.decode(body, type=NewAlertConfig))
    except ApiError as error:
        raise ValueError(f"alert configuration {rule_id!r:.80}: {error}") from error


def _kept_lines(
    metric: str, warning: float | None, critical: float | None
) -> tuple[str, float | None, float | None, str]:
    """Return the lines of a row; raises ValueError as `_kept_rule`."""
    pair = msgspec.convert({"warning": warning, "critical": critical}, ThresholdPair)
    try:
        unit_of(Rule("", "", metric, "gt", (pair.warning, pair.critical)))
        if pair.warning is not None or pair.critical is not None:
            _threshold_rule(metric, _shipped(metric, pair), "api")
    except ApiError as error:
        raise ValueError(f"threshold of {metric!r:.80}: {error}") from error
    return metric, pair.warning, pair.critical, "api"


def _shipped(metric: str, pair: ThresholdPair) -> Shipped:
    before = THRESHOLDS.get(metric, Shipped(None, None, critical_for_s=300))
    return before._replace(warning=pair.warning, critical=pair.critical)


def _threshold_rule(metric: str, lines: Shipped, source: str) -> Rule:
    config = NewAlertConfig(
        metric=metric,
        operator=lines.operator,
        warning=lines.warning,
        critical=lines.critical,
        for_=lines.for_s,
        critical_for=lines.critical_for_s if lines.critical is not None else None,
        keep_firing_for=lines.keep_firing_s,
    )
    return rule_of(THRESHOLD + metric, config, source)


def not_found(what: str, name: str) -> ApiError:
    """Return the refusal of a name that nothing has."""
    return ApiError(404, "not_found", f"expected the id of an {what}, got {name!r:.80}")


# ---------------------------------------------------------------- what the API asks for


def configs(rules: RuleSet, _parameters: Parameters) -> AlertConfigs:
    """Return every alert configuration."""
    found = [config_of(rule) for rule in rules.config_rules()]
    found.sort(key=lambda each: (each.name, each.id))
    return AlertConfigs(configs=found, metrics=list(METRICS), file_error=rules.file.error or None)


def one_config(rules: RuleSet, parameters: Parameters) -> AlertConfig:
    """Return one alert configuration."""
    wanted = parameters[CONFIG]
    found = next((rule for rule in rules.config_rules() if rule.id == wanted), None)
    if found is None:
        raise not_found("alert configuration", wanted)
    return config_of(found)


def add_config(rules: RuleSet, parameters: Parameters) -> Reply:
    """Add an alert configuration."""
    made = uuid.uuid4().hex[:12]
    rules.change(made, parameters.body, parameters)
    return Reply(config_of(rule_of(made, parameters.body)), 201)


def change_config(rules: RuleSet, parameters: Parameters) -> AlertConfig:
    """Replace an alert configuration."""
    wanted = parameters[CONFIG]
    one_config(rules, parameters)
    rules.change(wanted, parameters.body, parameters)
    return config_of(rule_of(wanted, parameters.body))


def remove_config(rules: RuleSet, parameters: Parameters) -> Removed:
    """Remove an alert configuration; its alerts end."""
    rules.change(parameters[CONFIG], None, parameters)
    return Removed(id=parameters[CONFIG])


def thresholds(rules: RuleSet, _parameters: Parameters) -> Thresholds:
    """Return the lines of every metric that has them."""
    found = {}
    for metric, (lines, source) in rules.pairs().items():
        rule = Rule("", "", metric, lines.operator, (lines.warning, lines.critical))
        found[metric] = Threshold(
            warning=lines.warning,
            critical=lines.critical,
            unit=unit_of(rule),
            operator=lines.operator,
            for_=lines.for_s,
            critical_for=lines.critical_for_s,
            keep_firing_for=lines.keep_firing_s,
            source=source,
        )
    return Thresholds(thresholds=found)


def set_thresholds(rules: RuleSet, parameters: Parameters) -> Thresholds:
    """Set the lines of metrics."""
    rules.set_thresholds(parameters.body.thresholds, parameters)
    return thresholds(rules, parameters)
