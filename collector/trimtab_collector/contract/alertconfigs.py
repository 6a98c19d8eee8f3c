"""Alert configurations and thresholds, as they are read and written."""

from typing import Final

import msgspec

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.kinds import PathName, read_duration

__all__ = [
    "CONFIG",
    "AlertConfig",
    "AlertConfigs",
    "NewAlertConfig",
    "NewThresholds",
    "Preview",
    "PreviewAlert",
    "Removed",
    "Threshold",
    "ThresholdPair",
    "Thresholds",
    "duration_s",
]

CONFIG: Final = PathName("id", "The id of an alert configuration.")
_MOST_S: Final = 90 * 86_400


class NewAlertConfig(Body, forbid_unknown_fields=True):
    """What is judged, against which lines, and who is told; durations are seconds or `1h30m`."""

    metric: str
    name: str = ""
    type: str = "performance"
    #: how a gauge or measure is read: mean, max, rate, p95 and the like
    figure: str = ""
    #: gt, gte, lt, lte or eq
    operator: str = "gt"
    #: one line, of `severity`; or lines of their own in `warning` and `critical`
    threshold: float | None = None
    severity: str = "warning"
    warning: float | None = None
    critical: float | None = None
    enabled: bool = True
    #: how often a firing alert is told again
    cooldown: int | str = 14_400
    for_: int | str = 300
    #: the same for the critical line; without it, as `for`
    critical_for: int | str | None = None
    keep_firing_for: int | str = 900
    #: the line of recovery, when it is another than the lowest line
    recovery: float | None = None
    #: keep, alert or ok
    no_data: str = "keep"
    #: fewer requests than these are not judged
    min_requests: int = 20
    #: the time that a value is over, a multiple of 10 s
    over: int | str = 60
    #: one alert for each of these; without it, as suits the metric
    group_by: list[str] | None = None
    where: dict[str, str] = msgspec.field(default_factory=dict)
    #: names of channels, or mail addresses; none: every channel that is on by default
    recipients: list[str] = msgspec.field(default_factory=list)
    description: str = ""


class AlertConfig(Body):
    """An alert configuration, with everything that was left out filled in."""

    id: str
    name: str
    type: str
    metric: str
    figure: str
    unit: str
    operator: str
    #: the lowest line
    threshold: float
    severity: str
    warning: float | None
    critical: float | None
    enabled: bool
    cooldown: int
    for_: int
    critical_for: int
    keep_firing_for: int
    recovery: float | None
    no_data: str
    min_requests: int
    over: int
    group_by: list[str]
    where: dict[str, str]
    recipients: list[str]
    description: str
    #: api, or file: then it is changed there
    source: str
    read_only: bool


class AlertConfigs(Body):
    """Every alert configuration, by name."""

    configs: list[AlertConfig]
    #: what a configuration may judge by name, besides any gauge or measure
    metrics: list[str]
    #: what is wrong with alerts.toml; its last good content holds meanwhile
    file_error: str | None


class ThresholdPair(Body, forbid_unknown_fields=True):
    """The lines of a metric; null for none."""

    warning: float | None = None
    critical: float | None = None


class Threshold(Body):
    """The lines of a metric, where they come from, and how they are judged."""

    warning: float | None
    critical: float | None
    unit: str
    operator: str
    for_: int
    critical_for: int
    keep_firing_for: int
    #: default, api or file
    source: str


class Thresholds(Body):
    """The lines of every metric that has them."""

    thresholds: dict[str, Threshold]


class NewThresholds(Body, forbid_unknown_fields=True):
    """Lines to set; metrics that are not named keep theirs, null sets back to what was shipped."""

    thresholds: dict[str, ThresholdPair | None]


class Removed(Body):
    """What is no more."""

    id: str


class PreviewAlert(Body):
    """One alert that there would have been."""

    since: str
    fired: str
    #: null while it would still fire
    ended: str | None
    #: seconds, of the range that was looked at
    duration: float
    severity: str
    worst: float | None
    labels: dict[str, str]


class Preview(Body):
    """What a configuration would have done over a range that is stored."""

    from_: str
    to: str
    #: seconds between two judgements here; live, it is 10
    step: int
    series: int
    alerts: list[PreviewAlert]
    alerts_left_out: int
    fired: int
    #: seconds in which at least one alert fired
    firing_seconds: float
    #: by kind: firing, escalated, updated, reminder, resolved, expired, flapping
    messages: dict[str, int]
    messages_total: int
    #: of so much data; null where it is less than a day, which says nothing of a week
    messages_per_week: float | None
    #: how much of the range holds data
    seconds_with_data: float
    notes: list[str]


def duration_s(name: str, value: int | str) -> int:
    """Return a duration in seconds; raises ApiError 422 for what is none, or over 90 days."""
    seconds = read_duration(value) if isinstance(value, str) else value
    if seconds is None or not 0 <= seconds <= _MOST_S or seconds % 1:
        raise _refused(name, str(value))
    return int(seconds)


def _refused(name: str, got: str) -> ApiError:
    expected = "seconds or a duration such as 90s, 5m, 1h30m or 2w, up to 90 days"
    return ApiError(
        422, "bad_rule", f"{name}: expected {expected}, got {got!r:.40}", {"field": name}
    )
