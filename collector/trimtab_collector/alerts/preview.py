"""What a rule would have done: the same judge over what is stored, told to nobody.

Live, a value is over a sliding range and judged every ten seconds. Here, ranges lie end to end, and
are as long as the step: the rule's own, or longer where the store has kept longer windows only.
"""

import time
from collections.abc import Callable
from typing import Final

from trimtab_collector.alerts.configs import refuse_new, rule_of
from trimtab_collector.alerts.machine import Alert, labels_of
from trimtab_collector.alerts.metrics import metric_of
from trimtab_collector.alerts.reading import MetricReader
from trimtab_collector.alerts.rehearsal import Rehearsal
from trimtab_collector.alerts.rules import Rule, severity_of
from trimtab_collector.alerts.stretch import Stretch
from trimtab_collector.contract.alertconfigs import Preview, PreviewAlert
from trimtab_collector.contract.errors import ApiError, instant
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.storage.store import Store, TooMuchError

__all__ = ["Previews", "preview"]

_MOST_S: Final = 30 * 86_400
_WEEK_S: Final = 7 * 86_400
#: less data than this says nothing of a week
_LEAST_DATA_S: Final = 86_400
_MOST_SHOWN: Final = 200
#: steps that are tried next when finer ones take too long; reads of others wait meanwhile
_COARSER_S: Final = (600, 3600)
#: steps of one preview, at most
_MOST_STEPS: Final = 20_000


class Previews:
    """Runs rules over a store; from reading threads."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = MetricReader(store)
        self._clock = clock

    def run(self, rule: Rule, from_s: float, to_s: float, now_s: float) -> Preview:
        """Return what a rule would have done; raises ApiError 422, TooMuchError."""
        if to_s - from_s > _MOST_S:
            raise ApiError(422, "bad_parameter", "expected a range of at most 30 days")
        if metric_of(rule.metric, rule.figure).kind == "signal":
            raise ApiError(
                422, "bad_rule", f"metric: expected one that is stored, got {rule.metric!r}: it is "
                "only known at the moment", {"field": "metric"},
            )  # fmt: skip
        stored_s = self._reader.width_s(rule, from_s, now_s)
        finest_s = _step_s(rule.over_s, stored_s, to_s - from_s)
        coarser = [step_s for step_s in _COARSER_S if step_s > finest_s]
        if to_s - from_s < finest_s:
            raise ApiError(422, "bad_parameter", f"expected a range of at least {finest_s} s")
        for step_s in (finest_s, *coarser):
            first = int(from_s) // step_s * step_s
            edges_s = tuple(range(first, int(to_s) // step_s * step_s + 1, step_s))
            last = step_s == (finest_s, *coarser)[-1]
            try:
                if len(edges_s) > 1:
                    return self._run(rule, edges_s, step_s, finest_s, 20.0 if last else 6.0)
            except TimeoutError:
                continue
        raise TooMuchError(
            "the preview took over 20 s: ask for a shorter range, one service or fewer groups"
        )

    def _run(
        self, rule: Rule, edges_s: tuple[int, ...], step_s: int, finest_s: int, most_time_s: float
    ) -> Preview:
        run, until_s = Rehearsal(rule, step_s), self._clock() + most_time_s

        def check() -> None:
            if self._clock() > until_s:
                raise TimeoutError

        series: set[tuple[str, ...]] = set()
        with_data_s = 0
        for ends_s, table in self._reader.tables(rule, edges_s):
            check()
            stretch = Stretch(rule, table, ends_s, run.watched)
            series |= stretch.series
            with_data_s += step_s * stretch.with_data
            run.over(stretch, check)
        alerts = [*run.ended, *run.judge.open_alerts()]
        alerts.sort(key=lambda each: each.fired_s or 0.0)
        total = sum(run.kinds.values())
        whole_s = edges_s[-1] - edges_s[0]
        return Preview(
            from_=instant(edges_s[0]),
            to=instant(edges_s[-1]),
            step=step_s,
            series=len(series),
            alerts=[_shown(rule, each, edges_s[-1]) for each in alerts[:_MOST_SHOWN]],
            alerts_left_out=max(0, len(alerts) - _MOST_SHOWN),
            fired=len(alerts),
            firing_seconds=run.firing_s,
            messages=dict(run.kinds),
            messages_total=total,
            messages_per_week=(
                total / with_data_s * _WEEK_S if with_data_s >= _LEAST_DATA_S else None
            ),
            seconds_with_data=with_data_s,
            notes=_notes(
                rule, step_s, finest_s, series=len(series), with_data_s=with_data_s, whole_s=whole_s
            ),
        )


def preview(previews: Previews, parameters: Parameters) -> Preview:
    """Return when a configuration would have fired, and how many messages that is."""
    rule = rule_of("preview", parameters.body)
    refuse_new(rule)
    return previews.run(rule, parameters.from_s, parameters.to_s, parameters.now_s)


def _step_s(over_s: int, stored_s: int, range_s: float) -> int:
    """Return the length of steps: what a value is over, and no shorter than what is stored."""
    step_s = -(-over_s // stored_s) * stored_s
    while range_s / step_s > _MOST_STEPS:
        step_s *= 2
    return step_s


def _shown(rule: Rule, alert: Alert, to_s: float) -> PreviewAlert:
    fired_s = alert.fired_s or alert.since_s
    return PreviewAlert(
        since=instant(alert.since_s),
        fired=instant(fired_s),
        ended=None if alert.ended_s is None else instant(alert.ended_s),
        duration=(alert.ended_s or to_s) - fired_s,
        severity=severity_of(alert.highest),
        worst=alert.worst,
        labels=labels_of(rule, alert),
    )


def _notes(
    rule: Rule, step_s: int, finest_s: int, *, series: int, with_data_s: int, whole_s: int
) -> list[str]:
    notes = []
    if step_s > finest_s:
        notes.append(
            f"values are over {step_s} s here, as finer ones would take too long: ask for one "
            f"service or a shorter range to see them over {finest_s} s"
        )
    elif step_s > rule.over_s:
        notes.append(
            f"values are over {step_s} s here, as the store keeps longer windows of that time; "
            f"live, they are over {rule.over_s} s"
        )
    if any(0 < wanted < step_s for wanted in rule.for_s):
        notes.append(f"a line fires after {step_s} s here, not earlier: that is one step")
    if not series:
        notes.append("no series matched: look at the metric and the filter")
    elif with_data_s < whole_s:
        notes.append(f"{_percent(1 - with_data_s / whole_s)} of the range holds no data")
    if with_data_s < _LEAST_DATA_S:
        notes.append("less than a day of data says nothing of the messages of a week")
    notes.append("silences and other rules of the same metric, which may hide it, are left out")
    if rule.no_data == "alert":
        notes.append("what is absent from the start is not known here to be expected")
    return notes


def _percent(share: float) -> str:
    """Return a share that is neither none nor all, which its rounding must not say."""
    if share > 0.99:
        return "over 99%"
    return "under 1%" if share < 0.01 else f"{share:.0%}"
