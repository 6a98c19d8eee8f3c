"""The values of one step, series by series, and the rules that are held against them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from trimtab_collector.alerts.rules import Rule
from trimtab_collector.storage.columns import Array

__all__ = ["FIELDS", "RuleValues", "StepValues", "Values"]

#: every field of a series that a rule may name, in the order of values
FIELDS: Final = (
    *("environment", "service", "version", "instance", "route", "method", "status_class", "agent"),
)


class StepValues(Protocol):
    """What a rule is held against in one step."""

    def crossing(self, rule: Rule) -> Iterable[tuple[tuple[str, ...], float]]:
        """Yield labels and value of each series that crosses the lowest line of a rule."""

    def labels(self, rule: Rule) -> list[tuple[str, ...]]:
        """Return the labels of every series of a rule that has a value that may be judged."""

    def value_of(self, rule: Rule, labels: tuple[str, ...]) -> float | None:
        """Return the value of one series of a rule; None where there is none to judge."""


class RuleValues:
    """What one rule may judge in one step, found ahead; no other rule is held against it."""

    __slots__ = ("_crossing", "_known")

    def __init__(
        self,
        known: Mapping[tuple[str, ...], float],
        crossing: Sequence[tuple[tuple[str, ...], float]],
    ) -> None:
        """Take values by labels, and those of them that cross the lowest line."""
        self._known = known
        self._crossing = crossing

    def crossing(self, rule: Rule) -> Sequence[tuple[tuple[str, ...], float]]:
        """Return labels and value of each series that crosses the lowest line."""
        return self._crossing

    def labels(self, rule: Rule) -> list[tuple[str, ...]]:
        """Return the labels of every series that may be judged."""
        return list(self._known)

    def value_of(self, rule: Rule, labels: tuple[str, ...]) -> float | None:
        """Return the value of one series; None where there is none to judge."""
        return self._known.get(labels)


class Values:
    """One value for each series of a metric, over one step."""

    def __init__(
        self,
        fields: tuple[str, ...],
        groups: list[tuple[str, ...]],
        value: Array,
        weight: Array | None = None,
    ) -> None:
        """Take values, nan where there is none, and how many requests each is made of.

        Without weights, no floor applies.
        """
        self.fields = fields
        self.groups = groups
        self.value = value
        self.weight = weight
        self._places: dict[tuple[str, ...], int] | None = None
        self._by_text: dict[int, dict[str, Array]] = {}

    def crossing(self, rule: Rule) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield labels and value of each series that crosses the lowest line of a rule."""
        if not self.groups:
            return
        places = self._matching(rule.where)
        value = self.value if places is None else self.value[places]
        crossed = rule.crossed(value, rule.lowest)
        if self.weight is not None:
            crossed &= (self.weight if places is None else self.weight[places]) >= rule.min_requests
        positions = [self.fields.index(name) for name in rule.group_by]
        for at in np.flatnonzero(crossed).tolist():
            place = at if places is None else int(places[at])
            group = self.groups[place]
            yield tuple(group[position] for position in positions), float(self.value[place])

    def labels(self, rule: Rule) -> list[tuple[str, ...]]:
        """Return the labels of every series of a rule that has a value that may be judged."""
        places = self._matching(rule.where)
        every = range(len(self.groups)) if places is None else places.tolist()
        positions = [self.fields.index(name) for name in rule.group_by]
        return [
            tuple(self.groups[place][position] for position in positions)
            for place in every
            if self._known(rule, place)
        ]

    def value_of(self, rule: Rule, labels: tuple[str, ...]) -> float | None:
        """Return the value of one series of a rule; None where there is none to judge."""
        if self._places is None:
            self._places = {group: place for place, group in enumerate(self.groups)}
        of = {**rule.where, **dict(zip(rule.group_by, labels, strict=True))}
        place = self._places.get(tuple(of[name] for name in self.fields))
        if place is None or not self._known(rule, place):
            return None
        return float(self.value[place])

    def _known(self, rule: Rule, place: int) -> bool:
        enough = self.weight is None or self.weight[place] >= rule.min_requests
        return bool(enough and self.value[place] == self.value[place])

    def _matching(self, where: Mapping[str, str]) -> Array | None:
        """Return the places of series with these texts, ascending; None for all."""
        found: Array | None = None
        for name, text in where.items():
            places = self._places_of(self.fields.index(name)).get(text, np.zeros(0, np.int64))
            found = places if found is None else np.intersect1d(found, places, assume_unique=True)
        return found

    def _places_of(self, position: int) -> Mapping[str, Array]:
        if position not in self._by_text:
            texts: dict[str, list[int]] = {}
            for place, group in enumerate(self.groups):
                texts.setdefault(group[position], []).append(place)
            self._by_text[position] = {
                text: np.array(places, np.int64) for text, places in texts.items()
            }
        return self._by_text[position]
