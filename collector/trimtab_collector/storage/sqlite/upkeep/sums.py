"""Points summed up by service and hour, in bounded memory, and compared bit by bit.

All levels of roll-up have the same sums by service, version, environment and status class, and so
have all tiers by hour. Sums have every value, the largest max_us, and the whole sketch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import (
    VALUES,
    Array,
    Columns,
    nothing,
    rekey,
    times_of,
)
from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.levels import LEVELS, rolled_up
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.statuses import no_statuses

__all__ = ["HOUR_S", "Sums", "by_hour", "difference", "digest", "instant"]

HOUR_S: Final = 3600
_GATHER: Final = 64
_NAMES: Final = ("requests", *VALUES)


class Sums:
    """The sum of the added points, by service roll-up and hour."""

    def __init__(self, parents: Sequence[Array]) -> None:
        self._parents = parents[LEVELS - 1]
        self._parts: list[Columns] = []

    def add(self, columns: Columns) -> None:
        """Add points of any level or tier."""
        if len(columns.key):
            self._parts.append(rolled_up(columns, self._parents, HOUR_S))
        if len(self._parts) >= _GATHER:
            self._parts = [merge(self._parts)]

    def columns(self) -> Columns:
        """Return the sum: one point per service roll-up and hour."""
        return merge(self._parts) if self._parts else nothing()


def by_hour(columns: Columns) -> Iterator[tuple[int, Columns]]:
    """Yield each hour that sums hold, with its part."""
    t = times_of(columns.key)
    for hour_s in np.unique(t).tolist():
        within = t == hour_s
        yield hour_s, rekey(columns, columns.key[within], within)


def digest(columns: Columns) -> int:
    """Return a digest that only equal sums share."""
    found = hashlib.blake2b(digest_size=16)
    for array in _arrays(columns):
        found.update(np.ascontiguousarray(array, np.int64).tobytes())
    return int.from_bytes(found.digest(), "big")


def difference(expected: Columns, got: Columns, series: Dictionary) -> tuple[str, str] | None:
    """Describe where sums first differ; None if they are equal."""
    if all(map(np.array_equal, _arrays(expected), _arrays(got))):
        return None
    for key in np.union1d(expected.key, got.key).tolist():
        one, other = _at(expected, key), _at(got, key)
        if all(map(np.array_equal, _arrays(one), _arrays(other))):
            continue
        names = [name for name in _NAMES if _sum(one, name) != _sum(other, name)]
        names = names[:3] or ["requests"]
        words = [
            ", ".join(f"{name} {_sum(columns, name)}" for name in names) for columns in (one, other)
        ]
        if words[0] == words[1]:
            words = [
                f"{word} with sketch {digest(c):032x}"
                for word, c in zip(words, (one, other), strict=True)
            ]
        texts = series.key(key >> 32)
        where = f"{texts.environment}/{texts.service} {texts.status_class}"
        return f"{words[0]} of {where} at {instant(key & 0xFFFFFFFF)}", words[1]
    return "the same order of points", "another"


def instant(t: int) -> str:
    """Return a time as text."""
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _at(columns: Columns, key: int) -> Columns:
    within = columns.key == key
    return rekey(columns, columns.key[within], within)


def _sum(columns: Columns, name: str) -> int:
    return sum(columns.value(name).tolist())


def _arrays(columns: Columns) -> list[Array]:
    values = [columns.value(name) for name in _NAMES]
    statuses = columns.statuses or no_statuses(len(columns.key))
    return [columns.key, *values, columns.buckets, columns.indexes, columns.counts, *statuses]
