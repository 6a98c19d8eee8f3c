"""Alerts and silences, as they are read and written."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.errors import epoch
from trimtab_collector.contract.kinds import Choice, PathName
from trimtab_collector.contract.pagelink import PageLink

__all__ = [
    "AGENT_MISSING",
    "AGENT_SILENCE",
    "AGES",
    "ALERT",
    "ANALYSIS",
    "BURN_RATE",
    "FIRING",
    "KEEPING",
    "MATCHED",
    "SERVICE_GONE",
    "SEVERITY",
    "SILENCE",
    "SILENCED",
    "STATE",
    "THRESHOLD",
    "AlertBody",
    "AlertChange",
    "AlertChanges",
    "AlertHistory",
    "Alerts",
    "NewSilence",
    "Silence",
    "SilenceCounts",
    "Silences",
    "concerns",
    "fires",
    "is_held",
    "is_shipped",
    "is_silenced",
    "is_told",
    "lasted_s",
]

ALERT: Final = PathName("id", "The id of an alert.")
SILENCE: Final = PathName("id", "The id of a silence.")
STATE: Final = Choice(
    "state",
    "Which alerts: those that are not over, those that are, or both.",
    ("open", "ended", "all"),
    "open",
)
SEVERITY: Final = Choice("severity", "Only this severity.", ("any", "warning", "critical"), "any")
#: metrics that are told in words of their own: how long an agent has been silent, what the
#: analysis finds, how fast an error budget burns
AGENT_SILENCE: Final = "agentSilence"
ANALYSIS: Final = "analysis"
BURN_RATE: Final = "burnRate"
#: for how long a service that had requests has had no process
SERVICE_GONE: Final = "serviceGone"
#: values of these are for how many seconds something has gone on
AGES: Final = (AGENT_SILENCE, SERVICE_GONE)
#: beginning of the ids of the rules that thresholds are, and ids of others that nobody made
THRESHOLD: Final = "threshold."
_SHIPPED: Final = frozenset({"slo", "analysis"})
#: states of an alert that is open: its line is crossed, or it is good again, not for long enough
FIRING: Final = "firing"
KEEPING: Final = "keeping"
#: why nothing is told of an alert: somebody said so
SILENCED: Final = "silenced"
#: why good values do not end an alert; it is told like any other
AGENT_MISSING: Final = "agentMissing"
#: what a silence may match
MATCHED: Final = (
    *("environment", "service", "route", "instance", "version", "metric", "rule", "severity"),
    *("agent", "slo"),
)


class AlertBody(Body):
    """One series of a rule that crosses its line, or did."""

    id: str
    #: what it is told with
    incident: str
    rule_id: str
    rule_name: str
    type: str
    #: warning or critical; of a pending alert, what it would be
    severity: str
    #: pending, firing, keeping, resolved, expired or dismissed
    state: str
    metric: str
    operator: str
    #: the line of its severity; and those of its rule, null where there is none
    threshold: float
    warning: float | None
    critical: float | None
    value: float | None
    worst: float | None
    #: over how many seconds each value is; null for signals, which are of a moment
    over: int | None
    unit: str
    environment: str
    service: str
    route: str
    instance: str
    version: str
    #: every label, also those without a field here
    labels: dict[str, str]
    #: since when its lowest line is crossed, or what it tells of goes on; before it fired
    since: str
    #: since when it has been as severe as it is, without a break; null once it is not
    severity_since: str | None
    #: when that had lasted for long enough, null while it has not
    fired_at: str | None
    #: since when it has been good; null while it is not
    recovered_at: str | None
    resolved_at: str | None
    #: when a value was last known
    last_data: str
    acknowledged_by: str | None
    acknowledged_at: str | None
    #: why nothing is told of it: silenced, inhibited or flapping; or why good values do not end it:
    #: agentMissing
    held: str | None
    title: str
    message: str
    #: what the rule says of a series without data (keep, alert or ok), once the last value is older
    #: than a minute; null while there are values
    no_data: str | None = None
    #: of an alert of the analysis, while it is open: its title, message and `analysis`
    metadata: dict[str, Any] | None = None
    #: whether it fires now and no silence is on it: what statuses and counts are made of
    told: bool = False


class AlertChange(Body):
    """What changed at about the time when an alert began, or what most of it is of."""

    #: mark (a deploy or another one), errors, share (of the time) or process; others may come
    kind: str
    #: in words, as messages have it
    text: str
    #: when it was, of a mark; null for the others
    at: str | None
    #: the page that shows more of it; null where none does
    page: PageLink | None


class AlertChanges(Body):
    """What changed with an alert, as the message about it says."""

    changes: list[AlertChange]


class _HasState(Protocol):
    @property
    def state(self) -> str: ...


def fires(alert: _HasState) -> bool:
    """Tell whether an alert is beyond its line now: not one that is pending, or good again."""
    return alert.state == FIRING


def is_shipped(rule_id: str) -> bool:
    """Tell whether a rule is always there: it is called by what it judges, others by their name."""
    return rule_id.startswith(THRESHOLD) or rule_id in _SHIPPED


def is_silenced(alert: AlertBody) -> bool:
    """Tell whether somebody said that an alert should not be told of."""
    return alert.held == SILENCED


def is_told(alert: AlertBody) -> bool:
    """Tell whether people are told of an alert: it fires, and nobody said that it should not be.

    Whatever says how things are counts these: the overview, the status of the first page, the count
    in the navigation, `open` of the list, and the marks of `trimtab top`.
    """
    return fires(alert) and not is_silenced(alert)


def is_held(alert: AlertBody) -> bool:
    """Tell whether messages about an alert are held back now, for whatever reason.

    One that is not silenced may be: another message says it already, or said it too often.
    """
    return alert.held not in (None, AGENT_MISSING)


def concerns(alert: AlertBody, environment: str, service: str) -> bool:
    """Tell whether an alert is of what was chosen, empty for everything.

    Those of hosts and agents are of every environment.
    """
    return (not environment or alert.environment in ("", environment)) and (
        not service or alert.service == service
    )


def lasted_s(alert: AlertBody, now_s: float) -> float:
    """Return how long an alert has lasted, seconds: since its line was crossed, until it was good.

    An open alert that is not good yet lasts until now. Every page, report and message that says how
    long an alert lasted means this.
    """
    ended = alert.recovered_at or alert.resolved_at
    ended_s = now_s if ended is None else epoch(ended)
    return max(0.0, ended_s - epoch(alert.since))


class AlertHistory(Protocol):
    """Alerts, also those that have ended; any thread."""

    def between(
        self, from_s: float, to_s: float, environment: str = "", service: str = ""
    ) -> Sequence[AlertBody]:
        """Return the alerts that fired at any time within a range."""

    def open(self, environment: str = "", service: str = "") -> Sequence[AlertBody]:
        """Return the alerts that are not over."""


class Alerts(Body):
    """Alerts, those that need somebody first."""

    alerts: list[AlertBody]
    alerts_left_out: int
    #: those that fire and are not silenced, by severity, whatever was asked for
    open: dict[str, int]


class NewSilence(Body, forbid_unknown_fields=True):
    """What is not told for a while: alerts with all of these texts; `*` at the end of a text."""

    matchers: dict[str, str]
    comment: str
    #: seconds or `2h30m`, instead of `endsAt`
    duration: int | str | None = None
    #: ISO 8601; without it, now
    starts_at: str | None = None
    ends_at: str | None = None


class Silence(Body):
    """A silence."""

    id: str
    matchers: dict[str, str]
    #: name of the rule that the matcher `rule` names by its id; null where it names none
    rule_name: str | None
    comment: str
    starts_at: str
    ends_at: str
    created_by: str
    created_at: str
    #: pending, active or expired
    state: str


class SilenceCounts(Body):
    """How many silences there are that have not ended."""

    active: int
    #: those that begin later
    pending: int


class Silences(Body):
    """Silences, the latest first; those that ended long ago are forgotten."""

    silences: list[Silence]
