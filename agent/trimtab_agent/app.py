"""What the agent knows about an app process, and the worker numbers it hands out."""

from collections.abc import Mapping
from sys import getsizeof
from typing import Final

from trimtab_agent.peers import NOBODY, Peer, owner_of
from trimtab_core.batches import ProcessAccounting, SeriesKey
from trimtab_core.measures import OTHER, MeasureKey
from trimtab_core.messages import Hello
from trimtab_core.records import OTHER_METHOD, OTHER_ROUTE
from trimtab_core.redaction import redacted_key

__all__ = ["STATUS_CLASSES", "App", "Workers", "other_of", "other_series", "size_of"]

#: Memory for the names that one process has announced, routes and measures: 20,000 measures of 800
#: bytes each. By their number alone they could take 695 MB.
MAX_NAME_BYTES: Final = 16 * 2**20
#: By the first digit of a status code; the first one is what has none.
STATUS_CLASSES: Final = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
#: A measure's key besides its texts, and the tuple of an attribute.
_KEY_BYTES: Final = 200
_PAIR_BYTES: Final = 60


def size_of(key: MeasureKey) -> int:
    """Return the memory that the key of a measure takes, in bytes, approximately."""
    pairs = key.attributes
    texts = getsizeof(key.name) + getsizeof(key.unit)
    texts += sum(getsizeof(name) + getsizeof(value) for name, value in pairs)
    return _KEY_BYTES + _PAIR_BYTES * len(pairs) + texts


def other_of(key: MeasureKey) -> MeasureKey:
    """Return the measure that collects all like this one over a limit."""
    return key._replace(attributes=tuple((name, OTHER) for name, _ in key.attributes))


def other_series(series: SeriesKey) -> SeriesKey:
    """Return the series that collects all of an instance like this one over a limit."""
    return series._replace(
        version="", route=OTHER_ROUTE, method=OTHER_METHOD, status_class=STATUS_CLASSES[0]
    )


class App:
    """One app process, from its hello to the window after it left."""

    def __init__(
        self,
        hello: Hello,
        worker: int,
        max_name_bytes: int = MAX_NAME_BYTES,
        who: str = "",
        peer: Peer = NOBODY,
    ) -> None:
        self.hello = hello
        #: whose process it is: a user id as text, or TCP
        self.who = who
        #: who is at the other end, by what no app can choose: what is shared, is shared by this
        self.peer = peer
        self.owner = owner_of(peer, hello.environment, hello.service)
        self.worker = worker
        #: host and worker number, never a process id: recycling makes no new series
        self.instance = f"{hello.host}#{worker}"
        #: route templates by the id that the process gave them last; ids have 16 bits
        self.routes: dict[int, str] = {}
        #: measures by the number that the process gave them last, 1 to MAX_MEASURES; None for one
        #: that found no place
        self.measures: dict[int, MeasureKey | None] = {}
        #: routes and measures that are `other` in these tables, because their names found no place
        self.other_routes: set[int] = set()
        self.other_measures: set[int] = set()
        #: each such measure once
        self._others: dict[MeasureKey, MeasureKey] = {}
        self._max_name_bytes = max_name_bytes
        self._name_bytes = 0
        self._other_bytes = 0
        #: events, and deltas of measures, that the process says it dropped
        self.events_dropped = self.measures_dropped = 0
        #: series by the key in the records, remembered by the aggregator
        self.series: dict[int, SeriesKey] = {}
        #: number after the last record received
        self.end = hello.sent
        #: records the process says it has sent
        self.sent = hello.sent
        self.dropped: Mapping[str, int] = {}
        self.gauges: Mapping[str, float] = {}
        self.connected = True

    def resume(self, before: "App") -> None:
        """Go on from where an earlier connection of the process has ended."""
        self.end, self.dropped = before.end, before.dropped
        self.events_dropped = before.events_dropped
        self.measures_dropped = before.measures_dropped

    def leave(self) -> None:
        """Forget what only further frames would need; the accounting stays for the open windows."""
        self.connected = False
        self.routes, self.measures, self.series, self.gauges = {}, {}, {}, {}
        self.other_routes, self.other_measures, self._others = set(), set(), {}
        self._name_bytes = self._other_bytes = 0

    def name_routes(self, routes: Mapping[int, str]) -> None:
        """Note what route ids mean; over the bound of names, they mean `other`."""
        for route, template in routes.items():
            if route in self.routes and route not in self.other_routes:
                self._name_bytes -= getsizeof(self.routes[route])
            size = getsizeof(template)
            if self._name_bytes + size <= self._max_name_bytes:
                self._name_bytes += size
                self.routes[route] = template
                self.other_routes.discard(route)
            else:
                self.routes[route] = OTHER_ROUTE
                self.other_routes.add(route)

    def name_measures(self, keys: Mapping[int, MeasureKey]) -> None:
        """Note what numbers of measures mean.

        Over the bound of names, they mean the measure that collects all like them; over twice the
        bound, what is added to them is left out.
        """
        for number, key in keys.items():
            key = redacted_key(key)
            before = self.measures.get(number)
            if before is not None and number not in self.other_measures:
                self._name_bytes -= size_of(before)
            size = size_of(key)
            if self._name_bytes + size <= self._max_name_bytes:
                self._name_bytes += size
                self.measures[number] = key
                self.other_measures.discard(number)
            else:
                self.measures[number] = self._other(other_of(key))
                self.other_measures.add(number)

    def _other(self, key: MeasureKey) -> MeasureKey | None:
        if key not in self._others:
            size = size_of(key)
            if self._other_bytes + size > self._max_name_bytes:
                return None
            self._other_bytes += size
            self._others[key] = key
        return self._others[key]

    def accounting(self, ranges: list[list[int]], open_from: int | None) -> ProcessAccounting:
        """Return the accounting for a closed window.

        open_from is the lowest record number in windows that are still open, None without any.
        """
        sent = max(self.end, self.sent) if open_from is None else open_from
        hello = self.hello
        return ProcessAccounting(
            hello.process,
            hello.environment,
            hello.service,
            self.instance,
            [(first, count) for first, count in ranges],
            sent,
            dict(self.dropped),
        )


class Workers:
    """Worker numbers in use, per environment, service and host; the lowest free one is given."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, str], set[int]] = {}

    def take(self, hello: Hello) -> int:
        """Return a worker number: the one that hello asks for if it is free, else the lowest."""
        used = self._used.setdefault((hello.environment, hello.service, hello.host), set())
        worker = hello.worker
        if worker < 0 or worker in used:
            worker = 0
            while worker in used:
                worker += 1
        used.add(worker)
        return worker

    def release(self, app: App) -> None:
        """Free the worker number of an app that left."""
        hello = app.hello
        key = (hello.environment, hello.service, hello.host)
        used = self._used.get(key)
        if used is not None:
            used.discard(app.worker)
            if not used:
                del self._used[key]
