"""The measures of this process: what hooks and the app itself add to, until the emitter takes it.

Adding a value is one append to a list, atomic under the GIL, so there is no lock on the way and no
value is lost between threads. Lists are added up when somebody reads them, when the emitter comes
(once a second), and when one grows long, by whoever made it so.

A child of a fork starts from nothing: what its parent measured is the parent's to tell.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from math import isnan, nan
from typing import Any, Final

from trimtab_core.measures import (
    COUNTER,
    HISTOGRAM,
    MAX_ATTRIBUTES,
    MAX_TEXT,
    OTHER,
    Attributes,
    Delta,
    MeasureKey,
    value_buckets,
)

__all__ = ["MEASURES", "Measure", "MeasureFamily", "Measures"]

log = logging.getLogger("trimtab.metrics.measures")

#: values that wait in a list; the adder of the next one adds them up
_MOST_PENDING: Final = 4096
_PLAIN: Final = frozenset({int, float})
#: larger values are left out: their sum could be no number any more
_MOST_VALUE: Final = 1e300
#: measures of a process
_MOST_MEASURES: Final = 10_000


class Measure:
    """One measure of a process; every method from any thread."""

    __slots__ = ("_changed", "_is_listed", "_lock", "_pending", "delta", "id", "key", "total")

    def __init__(self, key: MeasureKey, number: int, changed: "deque[Measure]") -> None:
        self.key = key
        self._changed = changed
        #: number by which it is announced, from 1
        self.id = number
        self._pending: list[float] = []
        self._is_listed = False
        self.forget()

    def add(self, value: float) -> None:
        """Add a value; what is no finite number is left out when values are added up."""
        self._pending.append(value)
        # `take` has it the other way round: none is missed, some are listed twice.
        if not self._is_listed:
            self._is_listed = True
            self._changed.append(self)
        if len(self._pending) >= _MOST_PENDING and self._lock.acquire(blocking=False):
            # Not waiting: a signal handler or finalizer may add while its own thread adds up.
            try:
                self._settle()
            finally:
                self._lock.release()

    def forget(self) -> None:
        """Start from nothing."""
        self._lock = threading.Lock()
        self._pending.clear()
        self._is_listed = False
        #: what nobody has taken yet, and what was taken before
        self.delta = Delta()
        self.total = Delta()

    def settle(self) -> None:
        """Add up what waits; not from a signal handler."""
        with self._lock:
            self._settle()

    def _settle(self) -> None:
        count = len(self._pending)
        if not count:
            return
        values = _finite(self._pending[:count])
        del self._pending[:count]
        if not values:
            return
        delta = Delta(len(values), sum(values))
        if self.key.kind == COUNTER:
            delta.min = delta.max = 0.0
            delta.last = values[-1]
        else:
            delta.min, delta.max, delta.last = min(values), max(values), values[-1]
        if self.key.kind == HISTOGRAM:
            delta.buckets = value_buckets(values)
        self.delta.merge(delta)

    def take(self) -> Delta | None:
        """Return what was added since the last time, None when nothing was."""
        self._is_listed = False
        self.settle()
        with self._lock:
            if not self.delta.count:
                return None
            taken, self.delta = self.delta, Delta()
            self.total.merge(taken)
            return taken

    def read(self) -> Delta:
        """Return all that was added in this process; the caller's own copy."""
        self.settle()
        with self._lock:
            found = Delta()
            found.merge(self.total)
            found.merge(self.delta)
            return found


class MeasureFamily:
    """Measures of one name, told apart by attributes; over the cap they are one, counted."""

    __slots__ = ("_cap", "_found", "_measures", "kind", "name", "over_cap", "unit")

    def __init__(self, measures: "Measures", name: str, kind: str, unit: str, cap: int) -> None:
        self._measures = measures
        self.name, self.kind, self.unit = name, kind, unit
        self._cap = cap
        self._found: dict[Attributes, Measure] = {}
        #: times that attributes over the cap were asked for
        self.over_cap = 0

    def at(self, attributes: Attributes = ()) -> Measure:
        """Return the measure of these attributes, sorted by name; the same one each time."""
        found = self._found.get(attributes)
        return self._new(attributes) if found is None else found

    def _new(self, attributes: Attributes) -> Measure:
        if len(self._found) >= self._cap or self._measures.is_full:
            self.over_cap += 1
            attributes = tuple((name, OTHER) for name, _ in attributes)
            found = self._found.get(attributes)
            if found is not None:
                return found
        cut = tuple((name, _text(value)) for name, value in attributes[:MAX_ATTRIBUTES])
        measure = self._measures.new(MeasureKey(self.name, self.kind, self.unit, cut))
        # Another thread may have been first: its measure holds, ours was never added to.
        return self._found.setdefault(attributes, measure)

    def __iter__(self) -> Iterator[Measure]:
        """Return those there are."""
        return iter(list(self._found.values()))


class Measures:
    """All measures of a process; any thread."""

    def __init__(self) -> None:
        self._families: dict[str, MeasureFamily] = {}
        self._all: list[Measure] = []
        #: those that were added to since the last `changed`
        self._changed: deque[Measure] = deque()
        self._lock = threading.Lock()
        self._readers: list[Callable[[], object]] = []
        #: who sends them: the first of the process's runtimes that asked
        self._owner: object = None

    def family(self, name: str, kind: str, unit: str = "1", cap: int = 1000) -> MeasureFamily:
        """Return the family of a name of at most 128 characters.

        Raises ValueError when there is one of another kind or unit.
        """
        with self._lock:
            found = self._families.get(name)
            if found is None:
                found = self._families[name] = MeasureFamily(self, name, kind, unit, cap)
        if (found.kind, found.unit) != (kind, unit):
            raise ValueError(
                f"expected {name} to be a {found.kind} in {found.unit!r} as before, got a {kind} "
                f"in {unit!r}: choose another name"
            )
        return found

    def new(self, key: MeasureKey) -> Measure:
        """Return a new measure; for families."""
        with self._lock:
            measure = Measure(key, len(self._all) + 1, self._changed)
            self._all.append(measure)
            return measure

    @property
    def is_full(self) -> bool:
        """Tell whether the process has as many measures as it may."""
        return len(self._all) >= _MOST_MEASURES

    def claim(self, owner: object) -> bool:
        """Tell whether owner is the one that sends the measures; the first to ask is."""
        with self._lock:
            if self._owner is None:
                self._owner = owner
            return self._owner is owner

    def release(self, owner: object) -> None:
        """Let another one send them."""
        with self._lock:
            if self._owner is owner:
                self._owner = None

    def before(self, reader: Callable[[], object]) -> None:
        """Have reader called once a second, in the emitter's thread, to add what it reads."""
        with self._lock:
            self._readers.append(reader)

    def ask(self) -> None:
        """Call all readers; one that raises costs itself alone."""
        for reader in list(self._readers):
            try:
                reader()
            except Exception:
                log.debug("a reader of measures failed", exc_info=True)

    def after(self, number: int, most: int) -> list[Measure]:
        """Return at most that many measures above a number."""
        return self._all[number : number + most]

    def changed(self) -> Iterator[tuple[Measure, Delta]]:
        """Take what was added, measure by measure."""
        for _ in range(len(self._changed)):
            delta = (measure := self._changed.popleft()).take()
            if delta is not None:
                yield measure, delta

    def families(self) -> Mapping[str, MeasureFamily]:
        """Return all families by name."""
        return dict(self._families)

    def after_fork(self) -> None:
        """Start from nothing; in the child of a fork."""
        self._lock = threading.Lock()
        self._owner = None
        self._changed.clear()
        for measure in self._all:
            measure.forget()


def _finite(values: list[Any]) -> list[float]:
    """Return values as floats, without what is no number; whole numbers stay as they are."""
    try:
        if (
            set(map(type, values)) <= _PLAIN
            and min(values) > -_MOST_VALUE
            and (max(values) < _MOST_VALUE and not isnan(sum(values)))
        ):
            return values
    except OverflowError:  # a whole number too large for a float among floats
        pass
    found = []
    for value in values:
        try:
            number = float(value) if not isinstance(value, (str, bytes)) else nan
        except (TypeError, ValueError, OverflowError):
            continue
        if abs(number) < _MOST_VALUE:
            found.append(number)
    return found


def _text(value: str) -> str:
    # What the agent would refuse, it would refuse with all that is sent after it.
    return value[:MAX_TEXT].encode("utf-8", "replace").decode()


#: The one of this process.
MEASURES: Final = Measures()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=MEASURES.after_fork)
