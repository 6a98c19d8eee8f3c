"""Alert configurations as rules, and back: every field is checked, every refusal names it."""

from collections.abc import Mapping
from math import isfinite
from typing import Final

from trimtab_collector.alerts.metrics import JudgedMetric, metric_of
from trimtab_collector.alerts.rules import LEVELS, NO_DATA, OPERATORS, TYPES, Rule, severity_of
from trimtab_collector.contract.alertconfigs import AlertConfig, NewAlertConfig, duration_s
from trimtab_collector.contract.channels import Recipients
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.notify.notice import is_recipient
from trimtab_collector.storage.columns import WINDOW_S

__all__ = ["config_of", "refuse_new", "rule_of", "unit_of"]

#: field of a series -> its name on the wire, and back
_WIRE: Final[Mapping[str, str]] = {"status_class": "statusClass"}
_FIELD: Final[Mapping[str, str]] = {wire: name for name, wire in _WIRE.items()}
_MOST_TEXT: Final = 500
_MOST_RECIPIENTS: Final = 20
_MOST_OVER_S: Final = 3600


def rule_of(rule_id: str, config: NewAlertConfig, source: str = "api") -> Rule:
    """Return the rule of a configuration; raises ApiError 422 that names what is wrong."""
    metric = metric_of(config.metric, config.figure)
    lines = _lines(config)
    for_s = duration_s("for", config.for_)
    critical_s = for_s
    if config.critical_for is not None:
        critical_s = duration_s("criticalFor", config.critical_for)
    over_s = duration_s("over", config.over)
    if not WINDOW_S <= over_s <= _MOST_OVER_S or over_s % WINDOW_S:
        raise _bad("over", f"a multiple of {WINDOW_S} s up to {_MOST_OVER_S} s", str(config.over))
    if not 0 <= config.min_requests <= 1_000_000:
        raise _bad("minRequests", "a number from 0 to 1000000", str(config.min_requests))
    _one_of("type", config.type, TYPES)
    _one_of("operator", config.operator, OPERATORS)
    _one_of("noData", config.no_data, NO_DATA)
    name = config.name.strip() or config.metric
    for field, text in (("name", name), ("description", config.description)):
        if len(text) > _MOST_TEXT or not text.isprintable():
            raise _bad(field, f"up to {_MOST_TEXT} printable characters", text)
    if len(config.recipients) > _MOST_RECIPIENTS:
        raise _bad("recipients", f"up to {_MOST_RECIPIENTS}", str(len(config.recipients)))
    for each in config.recipients:
        if not is_recipient(each):
            raise _bad("recipients", "names of channels and mail addresses", each)
    where = {_field("where", name, metric): text for name, text in config.where.items()}
    group_by = metric.group_by
    if config.group_by is not None:
        group_by = tuple(dict.fromkeys(_field("groupBy", each, metric) for each in config.group_by))
    rule = Rule(
        id=rule_id,
        name=name,
        metric=config.metric,
        operator=config.operator,
        lines=lines,
        type=config.type,
        figure=config.figure,
        over_s=over_s,
        for_s=(for_s, critical_s),
        keep_firing_s=duration_s("keepFiringFor", config.keep_firing_for),
        recovery=config.recovery,
        no_data=config.no_data,
        expires_s=metric.expires_s,
        min_requests=config.min_requests,
        group_by=group_by,
        where=where,
        cooldown_s=max(60, duration_s("cooldown", config.cooldown)),
        recipients=tuple(config.recipients),
        enabled=config.enabled,
        description=config.description,
        source=source,
    )
    _check_order(rule)
    return rule


def refuse_new(rule: Rule, known: Recipients | None = None) -> None:
    """Raise ApiError for what nobody means: a share out of bounds, recipients that nobody has.

    It is asked of what is new alone: a rule that is kept goes on, whatever has gone since.
    """
    _check_share(rule)
    lost = () if known is None else known.lost(rule.recipients)
    if lost:
        expected = (
            "mail addresses only where a channel sends mail"
            if "@" in lost[0]
            else f"names of channels ({', '.join(known.names) if known else ''})"
        )
        raise _bad("recipients", expected, lost[0])


def config_of(rule: Rule) -> AlertConfig:
    """Return a rule as the API shows it."""
    return AlertConfig(
        id=rule.id,
        name=rule.name,
        type=rule.type,
        metric=rule.metric,
        figure=rule.figure,
        unit=unit_of(rule),
        operator=rule.operator,
        threshold=rule.line(rule.lowest),
        severity=severity_of(rule.lowest),
        warning=rule.lines[0],
        critical=rule.lines[1],
        enabled=rule.enabled,
        cooldown=rule.cooldown_s,
        for_=rule.for_s[0],
        critical_for=rule.for_s[1],
        keep_firing_for=rule.keep_firing_s,
        recovery=rule.recovery,
        no_data=rule.no_data,
        min_requests=rule.min_requests,
        over=rule.over_s,
        group_by=[_WIRE.get(name, name) for name in rule.group_by],
        where={_WIRE.get(name, name): text for name, text in rule.where.items()},
        recipients=list(rule.recipients),
        description=rule.description,
        source=rule.source,
        read_only=rule.source != "api",
    )


def unit_of(rule: Rule) -> str:
    """Return the unit of a rule's values."""
    unit = metric_of(rule.metric, rule.figure).unit
    if rule.figure == "rate":
        return "1/s" if unit != "bytes" else "bytes/s"
    return "" if rule.figure == "count" else unit


def _lines(config: NewAlertConfig) -> tuple[float | None, float | None]:
    given = {"warning": config.warning, "critical": config.critical}
    _one_of("severity", config.severity, LEVELS)
    if config.threshold is not None:
        if config.warning is not None or config.critical is not None:
            raise _bad("threshold", "either threshold or warning and critical", "both")
        given[config.severity] = config.threshold
    for name, line in (*given.items(), ("recovery", config.recovery)):
        if line is not None and not isfinite(line):
            raise _bad(name, "a finite number", str(line))
    if all(line is None for line in given.values()):
        raise _bad("threshold", "a threshold, or warning and critical", "none")
    return given["warning"], given["critical"]


def _check_order(rule: Rule) -> None:
    """Raise ApiError for lines in the wrong order: an alert could never get worse, or recover."""
    warning, critical = rule.lines
    falling = rule.operator in ("lt", "lte")
    if warning is not None and critical is not None:
        if rule.operator == "eq":
            raise _bad("critical", "one line for eq", str(critical))
        if (critical > warning) if falling else (critical < warning):
            side = "at most" if falling else "at least"
            raise _bad("critical", f"{side} the warning line {warning:g}", f"{critical:g}")
    if rule.recovery is not None:
        line = rule.line(rule.lowest)
        if (rule.recovery < line) if falling else (rule.recovery > line):
            side = "at least" if falling else "at most"
            raise _bad("recovery", f"{side} the lowest line {line:g}", f"{rule.recovery:g}")


def _check_share(rule: Rule) -> None:
    """Raise ApiError for a line of a share that is never crossed, or by every value."""
    if not metric_of(rule.metric, rule.figure).is_share:
        return
    lines = {LEVELS[level - 1]: rule.line(level) for level in rule.levels}
    for name, line in lines.items():
        never = {"gt": line >= 1, "lt": line <= 0}.get(rule.operator, False)
        if never or not 0 <= line <= 1:
            example = f"{line / 100:g} is {line:g} %" if 1 < line <= 100 else "0.05 is 5 %"
            side = "below 1" if rule.operator == "gt" else "over 0" if rule.operator == "lt" else ""
            expected = f"a share from 0 to 1{f', {side} for {rule.operator}' if side else ''}"
            raise _bad(name, f"{expected}: {example}", f"{line:g}")


def _field(where: str, name: str, metric: JudgedMetric) -> str:
    field = _FIELD.get(name, name)
    if field not in metric.fields or (name in _WIRE and where):
        known = ", ".join(_WIRE.get(each, each) for each in metric.fields) or "nothing"
        raise _bad(where, f"fields of {metric.name}: {known}", name)
    return field


def _one_of(field: str, text: str, choices: tuple[str, ...]) -> None:
    if text not in choices:
        raise _bad(field, f"one of {', '.join(choices)}", text)


def _bad(field: str, expected: str, got: str) -> ApiError:
    message = f"{field}: expected {expected}, got {got!r:.80}"
    return ApiError(422, "bad_rule", message, {"field": field})
