"""The measures of this process: what hooks and the app itself add to, until the emitter takes it.

Adding a value is one append to a list, atomic under the GIL, so there is no lock on the way and no
value is lost between threads. Lists are added up when somebody reads them, when the emitter comes
(once per second), and when one grows long, by the thread that made it so.

The measures of a family are a `NameTable`: while an agent takes what is added, a name that nothing
was added to for long makes room for a new one when the family is full. A measure that was let go of
may still be held and added to: it gets its place back when the emitter comes; if all places are
taken by busy ones, what was added goes to `other`. So the names that are sent are never more than
the cap, and no value is lost.

A child of a fork starts from nothing: what its parent measured is the parent's to tell.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from sys import maxsize
from time import monotonic
from typing import Final

from trimtab.metrics.backlog import MeasureBacklog
from trimtab.metrics.values import finite
from trimtab.tables import IDLE_S, NameTable
from trimtab.threads import runs_in_main_thread
from trimtab_core.logs import app_logger
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

__all__ = ["Measure", "MeasureFamily", "Measures"]

log = app_logger("trimtab.metrics.measures")

#: values that wait in a list; the thread that adds one more adds them up
_MOST_PENDING: Final = 4096
#: measures of a process
_MOST_MEASURES: Final = 10_000
#: how often all families look for names that have become idle
_AGE_S: Final = IDLE_S / 10


class Measure:
    """One measure of a process; every method from any thread."""

    __slots__ = ("__weakref__", "_is_listed", "_left_out", "_list", "_lock", "_pending", "delta",
                 "family", "is_kept", "is_other", "key", "total", "was_used")  # fmt: skip

    def __init__(
        self,
        key: MeasureKey,
        family: "MeasureFamily",
        into: "Callable[[Measure], None]",
        *,
        is_other: bool = False,
    ) -> None:
        self.key = key
        self.family = family
        self._list = into
        #: whether it stands for all over the cap: do not keep it, ask the family again
        self.is_other = is_other
        #: whether it has a place in its family
        self.is_kept = True
        #: whether something was taken from it since its family last asked
        self.was_used = False
        self._pending: list[float] = []
        self._is_listed = False
        self.forget()

    def add(self, value: float) -> None:
        """Add a value; one that is no finite number is left out when they are added up, counted."""
        self._pending.append(value)
        # `take` has it the other way round: none is missed, some are listed twice.
        if not self._is_listed:
            self._is_listed = True
            self._list(self)
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
        #: values that were left out since something was last taken
        self._left_out = 0
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
        values = finite(self._pending[:count])
        del self._pending[:count]
        self._left_out += count - len(values)
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
            if self._left_out:
                self.family.leave_out(self._left_out)
                self._left_out = 0
            if not self.delta.count:
                return None
            self.was_used = True
            taken, self.delta = self.delta, Delta()
            self.total.merge(taken)
            return taken

    def is_busy(self) -> bool:
        """Tell whether it was used since this was asked last, or has something to be taken."""
        busy = self._is_listed or self.was_used
        self.was_used = False
        return busy

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

    __slots__ = ("_found", "_measures", "_others", "kind", "name", "over_cap", "unit")

    def __init__(self, measures: "Measures", name: str, kind: str, unit: str, cap: int) -> None:
        self._measures = measures
        self.name, self.kind, self.unit = name, kind, unit
        self._found: NameTable[Attributes, Measure] = NameTable(
            cap, Measure.is_busy, measures.let_go, clock=lambda: measures.clock()
        )
        self._others: dict[Attributes, Measure] = {}
        #: times that attributes over the cap were asked for
        self.over_cap = 0

    def at(self, attributes: Attributes = ()) -> Measure:
        """Return the measure of these attributes, sorted by name; the same one while it is kept."""
        found = self._found.get(attributes)
        return self._new(attributes) if found is None else found

    def _new(self, attributes: Attributes) -> Measure:
        if self._may_have_place():
            found = self._found.add(
                attributes, lambda: self._measures.new(self._key(attributes), self)
            )
            if found is not None:
                return found
        self.over_cap += 1
        return self._other(attributes)

    def _may_have_place(self) -> bool:
        # In a full family a new one takes a place of its own, if any.
        return len(self._found) >= self._found.most or self._measures.has_room()

    def _other(self, attributes: Attributes) -> Measure:
        others = tuple((name, OTHER) for name, _ in attributes)
        found = self._others.get(others)
        if found is None:
            # Another thread may be first: its measure holds, ours was never added to.
            made = self._measures.other(self._key(others), self)
            found = self._others.setdefault(others, made)
        return found

    def _key(self, attributes: Attributes) -> MeasureKey:
        cut = tuple(
            # What the agent would refuse, it would refuse with all that is sent after it.
            (name, value[:MAX_TEXT].encode("utf-8", "replace").decode())
            for name, value in attributes[:MAX_ATTRIBUTES]
        )
        return MeasureKey(self.name, self.kind, self.unit, cut)

    def key_of(self, measure: Measure) -> MeasureKey:
        """Return the key under which what was taken from a measure is sent.

        One that was let go of and is used again asks for a place.
        """
        if measure.is_kept:
            return measure.key
        attributes = measure.key.attributes
        if self._may_have_place():
            found = self._found.add(attributes, lambda: self._measures.keep(measure))
            if found is not None:
                return found.key
        self.over_cap += 1
        return self._other(attributes).key

    def leave_out(self, values: int) -> None:
        """Count values that were no finite numbers as dropped."""
        self._measures.backlog.dropped += values

    @property
    def places(self) -> int:
        """Return how many measures have a place."""
        return len(self._found)

    def shed(self) -> bool:
        """Let go of a measure that nobody uses; tell whether there was one."""
        return self._found.shed()

    def age(self) -> None:
        """See which names have become idle."""
        self._found.age()

    def after_fork(self) -> None:
        """Start from nothing; in the child of a fork."""
        self._found.after_fork()
        for measure in self:
            measure.forget()

    def __iter__(self) -> Iterator[Measure]:
        """Return those there are."""
        return iter([*self._found, *self._others.values()])


class Measures:
    """All measures of a process; any thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._families: dict[str, MeasureFamily] = {}
        #: measures that have no place in their family any more
        self._let_go: weakref.WeakSet[Measure] = weakref.WeakSet()
        #: those that were added to since the last `changed`
        self._changed: deque[Measure] = deque()
        #: called once: something was added
        self.on_first: Callable[[], None] | None = None
        self._lock = threading.RLock()
        #: what was taken and waits for the agent
        self.backlog = MeasureBacklog()
        self._readers: list[Callable[[], object]] = []
        #: who sends them: the first of the process's runtimes that asked
        self._owner: object = None
        self._next_age = clock() + _AGE_S

    def family(self, name: str, kind: str, unit: str = "1", cap: int = 1000) -> MeasureFamily:
        """Return the family of a name of at most 128 characters.

        Raises ValueError when there is one of another kind or unit.
        """
        with self._lock:
            found = self._families.get(name)
            if found is None:
                # A signal handler may be first: the lock lets it in.
                made = MeasureFamily(self, name, kind, unit, cap)
                found = self._families.setdefault(name, made)
        if (found.kind, found.unit) != (kind, unit):
            raise ValueError(
                f"expected {name} to be a {found.kind} in {found.unit!r} as before, got a {kind} "
                f"in {unit!r}: choose another name"
            )
        return found

    def new(self, key: MeasureKey, family: MeasureFamily) -> Measure:
        """Return a new measure that gets a place; for families, as the methods that follow."""
        return Measure(key, family, self._list)

    def other(self, key: MeasureKey, family: MeasureFamily) -> Measure:
        """Return the measure of all that is over the cap of a family."""
        return Measure(key, family, self._list, is_other=True)

    def _list(self, measure: Measure) -> None:
        self._changed.append(measure)
        if self.on_first is not None:
            called, self.on_first = self.on_first, None
            called()

    def let_go(self, measure: Measure) -> None:
        """Note that a measure has lost its place."""
        with self._lock:
            self._let_go.add(measure)
        measure.is_kept = False

    def keep(self, measure: Measure) -> Measure:
        """Note that a measure gets its place back, and return it."""
        with self._lock:
            self._let_go.discard(measure)
        measure.is_kept = True
        return measure

    def has_room(self) -> bool:
        """Tell whether a measure more may have a place, if need be that of an idle one."""
        families = list(self._families.values())
        # Counted where they are: a count of its own could be wrong after an interruption.
        if sum(family.places for family in families) < _MOST_MEASURES:
            return True
        # No lock is held here: each family takes its own, one after the other.
        return any(family.shed() for family in families)

    def claim(self, owner: object, *, to_send: bool = True) -> bool:
        """Tell whether owner is the one that sends the measures; the first to ask is.

        Not to send, as long as there is none, everybody may take them into the backlog.
        """
        with self._lock:
            if self._owner is None and to_send:
                self._owner = owner
            return self._owner is owner or self._owner is None

    def release(self, owner: object) -> None:
        """Let another one send them."""
        with self._lock:
            if self._owner is owner:
                self._owner = None

    def before(self, reader: Callable[[], object]) -> None:
        """Have reader called once per second, in the emitter's thread, to add what it reads."""
        self._readers.append(reader)

    def ask(self) -> None:
        """Call all readers; one that raises costs itself alone."""
        for reader in list(self._readers):
            try:
                reader()
            except Exception:
                log.debug("a reader of measures failed", exc_info=True)
            except BaseException:
                # A function of the app may also end by sys.exit() or a cancellation. In a greenlet
                # it may be a signal handler's, or the greenlet's end: those go on.
                if runs_in_main_thread():
                    raise

    @property
    def waiting(self) -> int:
        """Return how many measures have something to be taken, or a few more."""
        return len(self._changed)

    def changed(self, most: int = maxsize) -> Iterator[tuple[MeasureKey, Delta]]:
        """Take what was added to at most that many measures, with the keys to send it under."""
        now = self.clock()
        if now >= self._next_age:
            self._next_age = now + _AGE_S
            for family in list(self._families.values()):
                family.age()
        for _ in range(min(most, len(self._changed))):
            delta = (measure := self._changed.popleft()).take()
            if delta is not None:
                yield measure.family.key_of(measure), delta

    def families(self) -> Mapping[str, MeasureFamily]:
        """Return all families by name."""
        return dict(self._families)

    def after_fork(self) -> None:
        """Start from nothing; in the child of a fork."""
        self._lock = threading.RLock()
        self._owner = None
        self.backlog.after_fork()
        self._changed.clear()
        for family in list(self._families.values()):
            family.after_fork()
        for measure in list(self._let_go):
            measure.forget()
