"""A difference of two means divided into shares: by cause, and by group of requests.

With w for the share of a group among all requests, m for its mean and M for the mean of all, the
part of a group in M_b - M_a is w_b (m_b - M_a) - w_a (m_a - M_a). Over all groups these parts add
up to the difference exactly, also where a group is on one side only. What requests of the group
became slower by is (w_a + w_b) / 2 * (m_b - m_a); the rest is a shift of requests between groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trimtab_collector.contract.explanation import CAUSES
from trimtab_collector.storage.store import Rows

__all__ = ["CALLS", "ShareOfChange", "Spent", "added", "parts_of", "spent_of"]

Name = tuple[str, ...]

#: cause -> columns of points that count its calls
CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "database": ("db_calls",),
    "external": ("external_calls",),
    "cache": ("cache_hits", "cache_misses"),
}
_TIMES: Final = {
    "database": "db_us",
    "external": "external_us",
    "cache": "cache_us",
    "queue": "queue_us",
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What some requests spent together."""

    requests: int = 0
    #: cause -> ms; a cause that was not measured is absent, and in `app`
    ms: Mapping[str, float] = field(default_factory=dict)
    #: cause -> calls
    calls: Mapping[str, int] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Milliseconds of a request, 0 without requests."""
        return sum(self.ms.values()) / self.requests if self.requests else 0.0

    def of(self, cause: str) -> float:
        """Return the ms of a request that a cause takes, 0 without requests."""
        return self.ms.get(cause, 0.0) / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class ShareOfChange:
    """The part of one group in the difference of two means, ms."""

    name: Name
    a: Spent
    b: Spent
    difference: float
    slower: float
    #: cause -> ms of slower
    causes: Mapping[str, float]

    @property
    def shift(self) -> float:
        """What requests of other groups, or of none, account for."""
        return self.difference - self.slower


def spent_of(
    rows: Rows, fields: Sequence[str], pauses: Mapping[tuple[str, str], float]
) -> dict[Name, Spent]:
    """Return what each group spent; of groups without requests nothing.

    The first two fields are environment and service, by which pauses has the share of time in
    which processes stood still for garbage collection. That this share of the app's own time is
    such a pause is an estimate.
    """
    columns = rows.columns
    wanted = ("requests", "sum_us", *_TIMES.values(), *(name for some in CALLS.values()
                                                        for name in some))  # fmt: skip
    values = {name: columns.value(name).tolist() for name in wanted}
    found: dict[Name, Spent] = {}
    for row, group in enumerate(rows.group.tolist()):
        requests = values["requests"][row]
        if not requests:
            continue
        name = rows.groups[group]
        ms = {cause: values[column][row] / 1000 for cause, column in _TIMES.items()}
        own = values["sum_us"][row] / 1000 - ms["database"] - ms["external"] - ms["cache"]
        pause = pauses.get((name[0], name[1]))
        if pause is not None:
            ms["gc"] = max(0.0, own) * pause
        ms["app"] = own - ms.get("gc", 0.0)
        calls = {cause: sum(values[each][row] for each in some) for cause, some in CALLS.items()}
        found[name] = Spent(requests, ms, calls)
    return found


def added(every: Mapping[Name, Spent]) -> Spent:
    """Return what all groups spent together."""
    ms: dict[str, float] = {}
    calls: dict[str, int] = {}
    for spent in every.values():
        for cause, value in spent.ms.items():
            ms[cause] = ms.get(cause, 0.0) + value
        for cause, count in spent.calls.items():
            calls[cause] = calls.get(cause, 0) + count
    return Spent(sum(spent.requests for spent in every.values()), ms, calls)


def parts_of(a: Mapping[Name, Spent], b: Mapping[Name, Spent]) -> list[ShareOfChange]:
    """Return the parts of all groups; those that account for most of the difference come first.

    Nothing where a side has no requests.
    """
    all_a, all_b = added(a), added(b)
    if not all_a.requests or not all_b.requests:
        return []
    before = all_a.mean
    slower = all_b.mean >= before
    nothing = Spent()
    parts = []
    for name in {*a, *b}:
        one, other = a.get(name, nothing), b.get(name, nothing)
        w_a, w_b = one.requests / all_a.requests, other.requests / all_b.requests
        weight = (w_a + w_b) / 2 if one.requests and other.requests else 0.0
        causes = {
            cause: weight * (other.of(cause) - one.of(cause))
            for cause in CAUSES
            if weight and (cause in one.ms or cause in other.ms)
        }
        difference = w_b * (other.mean - before) - w_a * (one.mean - before)
        parts.append(
            ShareOfChange(name, one, other, difference, weight * (other.mean - one.mean), causes)
        )
    sign = 1 if slower else -1
    return sorted(parts, key=lambda part: (-sign * part.difference, part.name))
