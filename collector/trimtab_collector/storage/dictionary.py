"""The dictionary of series: from the seven texts of a series to a small number, and back.

Every place that keeps points has its own: memory, each tier file, each batch. So names go away with
the points that use them, and a number is valid only with its own dictionary.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.levels import LEVELS, dropped_at, parent_of
from trimtab_core.batches import SeriesKey

__all__ = ["Dictionary", "Grouping", "Groups", "Survivors"]


_MOST_CODES: Final = 2**62
#: answers of `group` that a dictionary keeps
_GROUPINGS: Final = 8


class Grouping(NamedTuple):
    """The group of each series of a dictionary: -1 for none."""

    group: Array
    groups: list[tuple[str, ...]]


class Survivors(NamedTuple):
    """A new dictionary with some of the series of another."""

    dictionary: "Dictionary"
    #: for each series of the other, its number in the new one; -1 if it is not in it
    numbers: Array

    def renumber(self, old: "Dictionary", used: Array) -> Array:
        """Return the new number of each series of the old one; those in used get one if need be."""
        numbers = np.full(len(old), -1, np.int64)
        numbers[: len(self.numbers)] = self.numbers
        for number in used[numbers[used] < 0].tolist():
            numbers[number] = self.dictionary.add(old.key(number))
        return numbers


class Dictionary:
    """Series by number: 0, 1, 2 and so on. It only grows; thread-safe.

    If `linked`, adding a series also adds the series of the levels above that it is part of.
    """

    def __init__(self, rows: Iterable[tuple[int, SeriesKey]] = (), *, linked: bool = False) -> None:
        self._linked = linked
        self._lock = threading.RLock()
        self._numbers: dict[SeriesKey, int] = {}
        self._keys: list[SeriesKey] = []
        #: for each level: the series that each series is part of
        self._parents: list[list[int]] = [[] for _ in range(LEVELS)]
        self._routes: list[int] = []
        self._route_numbers: dict[tuple[str, str, str], int] = {}
        self._services: list[int] = []
        self._service_numbers: dict[tuple[str, str], int] = {}
        self._codes: list[dict[str, int]] = [{} for _ in SeriesKey._fields]
        self._columns: list[list[int]] = [[] for _ in SeriesKey._fields]
        self._arrays: dict[object, Array] = {}
        #: number of series and what was asked -> groups, the latest last
        self._groupings: dict[tuple[object, ...], Grouping] = {}
        #: numbers whose names are not known: they are in no group
        self.lost: list[int] = []
        self.load(rows)

    def __len__(self) -> int:
        return len(self._keys)

    def load(self, rows: Iterable[tuple[int, SeriesKey | None]]) -> None:
        """Add the rows that are not here yet, None for a name that is lost.

        Raises ValueError for a hole in the numbers.
        """
        with self._lock:
            for number, key in rows:
                if number < len(self._keys):
                    continue
                if number > len(self._keys):
                    raise ValueError(f"expected series {len(self._keys)}, got {number}")
                if key is None:
                    self.lost.append(number)
                    key = SeriesKey(*[f"lost name {number}"] * len(SeriesKey._fields))
                self._append(key)

    def find(self, key: tuple[str, ...]) -> int | None:
        """Return the number of a series, None if it has none."""
        return self._numbers.get(key)  # type: ignore[call-overload,no-any-return]

    def add(self, key: SeriesKey) -> int:
        """Return the number of a series, a new one if it has none."""
        number = self._numbers.get(key)
        if number is None:
            with self._lock:
                number = self._numbers.get(key)
                if number is None:
                    number = self._append(key)
        return number

    def key(self, number: int) -> SeriesKey:
        """Return the texts of a series."""
        return self._keys[number]

    def keys(self) -> list[SeriesKey]:
        """Return all series, by number."""
        return list(self._keys)

    def kept(self, used: Array) -> Survivors:
        """Return a new, linked dictionary with only the series of these numbers."""
        dictionary = Dictionary(linked=True)
        numbers = np.full(len(self), -1, np.int64)
        for number in used.tolist():
            numbers[number] = dictionary.add(self.key(number))
        return Survivors(dictionary, numbers)

    def parents(self) -> tuple[Array, ...]:
        """Return for each level the series that every series is part of; for a linked one."""
        with self._lock:
            return tuple(
                self._array(("parents", level), numbers, np.int64)
                for level, numbers in enumerate(self._parents)
            )

    def routes(self) -> Array:
        """Return the route number of every series; the roll-up of a service has one, too."""
        with self._lock:
            return self._array("routes", self._routes, np.int64)

    def services_of(self, numbers: Array) -> tuple[Array, tuple[tuple[str, str], ...]]:
        """Return for each series the place of its service, and the (environment, service) pairs."""
        with self._lock:
            services = self._array("services", self._services, np.int64)
            names = list(self._service_numbers)
        found, place = np.unique(services[numbers], return_inverse=True)
        return place.reshape(-1), tuple(names[number] for number in found.tolist())

    def of_level(self, level: int) -> Array:
        """Return which series are roll-ups of a level; for level 0, all."""
        if not level:
            return np.ones(len(self._keys), bool)
        with self._lock:
            masks = [self._column(name) == self._code(name, "") for name in dropped_at(level)]
        mask: Array = np.logical_and.reduce(masks)
        return mask

    def group(self, by: tuple[str, ...], where: Mapping[str, str]) -> Grouping:
        """Return the groups of series by the fields in by, of series with the texts in where.

        Both name fields of SeriesKey.
        """
        asked = (len(self), by, *where.items())
        with self._lock:
            grouping = self._groupings.get(asked)
        if grouping is None:
            grouping = self._grouped(by, where)
            with self._lock:
                # A dashboard asks the same question again and again.
                self._groupings = dict([*self._groupings.items()][1 - _GROUPINGS :])
                self._groupings[asked] = grouping
        return grouping

    def _grouped(self, by: tuple[str, ...], where: Mapping[str, str]) -> Grouping:
        with self._lock:
            columns = {name: self._column(name) for name in {*by, *where}}
            keep = np.ones(len(self._keys), bool)
            for name, text in where.items():
                keep &= columns[name] == self._code(name, text)
            keep[[number for number in self.lost if number < len(keep)]] = False
            names = {name: list(self._codes[SeriesKey._fields.index(name)]) for name in by}
        group = np.full(len(keep), -1, np.int64)
        chosen = np.flatnonzero(keep)
        if not by:
            group[chosen] = 0
            return Grouping(group, [()])
        if not len(chosen):
            return Grouping(group, [])
        rows, inverse = _distinct([(columns[name][chosen], len(names[name])) for name in by])
        group[chosen] = inverse
        texts = [[names[name][code] for code in row] for name, row in zip(by, rows, strict=True)]
        return Grouping(group, list(zip(*texts, strict=True)))

    def _column(self, name: str) -> Array:
        """Return the codes of a field; call with the lock held."""
        return self._array(name, self._columns[SeriesKey._fields.index(name)], np.int32)

    def _code(self, name: str, text: str) -> int:
        return self._codes[SeriesKey._fields.index(name)].get(text, -1)

    def _array(self, name: object, numbers: list[int], dtype: type) -> Array:
        """Return a list as an array, which is cached until the list grows."""
        array = self._arrays.get(name)
        if array is None or len(array) != len(numbers):
            array = self._arrays[name] = np.array(numbers, dtype)
        return array

    def _append(self, key: SeriesKey) -> int:
        number = len(self._keys)
        if number not in self.lost[-1:]:
            self._numbers[key] = number
        route = (key.environment, key.service, key.route)
        self._routes.append(self._route_numbers.setdefault(route, len(self._route_numbers)))
        service = (key.environment, key.service)
        self._services.append(self._service_numbers.setdefault(service, len(self._service_numbers)))
        for field, text in enumerate(key):
            codes = self._codes[field]
            self._columns[field].append(codes.setdefault(text, len(codes)))
        # Last, because readers take the number of keys as the number of series.
        self._keys.append(key)
        if self._linked:
            for parents in self._parents:
                parents.append(number)
            for level in range(1, LEVELS):
                self._parents[level][number] = self.add(parent_of(key, level))
        return number


def _distinct(columns: Sequence[tuple[Array, int]]) -> tuple[list[Array], Array]:
    """Return the distinct rows of columns of codes in order, by column, and the row of each place.

    Each column comes with the number of its codes. Rows are told apart as one number each: sorting
    rows as such takes ten times as long. Where one number cannot hold them, codes of the columns
    before are counted anew.
    """
    key = np.zeros(len(columns[0][0]), np.int64)
    size = 1
    for codes, count in columns:
        if size > _MOST_CODES // max(count, 1):
            found, key = np.unique(key, return_inverse=True)
            size, key = len(found), key.reshape(-1)
        key = key * count + codes
        size *= count
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return [codes[first] for codes, _ in columns], inverse.reshape(-1)


class Groups:
    """The groups of one read, by number, the same over all dictionaries."""

    def __init__(self, by: tuple[str, ...], where: Mapping[str, str]) -> None:
        self._by = by
        self._where = where
        self._numbers: dict[tuple[str, ...], int] = {}

    def of(self, dictionary: Dictionary) -> Array:
        """Return the number of the group of each series of a dictionary, -1 for none."""
        grouping = dictionary.group(self._by, self._where)
        group: Array = np.array([*self.numbers(grouping.groups), -1], np.int64)[grouping.group]
        return group

    def numbers(self, names: Iterable[tuple[str, ...]]) -> list[int]:
        """Return the numbers of groups by name, new ones if need be."""
        return [self._numbers.setdefault(name, len(self._numbers)) for name in names]

    def names(self) -> list[tuple[str, ...]]:
        """Return the groups that were found, by number."""
        return list(self._numbers)
