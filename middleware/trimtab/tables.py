"""Tables of names with a bound, which let go of the names that nobody uses any more.

Routes, measures, hosts and mount points are named by the app, which may make up new names for ever:
each of them has a table with a cap, and what finds no place there goes by the name `other`. The
rule, the same for all:

- While there is room, every name is kept, however old.
- A name is busy when it was used within the last IDLE_S (up to twice that, as uses are not timed
  one by one), or when something that carries it has not been sent yet. A busy name keeps its place.
- A new name in a full table takes the place of an idle one, the longest idle first.
- Where all names are busy, the new one gets no place: `other`, until a name has become idle. It
  asks again at its next use.
"""

import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final, Generic, TypeVar

__all__ = ["IDLE_S", "NameTable"]

_K = TypeVar("_K")
_V = TypeVar("_V")

#: A name unused for this long is idle. With a shorter time an app that makes up names without end
#: would send all of them to the collector; with a longer one a burst of such names would block the
#: table.
IDLE_S: Final = 300.0


class NameTable(Generic[_K, _V]):
    """At most `most` names with their values; any thread, signal handlers and finalizers included.

    Three generations stand in for a time of last use by name: `get` moves a name to the young one,
    and every `idle_s` the young become old and the old idle. A look-up of a young name is one of a
    dict. `is_busy` tells whether a value was used without `get` since it was asked last, or cannot
    go yet. `let_go` is called with a value that goes, under the table's lock.

    A signal handler or finalizer may run in the middle of a change, in the thread that makes it:
    the lock lets it in, so it only reads there, and a name without a place gets none yet. So that
    it, and the child of a fork at that moment, find every name, a name is put into its new
    generation before it leaves the other one.
    """

    __slots__ = ("__weakref__", "_clock", "_idle", "_idle_s", "_is_busy", "_is_changing", "_let_go",
                 "_lock", "_old", "_since", "_young", "most")  # fmt: skip

    def __init__(
        self,
        most: int,
        is_busy: Callable[[_V], bool] = lambda value: False,
        let_go: Callable[[_V], object] = lambda value: None,
        *,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.most = most
        self._is_busy, self._let_go = is_busy, let_go
        self._idle_s = idle_s
        self._clock = monotonic if clock is None else clock
        self._young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}
        self._idle: dict[_K, _V] = {}
        #: when the young were last made old
        self._since = self._clock()
        self._lock = threading.RLock()
        #: whether the thread that holds the lock is in the middle of a change
        self._is_changing = False

    def get(self, name: _K) -> _V | None:
        """Return the value of a name, None for one without a place; a use of the name."""
        found = self._young.get(name)
        return self._older(name) if found is None else found

    def _older(self, name: _K) -> _V | None:
        if name not in self._old and name not in self._idle:
            # Another thread may just have moved it.
            return self._young.get(name)
        with self._lock:
            if self._is_changing:
                return {**self._idle, **self._old, **self._young}.get(name)
            self._is_changing = True
            try:
                for generation in (self._old, self._idle):
                    found = generation.get(name)
                    if found is not None:
                        self._young[name] = found
                        del generation[name]
                        return found
                return self._young.get(name)
            finally:
                self._is_changing = False

    def add(self, name: _K, make: Callable[[], _V]) -> _V | None:
        """Return the value of a name, a new one if it has no place yet; None where all are busy."""
        with self._lock:
            found = self.get(name)
            if found is not None or self._is_changing:
                return found
            self._is_changing = True
            try:
                # A signal handler may have been first.
                found = self._young.get(name)
                if found is None:
                    self._age()
                    if len(self) < self.most or self._shed():
                        found = self._young[name] = make()
                return found
            finally:
                self._is_changing = False

    def shed(self) -> bool:
        """Let go of the name that has been idle for longest; tell whether there was an idle one."""
        with self._lock:
            if self._is_changing:
                return False
            self._is_changing = True
            try:
                return self._shed()
            finally:
                self._is_changing = False

    def _shed(self) -> bool:
        while self._idle:
            name, value = next(iter(self._idle.items()))
            if not self._is_busy(value):
                del self._idle[name]
                self._let_go(value)
                return True
            self._young[name] = value
            del self._idle[name]
        return False

    def discard(self, name: _K) -> None:
        """Forget a name, without a word to `let_go`; not from within a change of the table."""
        with self._lock:
            for generation in (self._young, self._old, self._idle):
                generation.pop(name, None)

    def age(self) -> None:
        """Make names idle that were not used for long; to be called now and then."""
        if self._clock() - self._since < self._idle_s:
            return
        with self._lock:
            if self._is_changing:
                return
            self._is_changing = True
            try:
                self._age()
            finally:
                self._is_changing = False

    def _age(self) -> None:
        now = self._clock()
        if now - self._since < self._idle_s:
            return
        young: dict[_K, _V] = {}
        old, idle = self._young, self._idle.copy()
        for name, value in self._old.items():
            (young if self._is_busy(value) else idle)[name] = value
        for value in old.values():
            # Only what comes after this counts the next time.
            self._is_busy(value)
        both = {**old, **young}
        # In this order every name has a place throughout.
        self._idle = idle
        self._young = both
        self._old = old
        self._young = young
        self._since = now

    def start_over(self) -> None:
        """Regard all names as just used; from here on `is_busy` sees every use."""
        with self._lock:
            if self._is_changing:
                return
            self._young = {**self._idle, **self._old, **self._young}
            self._old, self._idle = {}, {}
            self._since = self._clock()

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held, and end its change."""
        self._lock = threading.RLock()
        self._is_changing = False
        for name in self._young:
            self._old.pop(name, None)
            self._idle.pop(name, None)
        for name in self._old:
            self._idle.pop(name, None)

    def __len__(self) -> int:
        return len(self._young) + len(self._old) + len(self._idle)

    def __iter__(self) -> Iterator[_V]:
        """Return the values, as they are now."""
        with self._lock:
            return iter({**self._idle, **self._old, **self._young}.values())
