"""A rule over stored steps comes out as if each of them had been judged, one by one."""

from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab_collector.alerts.judge import Judge, Judged, Outcome
from trimtab_collector.alerts.machine import Alert
from trimtab_collector.alerts.rehearsal import Rehearsal
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.alerts.stretch import Stretch, ValueTable

#: lines at 100 and 400; recovery, where there is one, at 50
RULE = Rule("r", "a rule", "responseTime", lines=(100.0, 400.0), group_by=("service", "route"))
#: of which a run of steps is made: values on each side of the lines and at one, no number, too few
#: requests, no data
KINDS = ("good", "between", "warning", "critical", "line", "nan", "few", "gone")
VALUES = {"good": 10.0, "between": 60.0, "warning": 200.0, "critical": 500.0, "line": 100.0}
BEGIN_S = 1_000_000_200


#: steps that follow each other: kind, how many, whether their values vary
Run = tuple[str, int, bool]


class Case(NamedTuple):
    """A rule, and series of it by runs."""

    rule: Rule
    step_s: int
    series: tuple[tuple[Run, ...], ...]
    #: steps of each stretch, over and over
    slices: tuple[int, ...] = (1440,)


class RecordedJudge(Judge):
    """Notes whatever happens, as it is at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.happened: list[object] = []

    def step(self, t_s: float, *more: object, **named: object) -> Outcome:
        self.steps += 1
        outcome = super().step(t_s, *more, **named)  # type: ignore[arg-type]
        if outcome.changed or outcome.tellings:
            changed = [_alert(each) for each in outcome.changed]
            told = [
                (each.kind, each.level, each.number, asdict(each.incident) | {"id": ""},
                 [_alert(alert) for alert in each.alerts])
                for _, each in outcome.tellings
            ]  # fmt: skip
            self.happened.append((t_s, changed, told))
        return outcome

    def state(self) -> object:
        """Return all that it knows, but for names made up at random."""
        rows = [[_alert(each) for each in by.values()] for by in self.alerts.values()]
        incidents = [(key, asdict(each) | {"id": ""}) for key, each in self.incidents.items()]
        return rows, incidents, self.rules


def _alert(alert: Alert) -> dict[str, object]:
    return asdict(alert) | {"id": "", "group_id": ""}


def table_of(case: Case) -> tuple[ValueTable, int]:
    """Return the values of a case, and how many steps they take."""
    rows: list[tuple[int, int, float, float]] = []
    most = 0
    for group, runs in enumerate(case.series):
        step = 0
        for kind, steps, varies in runs:
            for place in range(steps if kind != "gone" else 0):
                value = VALUES.get(kind, 300.0) + (place * 7 % 13 if varies else 0)
                value = float("nan") if kind == "nan" else value
                rows.append((group, step + place, value, 3.0 if kind == "few" else 100.0))
            step += steps
        most = max(most, step)
    rows.sort(key=lambda row: (row[1] % 7, row[0], row[1]))
    columns = [np.array([row[place] for row in rows], np.float64) for place in range(4)]
    group_, step_ = (column.astype(np.int64) for column in columns[:2])
    groups: list[tuple[str, ...]] = [(f"s{at // 2}", f"/r{at}") for at in range(len(case.series))]
    return ValueTable(("service", "route"), groups, group_, step_, *columns[2:]), most


def _part(table: ValueTable, low: int, high: int) -> ValueTable:
    keep = (table.step >= low) & (table.step < high)
    assert table.weight is not None
    return ValueTable(
        *(table.fields, table.groups, table.group[keep], table.step[keep] - low),
        *(table.value[keep], table.weight[keep]),
    )


def _compare(case: Case) -> RecordedJudge:
    """Judge a case in both ways, compare them, and return the judge of the rehearsal."""
    rule, (table, steps) = case.rule, table_of(case)
    run, judge, plain = Rehearsal(rule, case.step_s), RecordedJudge(), RecordedJudge()
    run.judge = judge
    firing_s = place = turn = 0
    while place < steps:
        end = min(steps, place + case.slices[turn % len(case.slices)])
        part = _part(table, place, end)
        ends_s = tuple(BEGIN_S + case.step_s * (each + 1) for each in range(place, end))
        run.over(Stretch(rule, part, ends_s, run.watched))
        for at, end_s in enumerate(ends_s):
            firing_s += case.step_s * bool(plain.open_alerts())
            plain.step(end_s, case.step_s, [Judged(rule, part.at(at))])
        assert judge.happened == plain.happened
        assert judge.state() == plain.state()
        assert run.firing_s == firing_s
        place, turn = end, turn + 1
    return judge


#: blips, what lasts, and what lasts for longer than a day of steps of ten minutes
_STEPS = st.integers(1, 4) | st.integers(1, 20) | st.integers(20, 160)
_RUN = st.tuples(st.sampled_from(KINDS), _STEPS, st.booleans())
_CASES = st.builds(
    Case,
    st.builds(
        replace,
        st.just(RULE),
        operator=st.sampled_from(["gt", "gte", "eq"]),
        lines=st.sampled_from([(100.0, 400.0), (100.0, None), (None, 400.0)]),
        for_s=st.sampled_from([(0, 0), (300, 300), (600, 60), (60, 900)]),
        keep_firing_s=st.sampled_from([0, 60, 900, 7200]),
        recovery=st.sampled_from([None, 50.0]),
        no_data=st.sampled_from(["keep", "keep", "ok", "ok", "alert"]),
        cooldown_s=st.sampled_from([300, 3600, 14_400]),
    ),
    st.sampled_from([60, 60, 600]),
    st.lists(st.lists(_RUN, min_size=2, max_size=8).map(tuple), min_size=1, max_size=3).map(tuple),
    st.lists(st.integers(20, 400), min_size=1, max_size=2).map(tuple),
)
#: times that are short, of ten minutes at most
_SOON = replace(RULE, for_s=(60, 60), keep_firing_s=60)
#: in and out of a line, so that it flaps
_FLAPPING = (("critical", 6, False), ("good", 3, False)) * 8
#: with a line of recovery; by one value alone; by absence
_HELD = replace(RULE, lines=(100.0, None), recovery=50.0)
_EQUAL = replace(RULE, operator="eq", lines=(100.0, None))
_ABSENT = replace(RULE, no_data="alert")


def _case(rule: Rule, *runs: Run, second: tuple[Run, ...] = (), step_s: int = 60) -> Case:
    return Case(rule, step_s, (runs, second) if second else (runs,))


@given(_CASES)
@example(_case(_SOON, *_FLAPPING, ("good", 200, True)))
@example(_case(_SOON, *_FLAPPING, ("warning", 200, True)))
@example(_case(RULE, ("critical", 9, True), ("gone", 160, False), ("good", 9, False), step_s=600))
@example(_case(_ABSENT, ("good", 160, True), ("gone", 200, False), step_s=600))
@example(_case(RULE, ("critical", 3, True), ("nan", 60, False), ("good", 9, False)))
@example(_case(RULE, ("critical", 20, True), ("warning", 60, True), ("good", 30, True)))
@example(_case(_HELD, ("critical", 20, True), ("between", 40, True), ("good", 30, True)))
@example(_case(_EQUAL, ("line", 20, False), ("few", 9, True), ("critical", 30, True)))
@example(_case(RULE, ("critical", 60, True), second=(("good", 2, False), ("critical", 58, True))))
def test_it_is_as_if_each_step_had_been_judged(case: Case) -> None:
    _compare(case)


@pytest.mark.parametrize("lines", [(100.0, None), (100.0, 400.0)])
def test_three_days_over_its_lines_are_judged_at_a_few_of_their_steps(
    lines: tuple[float | None, float | None],
) -> None:
    case = _case(replace(RULE, lines=lines), ("critical", 4_320, True))
    judge = _compare(case)
    # At both ends of a day, when it fires, and at the reminder of each four hours.
    assert judge.steps < 70


def test_a_quiet_week_is_not_judged() -> None:
    assert _compare(_case(RULE, ("good", 10_080, True))).steps == 0
