"""What `trimtab top` is showing, and what each key does to it; no I/O, one thread."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trimtab_collector.top.columns import COLUMNS, DEFAULT_SORTS, VIEWS, ordered
from trimtab_collector.top.rows import TopRow
from trimtab_collector.top.survey import TopQuestion, TopRead

__all__ = ["MOST_FILTER", "TREND_POINTS", "TopState", "TrendBook"]

#: refreshes that a trend shows
TREND_POINTS: Final = 60
#: rows whose trend is kept; the longest unseen are forgotten first
_MOST_TRENDS: Final = 2_500
#: characters of a filter
MOST_FILTER: Final = 100
_PAGE: Final = 10


class TrendBook:
    """The last values of rows, each by the identity of its row; bounded in rows and points."""

    def __init__(self, most: int = _MOST_TRENDS) -> None:
        self._most = most
        self._of: dict[tuple[str, ...], deque[float | None]] = {}

    def add(self, identity: tuple[str, ...], value: float | None) -> None:
        """Add the value of this refresh."""
        points = self._of.pop(identity, None)
        if points is None:
            points = deque(maxlen=TREND_POINTS)
        points.append(value)
        # The last is the one seen last.
        self._of[identity] = points
        while len(self._of) > self._most:
            del self._of[next(iter(self._of))]

    def of(self, identity: tuple[str, ...]) -> Sequence[float | None]:
        """Return the values of a row, the oldest first."""
        return self._of.get(identity, ())


@dataclass
class TopState:
    """Everything that a frame depends on but its size and the time."""

    view: str = "services"
    sorts: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_SORTS))
    reversed_views: set[str] = field(default_factory=set)
    filter: str = ""
    #: the scope given at the start, which no key leaves
    environment: str = ""
    service: str = ""
    #: environment and service whose routes are shown after enter
    focus: tuple[str, str] | None = None
    #: view -> identity of the row chosen by hand; without one the first is selected
    chosen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: a filter is being typed
    typing: bool = False
    paused: bool = False
    keys_shown: bool = False
    #: the terminal is to be drawn from nothing
    redraw: bool = False
    read: TopRead | None = None
    #: why the last try failed, "" while answers come
    trouble: str = ""
    trends: TrendBook = field(default_factory=TrendBook)

    @property
    def question(self) -> TopQuestion:
        """What is to be asked for this frame."""
        environment, service = self.environment, self.service
        if self.focus and self.view == "routes":
            environment, service = self.focus
        return TopQuestion(
            self.view, self.sorts[self.view], environment, service, filtered=bool(self.filter)
        )

    @property
    def whole(self) -> tuple[str, ...]:
        """What the trend of all requests of the question is known by."""
        return ("all", self.question.environment, self.question.service)

    def took(self, read: TopRead) -> bool:
        """Take an answer; returns whether it was to the question that stands."""
        self.trouble = ""
        if read.question != self.question or (self.paused and self.answered):
            return False
        self.read = read
        self.trends.add(self.whole, read.overall.requests_per_second)
        for service in read.services:
            self.trends.add(service.identity, service.requests_per_second)
        for route in read.routes:
            self.trends.add(route.identity, route.requests_per_second)
        for host in read.hosts:
            self.trends.add(host.identity, host.cpu)
        return True

    def failed(self, trouble: str) -> None:
        """Note that the collector could not be asked; what was read stays."""
        self.trouble = trouble

    def rows_of(self, view: str) -> list[TopRow]:
        """Return the rows of a view as they are filtered and sorted."""
        if self.read is None:
            return []
        of_view: Mapping[str, Sequence[TopRow]] = {
            "services": self.read.services,
            "routes": self.read.routes,
            "hosts": self.read.hosts,
        }
        words = self.filter.casefold().split()
        kept = [row for row in of_view[view] if all(word in row.name.casefold() for word in words)]
        return ordered(kept, view, self.sorts[view], reverse=view in self.reversed_views)

    @property
    def rows(self) -> list[TopRow]:
        """The rows of the view that is shown."""
        return self.rows_of(self.view)

    @property
    def left_out(self) -> int:
        """Rows of the view that the collector did not send."""
        if self.read is None or self.view == "hosts":
            return 0
        left = self.read.services_left_out, self.read.routes_left_out
        return left[self.view == "routes"]

    @property
    def answered(self) -> bool:
        """Whether what was read has the rows of the view that is shown."""
        asked, now = self.read.question if self.read else None, self.question
        return (
            asked is not None
            and (asked.whole or asked.view == now.view)
            and ((asked.environment, asked.service) == (now.environment, now.service))
        )

    def place_in(self, rows: Sequence[TopRow]) -> int:
        """Return the place of the selected row among the rows of the view, 0 without any."""
        chosen = self.chosen.get(self.view)
        return next((place for place, row in enumerate(rows) if row.identity == chosen), 0)

    def press(self, key: str) -> bool:
        """Do what a key does; returns False when it ends the program."""
        if key == "ctrl-c":
            return False
        if self.typing:
            self._type(key)
            return True
        if self.keys_shown:
            self.keys_shown = False
            return key != "q"
        if key == "q":
            return False
        self._command(key)
        return True

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.typing = False
            if key == "escape":
                self.filter = ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif key == "ctrl-u":
            self.filter = ""
        elif len(key) == 1 and key.isprintable():
            self.filter = (self.filter + key)[:MOST_FILTER]

    def _command(self, key: str) -> None:
        if key in ("s", "right"):
            self._sort(1)
        elif key in ("S", "left"):
            self._sort(-1)
        elif key == "r":
            self.reversed_views ^= {self.view}
        elif key in ("tab", "shift-tab"):
            step = 1 if key == "tab" else -1
            self._show(VIEWS[(VIEWS.index(self.view) + step) % len(VIEWS)])
        elif key in ("1", "2", "3"):
            self._show(VIEWS[int(key) - 1])
        elif key in ("p", " "):
            self.paused = not self.paused
        elif key == "/":
            self.typing = True
        elif key == "?":
            self.keys_shown = True
        elif key == "ctrl-l":
            self.redraw = True
        elif key == "enter":
            self._open()
        elif key in ("escape", "backspace"):
            self._back()
        else:
            self._move(key)

    def _sort(self, step: int) -> None:
        keys = [column.key for column in COLUMNS[self.view]]
        place = keys.index(self.sorts[self.view]) + step
        self.sorts[self.view] = keys[place % len(keys)]
        self.reversed_views -= {self.view}

    def _show(self, view: str) -> None:
        self.view = view

    def _open(self) -> None:
        """Show the routes of the selected service."""
        rows = self.rows
        if self.view == "services" and rows:
            row = rows[self.place_in(rows)]
            self.focus = (getattr(row, "environment", ""), getattr(row, "service", ""))
            # The filter found the service; its routes have other names.
            self.filter = ""
            self.chosen.pop("routes", None)
            self._show("routes")

    def _back(self) -> None:
        """Undo the last narrowing: the filter, then the service."""
        if self.filter:
            self.filter = ""
        elif self.focus:
            self.focus = None
            if self.view == "routes":
                self._show("services")

    def _move(self, key: str) -> None:
        rows = self.rows
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -_PAGE, "page-down": _PAGE}
        place = {"home": 0, "end": len(rows)}.get(key, self.place_in(rows) + steps.get(key, 0))
        place = max(0, min(place, len(rows) - 1))
        if place:
            self.chosen[self.view] = rows[place].identity
        else:
            # Whatever comes first is selected, as at the start.
            self.chosen.pop(self.view, None)
