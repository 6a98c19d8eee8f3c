"""One rule over stored steps: the judge that runs live, asked only where anything can happen.

Steps in which time alone passes are passed over at once; what comes out is the same, bit for bit.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

from trimtab_collector.alerts.judge import Judge, Judged
from trimtab_collector.alerts.machine import Alert
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.alerts.stretch import Stretch

__all__ = ["Rehearsal"]


class Rehearsal:
    """What a rule would have done; stretches come in order, without gaps between them."""

    def __init__(self, rule: Rule, step_s: int) -> None:
        self._rule: Final = rule
        self._step_s: Final = step_s
        self.judge = Judge()
        #: alerts that fired and have ended
        self.ended: list[Alert] = []
        #: messages by kind
        self.kinds: Counter[str] = Counter()
        #: for how long at least one alert fired or kept on
        self.firing_s = 0

    @property
    def watched(self) -> Collection[tuple[str, ...]]:
        """Series that have an alert by now, which the next stretch must know."""
        return self.judge.alerts.get(self._rule.id, {}).keys()

    def over(self, stretch: Stretch, check: Callable[[], None] = lambda: None) -> None:
        """Judge the steps of a stretch; check is called before each that is judged."""
        place, judge = 0, self.judge
        while place < len(stretch.ends_s):
            if not judge.alerts and not judge.incidents and self._rule.no_data != "alert":
                place = stretch.crossing_from(place)
                if place == len(stretch.ends_s):
                    break
            check()
            told = self._step(stretch, place)
            place += 1
            if not told:
                place = self._pass(stretch, place)

    def _step(self, stretch: Stretch, place: int) -> bool:
        """Judge one step; returns whether anything happened."""
        judge, end_s = self.judge, stretch.ends_s[place]
        # The step begins as the one before it ended.
        self.firing_s += self._step_s * bool(judge.open_alerts())
        values = stretch.at(place)
        outcome = judge.step(end_s, self._step_s, [Judged(self._rule, values)])
        self.ended += [
            each for each in outcome.changed if each.is_over and each.fired_s is not None
        ]
        self.kinds.update(telling.kind for _, telling in outcome.tellings)
        return bool(outcome.changed or outcome.tellings)

    def _pass(self, stretch: Stretch, place: int) -> int:
        """Pass over the steps from this place on in which nothing happens; returns the next one."""
        due_s = self.judge.due_s(stretch.ends_s[place - 1])
        end = min(stretch.moved_from(place), bisect_left(stretch.ends_s, due_s))
        if end <= place:
            return place
        passed_s = (end - place) * self._step_s
        self.firing_s += passed_s * bool(self.judge.open_alerts())
        self.judge.stay(
            stretch.ends_s[end - 1],
            passed_s,
            lambda alert: stretch.values_of(alert.labels, place, end),
        )
        return end
