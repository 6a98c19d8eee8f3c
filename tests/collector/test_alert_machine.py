"""The life of one alert, and of what is told of it, by hand-made values on the event clock."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_collector.alerts.judge import Judge, Judged
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.alerts.values import Values

RULE = Rule(
    "r",
    "a rule",
    "responseTime",
    lines=(1000.0, 5000.0),
    for_s=(60, 60),
    keep_firing_s=120,
    group_by=("service",),
)
STEP_S = 10


def values(**series: float | None) -> Values:
    """Return values by service; None for a series with too few requests."""
    known = {name: 0.0 if value is None else value for name, value in series.items()}
    weight = np.array([0.0 if value is None else 100.0 for value in series.values()])
    groups: list[tuple[str, ...]] = [(name,) for name in known]
    return Values(("service",), groups, np.array(list(known.values()), np.float64), weight)


class Run:
    """A judge, the rule it judges by, and what it did."""

    def __init__(self, rule: Rule = RULE) -> None:
        self.judge = Judge()
        self.rule = rule
        self.t_s = 1_000
        self.silent: set[str] = set()
        self.missing: set[str] = set()
        #: (time since the start, kind, severity level)
        self.told: list[tuple[int, str, int]] = []
        self.states: list[tuple[int, str, int]] = []

    def feed(self, *series: Values | None, rules: Sequence[Rule] = ()) -> "Run":
        """Judge one step for each value."""
        for each in series:
            self.t_s += STEP_S
            judged = [Judged(rule, each) for rule in (rules or (self.rule,))]
            outcome = self.judge.step(
                self.t_s,
                STEP_S,
                judged,
                lambda rule, alert: alert.labels[0] in self.silent,
                lambda labels: labels["service"] in self.missing,
            )
            since = self.t_s - 1_000
            self.told += [(since, each.kind, each.level) for _, each in outcome.tellings]
            self.states += [(since, each.state, each.level) for each in outcome.changed]
        return self

    def shop(self, value: float | None, steps: int) -> "Run":
        """Judge the same value of one service for some steps."""
        return self.feed(*[values(shop=value)] * steps)

    @property
    def kinds(self) -> list[str]:
        """What was told, in order."""
        return [kind for _, kind, _ in self.told]


def test_an_alert_fires_after_its_time_and_resolves_after_another_and_is_told_twice() -> None:
    run = Run().shop(100, 3).shop(2000, 7).shop(100, 13)
    assert run.states == [(40, "pending", 0), (100, "firing", 1), (110, "keeping", 1),
                          (230, "resolved", 1)]  # fmt: skip
    assert run.told == [(100, "firing", 1), (230, "resolved", 1)]


def test_a_blip_tells_nobody() -> None:
    run = Run().shop(9000, 6).shop(100, 30)
    assert run.told == []
    assert run.judge.incidents == {}


def test_it_escalates_once_and_resolves_once_from_the_top() -> None:
    run = Run().shop(2000, 8).shop(6000, 8).shop(2000, 20).shop(10, 20)
    assert run.kinds == ["firing", "escalated", "resolved"]
    assert [level for _, _, level in run.told] == [1, 2, 2]


def test_a_crash_through_both_lines_is_one_message_at_the_higher() -> None:
    run = Run().shop(9000, 8).shop(10, 20)
    assert run.told[0] == (70, "firing", 2)
    assert run.kinds == ["firing", "resolved"]


def test_values_between_the_lines_of_recovery_and_warning_keep_it_firing() -> None:
    run = Run(replace(RULE, recovery=800.0)).shop(2000, 8).shop(900, 60)
    assert run.kinds == ["firing"]
    assert run.shop(700, 14).kinds == ["firing", "resolved"]


def test_what_is_not_known_neither_fires_nor_resolves_nor_counts_as_time() -> None:
    run = Run().shop(2000, 8).feed(*[values()] * 100).shop(None, 100).feed(None, None)
    assert run.kinds == ["firing"]
    run.shop(10, 6).feed(*[values()] * 50).shop(10, 6)
    assert run.kinds == ["firing"]
    assert run.shop(10, 2).kinds == ["firing", "resolved"]


def test_a_good_value_does_not_count_while_part_of_it_is_missing() -> None:
    run = Run().shop(2000, 8)
    run.missing = {"shop"}
    assert run.shop(10, 100).kinds == ["firing"]
    run.missing = set()
    assert run.shop(10, 14).kinds == ["firing", "resolved"]


def test_after_a_day_without_data_it_ends_as_expired_and_says_so() -> None:
    run = Run().shop(2000, 8).feed(*[values()] * 8_641)
    assert run.kinds == ["firing", "expired"]


def test_a_line_crossed_before_and_after_a_long_silence_begins_anew() -> None:
    run = Run().shop(2000, 1)
    run.t_s += 7200
    assert run.shop(2000, 1).kinds == []
    assert run.shop(2000, 6).kinds == ["firing"]


@pytest.mark.parametrize(("policy", "kinds"), [("keep", []), ("ok", []), ("alert", ["firing"])])
def test_a_series_that_vanishes_fires_only_where_the_policy_says_so(
    policy: str, kinds: list[str]
) -> None:
    run = Run(replace(RULE, no_data=policy)).shop(10, 3).feed(*[values()] * 20)
    assert run.kinds == kinds


def test_with_the_policy_ok_an_alert_without_data_resolves() -> None:
    run = Run(replace(RULE, no_data="ok")).shop(2000, 8).feed(*[values()] * 14)
    assert run.kinds == ["firing", "resolved"]


def test_with_the_policy_alert_a_named_series_that_never_came_fires_and_resolves_with_data() -> (
    None
):
    rule = replace(RULE, no_data="alert", where={"service": "shop"})
    run = Run(rule).feed(*[values()] * 8)
    assert run.kinds == ["firing"]
    assert run.shop(10, 14).kinds == ["firing", "resolved"]


def test_it_is_told_again_after_each_cooldown_until_somebody_has_acknowledged() -> None:
    run = Run(replace(RULE, cooldown_s=300)).shop(2000, 7 + 61)
    assert run.kinds == ["firing", "reminder", "reminder"]
    (alert,) = run.judge.open_alerts()
    alert.acknowledged_by = "ada"
    assert run.shop(2000, 100).kinds == ["firing", "reminder", "reminder"]


def test_alerts_of_one_incident_are_one_message_and_more_of_it_wait_for_five_minutes() -> None:
    by_route = replace(RULE, group_by=("route",))

    def of(count: int) -> Values:
        groups: list[tuple[str, ...]] = [(f"/r{n}",) for n in range(20)]
        numbers = np.array([2000.0 if n < count else 10.0 for n in range(20)])
        return Values(("route",), groups, numbers, np.full(20, 100.0))

    judge, told, t_s = Judge(), [], 0
    for count in (*[12] * 8, *[20] * 60):
        t_s += STEP_S
        outcome = judge.step(t_s, STEP_S, [Judged(by_route, of(count))])
        told += [(t_s, each.kind, len(each.alerts)) for _, each in outcome.tellings]
    assert told == [(70, "firing", 12), (370, "updated", 20)]


def test_a_silence_holds_the_message_back_and_what_is_still_true_is_told_at_its_end() -> None:
    run = Run()
    run.silent = {"shop"}
    run.shop(2000, 30)
    assert run.told == []
    assert [each.held for each in run.judge.incidents.values()] == ["silenced"]
    run.silent = set()
    assert run.shop(2000, 1).told == [(310, "firing", 1)]


def test_an_end_is_told_also_under_a_silence_when_the_beginning_was() -> None:
    run = Run().shop(2000, 8)
    run.silent = {"shop"}
    assert run.shop(10, 14).kinds == ["firing", "resolved"]


def test_what_began_and_ended_under_a_silence_is_never_told() -> None:
    run = Run()
    run.silent = {"shop"}
    run.shop(2000, 8).shop(10, 20)
    run.silent = set()
    assert run.shop(10, 5).told == []


def test_a_critical_of_the_same_metric_and_service_hides_a_warning_of_another_rule() -> None:
    mild = replace(RULE, id="mild", lines=(500.0, None))
    run = Run()
    run.feed(*[values(shop=9000)] * 10, rules=(RULE, mild))
    assert run.told == [(70, "firing", 2)]
    run.feed(*[values(shop=10)] * 14, rules=(RULE, mild))
    assert run.kinds == ["firing", "resolved"]


def test_what_flaps_is_told_as_flapping_and_then_held_until_it_has_been_quiet_for_an_hour() -> None:
    run = Run(replace(RULE, for_s=(10, 10), keep_firing_s=20))
    for _ in range(12):
        run.shop(2000, 2).shop(10, 6)
    assert run.kinds == ["firing", "resolved"] * 4 + ["flapping"]
    run.shop(10, 400)
    assert run.kinds[-1] == "resolved"
    assert run.kinds.count("resolved") == 5


def test_worse_than_what_was_told_is_told_although_it_flaps() -> None:
    run = Run(replace(RULE, for_s=(10, 10), keep_firing_s=20))
    for _ in range(8):
        run.shop(2000, 2).shop(10, 6)
    assert run.shop(9000, 2).told[-1][1:] == ("escalated", 2)


def test_the_alerts_of_a_rule_that_went_or_judges_something_else_end_and_are_told_to() -> None:
    run = Run().shop(2000, 8)
    run.feed(values(shop=2000), rules=(replace(RULE, id="other"),))
    assert run.kinds == ["firing", "expired"]
    again = Run().shop(2000, 8)
    again.rule = replace(RULE, lines=(None, 500.0))
    assert again.shop(2000, 1).kinds == ["firing", "expired"]


def test_a_line_that_is_moved_is_judged_from_the_next_step_on() -> None:
    run = Run().shop(2000, 8)
    run.rule = replace(RULE, lines=(3000.0, 5000.0))
    assert run.shop(2000, 14).kinds == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("operator", "bad", "good"),
    [("gt", 1001, 1000), ("gte", 1000, 999), ("lt", 999, 1000), ("lte", 1000, 1001),
     ("eq", 1000, 1001)],
)  # fmt: skip
def test_every_operator_fires_on_its_side_of_the_line(
    operator: str, bad: float, good: float
) -> None:
    rule = replace(RULE, operator=operator, lines=(1000.0, None))
    assert Run(rule).shop(bad, 8).shop(good, 14).kinds == ["firing", "resolved"]
    assert Run(rule).shop(good, 30).kinds == []


@given(st.lists(st.sampled_from([10.0, 900.0, 2000.0, 9000.0, None]), max_size=120))
def test_whatever_comes_every_message_has_its_counterpart(series: Iterable[float | None]) -> None:
    run = Run(replace(RULE, for_s=(20, 20), keep_firing_s=30))
    for value in series:
        run.shop(value, 1)
    # Enough good values for everything to end, and for flapping to be over.
    run.shop(10, 800)
    opened = 0
    for kind in run.kinds:
        if kind in ("firing", "flapping"):
            assert opened == 0
            opened = 1
        elif kind == "resolved":
            assert opened == 1
            opened = 0
        else:
            assert opened == 1
    assert opened == 0
    assert run.judge.alerts == {}
    assert run.judge.incidents == {}


def test_what_has_recovered_when_a_silence_ends_is_not_told_as_if_it_went_on() -> None:
    run = Run()
    run.silent = {"shop"}
    run.shop(2000, 10).shop(10, 2)
    run.silent = set()
    assert run.shop(10, 20).told == []


def test_no_reminder_comes_while_it_keeps_or_while_nothing_is_known() -> None:
    rule = replace(RULE, cooldown_s=60, keep_firing_s=600)
    assert Run(rule).shop(2000, 8).shop(10, 40).kinds == ["firing"]
    assert Run(rule).shop(2000, 8).feed(*[values()] * 100).kinds == ["firing"]


def test_a_critical_that_has_recovered_hides_no_other_rule() -> None:
    mild = replace(RULE, id="mild", lines=(500.0, None), keep_firing_s=20)
    run = Run(replace(RULE, keep_firing_s=900))
    rules = (run.rule, mild)
    run.feed(*[values(shop=9000)] * 10, rules=rules)
    run.feed(*[values(shop=10)] * 10, rules=rules)
    assert run.kinds == ["firing"]
    run.feed(*[values(shop=700)] * 10, rules=rules)
    assert run.kinds == ["firing", "firing"]


def test_flapping_that_turns_into_steady_trouble_is_told_within_the_hour() -> None:
    run = Run(replace(RULE, for_s=(10, 10), keep_firing_s=20))
    for _ in range(8):
        run.shop(2000, 2).shop(10, 6)
    assert run.kinds[-1] == "flapping"
    run.shop(2000, 380)
    assert run.kinds[-1] == "reminder"


def test_without_data_an_alert_by_absence_expires_unless_its_series_is_named() -> None:
    rule = replace(RULE, no_data="alert")
    run = Run(rule).shop(10, 3).feed(*[values()] * 8_700)
    assert run.kinds[0] == "firing"
    assert run.kinds[-1] == "expired"
    assert run.judge.alerts == {}
    named = Run(replace(rule, where={"service": "shop"})).feed(*[values()] * 8_700)
    assert "expired" not in named.kinds


def test_a_rule_that_judges_something_else_begins_anew_where_its_old_alert_ends() -> None:
    run = Run().shop(2000, 8)
    run.rule = replace(RULE, lines=(None, 500.0))
    run.shop(2000, 1)
    assert [alert.state for alert in run.judge.alerts["r"].values()] == ["pending"]
    assert run.shop(2000, 6).kinds == ["firing", "expired", "firing"]


def test_more_of_it_is_told_anew_in_each_incident() -> None:
    rule = replace(RULE, group_by=("route",), keep_firing_s=20)
    judge, told, t_s = Judge(), [], 0
    for count in (*[9] * 8, *[0] * 6, *[1] * 8, *[3] * 40):
        t_s += STEP_S
        numbers = np.array([2000.0 if n < count else 10.0 for n in range(9)])
        groups: list[tuple[str, ...]] = [(f"/r{n}",) for n in range(9)]
        values_ = Values(("route",), groups, numbers, np.full(9, 100.0))
        told += [each.kind for _, each in judge.step(t_s, STEP_S, [Judged(rule, values_)]).tellings]
    assert told == ["firing", "resolved", "firing", "updated"]
