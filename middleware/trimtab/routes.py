"""Route templates of a process and their ids.

A record names its route by a number of 16 bits, which the agent is told ahead of the records. The
templates are a `NameTable`: when it is full, a template that no request had for long makes room for
a new one. Its id goes to another template only when nothing can bear the old meaning any more:

- who remembers a template (a route object of a framework, a cache) remembers its `Route`, whose id
  becomes -1 when it is let go of; no record can be packed with that, and the template is asked for
  anew;
- a thread may have read the id just before: GRACE_S later it has appended its record;
- every recorder of the process must have sent, or dropped, all that it held until then
  (`Recorder.sent_until`), so that no record in a buffer or backlog has the old meaning;
- the emitter of each connection announces the id again ahead of the next records (`seq`), and the
  agent adds up the records that it has before it takes the new meaning.

Until then the old meaning is announced to new connections, too.

The id of a route is read without a look at the table. So once the table is half full, emitters
mark the ids found in the records they take (`mark`); before that no age matters.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from trimtab.tables import IDLE_S, NameTable
from trimtab_core.messages import MAX_TEMPLATE
from trimtab_core.records import MAX_U16, OTHER_ROUTE, RECORD_SIZE, UNMATCHED

__all__ = ["GRACE_S", "Holder", "Route", "RouteTable"]

#: The longest time from reading an id to appending its record.
GRACE_S: Final = 60.0
_LET_GO: Final = -1


class Route:
    """A template and its id; -1 when it was let go of."""

    __slots__ = ("id", "is_other", "template", "was_used")

    def __init__(self, template: str, number: int, *, is_other: bool = False) -> None:
        self.template = template
        self.id = number
        #: whether it stands for all over the cap: it must not be remembered
        self.is_other = is_other
        #: whether a record had it since the table last asked
        self.was_used = False

    def is_busy(self) -> bool:
        """Tell whether it was used since this was asked last."""
        busy, self.was_used = self.was_used, False
        return busy


class Holder(Protocol):
    """Who holds records that are not sent: a recorder."""

    @property
    def sent_until(self) -> float:
        """Monotonic seconds: every record appended before this time was sent or dropped."""
        ...


class RouteTable:
    """Route templates of the process and their ids, from 1; any thread."""

    def __init__(
        self, most: int = 1000, *, idle_s: float = IDLE_S, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._table: NameTable[str, Route] = NameTable(
            most, Route.is_busy, self._retire, idle_s=idle_s, clock=clock
        )
        self._lock = threading.RLock()
        #: whether the thread that holds the lock gives an id, or reads which are given: a signal
        #: handler or finalizer that runs in it meanwhile gets none
        self._is_giving = False
        #: id -> number of its announcement and route, the latest announcement last
        self._given: dict[int, tuple[int, str]] = {}
        self._routes: dict[int, Route] = {}
        #: number of the latest announcement
        self.seq = 0
        #: when ids were let go of, the first one first
        self._retired: deque[tuple[float, int]] = deque()
        self._highest = 0
        self._other: Route | None = None
        self._holders: weakref.WeakSet[Holder] = weakref.WeakSet()
        #: whether emitters are to tell what is used
        self.is_filling = False

    @property
    def most(self) -> int:
        """Templates that are kept."""
        return self._table.most

    @most.setter
    def most(self, most: int) -> None:
        self._table.most = most

    def add_holder(self, holder: Holder) -> None:
        """Ask a recorder, as long as it lives, what it holds before an id is given again."""
        self._holders.add(holder)

    def of(self, template: str) -> Route:
        """Return the route of a template; where all places are busy, that of `other`."""
        found = self._table.get(template)
        return self._new(template) if found is None else found

    def id_of(self, template: str) -> int:
        """Return the id of a template, as `of`."""
        return self.of(template).id

    def _new(self, template: str) -> Route:
        # What the agent would refuse, it would refuse with all that is sent after it.
        template = template[:MAX_TEMPLATE].encode("utf-8", "replace").decode() or "/"
        with self._lock:
            if self._is_giving:
                return self._other or Route(UNMATCHED, 0, is_other=True)
            self._is_giving = True
            try:
                return self._with_place(template)
            finally:
                self._is_giving = False

    def _with_place(self, template: str) -> Route:
        found = self._table.add(template, lambda: self._give(template))
        if found is not None and found.id == _LET_GO:
            # All ids are given: the place is for one that gets one.
            self._table.discard(template)
            found = None
        if found is None:
            return self._of_others()
        if not self.is_filling and 2 * len(self._table) >= self.most:
            self.is_filling = True
            self._table.start_over()
        return found

    def _of_others(self) -> Route:
        if self._other is None:
            self._other = self._give(OTHER_ROUTE, is_other=True)
        return self._other

    def _give(self, template: str, *, is_other: bool = False) -> Route:
        """Return a new route under the next id; its id is -1 when there is none."""
        # The last id is for `other`.
        most = MAX_U16 if is_other or self._other is not None else MAX_U16 - 1
        number = self._free_id(most)
        route = Route(template, number, is_other=is_other)
        if number > 0:
            self.seq += 1
            self._given.pop(number, None)
            self._given[number] = (self.seq, template)
            self._routes[number] = route
        return route

    def _free_id(self, most: int = MAX_U16) -> int:
        if self._retired and self._highest >= self.most:
            at, number = self._retired[0]
            held = min((each.sent_until for each in list(self._holders)), default=self._clock())
            if min(held, self._clock()) > at + GRACE_S:
                self._retired.popleft()
                return number
        if self._highest < most:
            self._highest += 1
            return self._highest
        return _LET_GO

    def _retire(self, route: Route) -> None:
        number, route.id = route.id, _LET_GO
        if number > 0:
            self._routes.pop(number, None)
            self._retired.append((self._clock(), number))

    def mark(self, records: bytes) -> None:
        """Note which routes packed records have; from an emitter's thread, 0.05 us per record."""
        for low, high in set(zip(records[::RECORD_SIZE], records[1::RECORD_SIZE], strict=True)):
            route = self._routes.get(low | high << 8)
            if route is not None:
                route.was_used = True

    def __len__(self) -> int:
        """Return how many templates have an id."""
        return len(self._routes)

    def template(self, number: int) -> str:
        """Return the template of an id."""
        return self._given.get(number, (0, UNMATCHED))[1]

    def after(self, seq: int, most: int) -> tuple[int, dict[int, str]]:
        """Return at most that many announcements after one, and the number of the last of them."""
        with self._lock:
            later: list[tuple[int, int, str]] = []
            self._is_giving = True
            try:
                for number in reversed(self._given):
                    at, template = self._given[number]
                    if at <= seq:
                        break
                    later.append((at, number, template))
            finally:
                self._is_giving = False
        later = later[: -most - 1 : -1]
        last = later[-1][0] if later else seq
        return last, {number: template for _, number, template in later}

    def after_fork(self) -> None:
        """Replace locks that another thread of the parent may have held."""
        self._lock = threading.RLock()
        self._is_giving = False
        self._table.after_fork()
