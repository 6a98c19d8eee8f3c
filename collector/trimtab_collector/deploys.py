"""Deploys: a version of a service that shows up is a mark by itself.

The first version of a service is no deploy, and a version on several instances is one. A version
that returns after it was gone is a deploy again: a rollback. It is gone once another version was
seen five minutes or more after it; a version that is seen rarely has to be gone for longer, for
twice its longest absence so far, at most an hour.

Whoever may send batches may invent versions: a service gets at most 6 marks per hour this way, all
services of one key 60, of all keys 240, and 20 versions of each of 500 services are remembered. For
one service more, the key that has brought most forgets the one it has not used for longest.
"""

import hashlib
import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.health import DeploysHealth, HealthPart
from trimtab_collector.contract.marks import DEPLOY
from trimtab_collector.marks import Marks
from trimtab_collector.statefile import Schema, StateFile
from trimtab_collector.storage.catalogue import rows_of
from trimtab_collector.storage.store import Received
from trimtab_core.logs import RateLimited

__all__ = ["Deploys"]

logger = logging.getLogger("trimtab.deploys")

_GONE_S: Final = 300
_MOST_GONE_S: Final = 3600
_PER_HOUR: Final = 6
_KEY_PER_HOUR: Final = 60
_ALL_PER_HOUR: Final = 240
_VERSIONS: Final = 20
_SERVICES: Final = 500
#: new versions that wait for their mark
_UNMARKED: Final = 1_000
#: batches that wait for the thread
_WAITING: Final = 10_000
#: series binaries whose versions are known
_CACHED: Final = 512
#: how often it is written when versions were seen last
_SAVED_S: Final = 300
#: a mark that somebody set for the same version stands for the one of its own
_SAME_S: Final = 900
_SCHEMA: Final = Schema(
    "deploys",
    (
        """CREATE TABLE seen_version (
            environment TEXT NOT NULL,
            service TEXT NOT NULL,
            version TEXT NOT NULL,
            last_s REAL NOT NULL,
            widest_s REAL NOT NULL,
            PRIMARY KEY (environment, service, version)
        ) WITHOUT ROWID""",
        add_checksums("seen_version"),
    ),
)


@dataclass(slots=True)
class _Seen:
    """When a version was seen last, and its longest absence while others were seen, in seconds."""

    last_s: float
    widest_s: float = 0.0


class _New(NamedTuple):
    """A version that shows up: start of its window, what ran before, and who brought it."""

    environment: str
    service: str
    version: str
    t: int
    before: str
    key: str


class Deploys:
    """Watches the versions in new batches; `note` from any thread, the work in one of its own."""

    def __init__(
        self, marks: Marks, state: StateFile, clock: Callable[[], float] = time.time
    ) -> None:
        state.bring(_SCHEMA)
        self._marks = marks
        self._state = state
        self._clock = clock
        self._log = RateLimited(logger)
        #: series of a batch, start of its window, id of its key
        self._waiting: deque[tuple[bytes, int, str]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._parsed: OrderedDict[bytes, frozenset[tuple[str, str, str]]] = OrderedDict()
        #: (environment, service) -> version -> when it was seen; the service seen last is last
        self._services: OrderedDict[tuple[str, str], dict[str, _Seen]] = OrderedDict()
        #: the key that brought each of them in this run, and how many each has brought
        self._keys: dict[tuple[str, str], str] = {}
        self._brought = Counter[str]()
        self._saved_s = clock()
        #: they stay here after a failure
        self._unmarked: list[_New] = []
        #: when marks of the last hour were set in this run, and of whose versions
        self._marked: deque[tuple[float, str]] = deque()
        #: versions that got no mark because there were too many
        self.left_out = 0
        #: batches that were not looked at, because the thread was behind or failed
        self.missed = 0
        #: why it does not work, else empty
        self.trouble = ""
        for environment, service, version, seen in state.decoded(
            "SELECT environment, service, version, last_s, widest_s FROM seen_version"
            " ORDER BY last_s",
            (),
            _kept,
        ):
            self._services.setdefault((environment, service), {})[version] = seen

    def note(self, new: Sequence[Received]) -> None:
        """Take new batches, for `Store.on_commit`; quick."""
        with self._wake:
            for received in new:
                if received.batch.points:
                    if len(self._waiting) >= _WAITING:
                        self.missed += 1
                    else:
                        waiting = (received.batch.series, received.window_s, received.key)
                        self._waiting.append(waiting)
            self._wake.notify()

    def start(self) -> None:
        """Start the thread; once."""
        self._thread = threading.Thread(target=self._run, name="trimtab-deploys", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look at what waits, write down what was seen, and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._guarded(self._save, 0)

    def health(self, _caller: Caller) -> HealthPart:
        """Return what `/health` shows."""
        body = DeploysHealth(
            trouble=self.trouble or None, left_out=self.left_out, missed=self.missed
        )
        return HealthPart(body, bool(self.trouble))

    def look(self) -> None:
        """Look at the batches that wait, in the order of their windows."""
        with self._wake:
            waiting = sorted(self._waiting, key=lambda row: row[1])
            self._waiting.clear()
        if waiting:
            self._guarded(lambda: self._look(waiting), len(waiting))
        if self._clock() - self._saved_s >= _SAVED_S:
            self._guarded(self._save, 0)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._stopping, _SAVED_S)
                stopping = self._stopping and not self._waiting
            if stopping:
                return
            self.look()

    def _guarded(self, work: Callable[[], None], batches: int) -> None:
        try:
            work()
            self.trouble = ""
        except Exception as error:  # noqa: BLE001 - a border: the thread goes on
            self.trouble = f"{type(error).__name__}: {error}"[:200]
            self.missed += batches
            self._log.warning("trouble", "new versions are not noted: %s", self.trouble)

    def _look(self, waiting: Iterable[tuple[bytes, int, str]]) -> None:
        for series, window_s, key in waiting:
            # Those that are known come first, so that no new one takes their place.
            versions = sorted(self._versions(series), key=self._is_new)
            for environment, service, version in versions:
                self._place((environment, service), key)
                before = self._see(environment, service, version, window_s)
                if before is not None and len(self._unmarked) < _UNMARKED:
                    new = _New(environment, service, version, window_s, before, key)
                    self._unmarked.append(new)
                elif before is not None:
                    self.left_out += 1
        if self._unmarked:
            with self._state.change():
                if self._mark(self._unmarked):
                    self._save()
            self._unmarked.clear()

    def _versions(self, series: bytes) -> frozenset[tuple[str, str, str]]:
        digest = hashlib.sha256(series).digest()
        found = self._parsed.get(digest)
        if found is None:
            found = frozenset((row[0], row[1], row[2]) for row in rows_of(series) if row[2])
            self._parsed[digest] = found
            while len(self._parsed) > _CACHED:
                self._parsed.popitem(last=False)
        return found

    def _is_new(self, row: tuple[str, str, str]) -> bool:
        return row[2] not in self._services.get(row[:2], ())

    def _place(self, service: tuple[str, str], key: str) -> None:
        """Remember a service as the one used last, in place of another one where all are taken."""
        self._services.setdefault(service, {})
        self._services.move_to_end(service)
        if service not in self._keys:
            self._keys[service] = key
            self._brought[key] += 1
        while len(self._services) > _SERVICES:
            most = max(self._brought, key=self._brought.__getitem__)
            # Those of an earlier run are nobody's until they are used.
            of_most = (each for each in self._services if self._keys.get(each) == most)
            is_more = self._brought[most] * len(self._brought) > _SERVICES
            oldest = next(of_most if is_more else iter(self._services))
            del self._services[oldest]
            if (whose := self._keys.pop(oldest, None)) is not None:
                self._brought[whose] -= 1
                self._brought += Counter()

    def _see(self, environment: str, service: str, version: str, t: int) -> str | None:
        """Note that a version was seen; returns what ran before it when that is a deploy."""
        versions = self._services[environment, service]
        seen = versions.get(version)
        if seen is not None and t <= seen.last_s:
            return None
        others = [(row.last_s, name) for name, row in versions.items() if name != version]
        last_s, before = max(others, default=(0.0, ""))
        if seen is None:
            versions[version] = _Seen(t)
            if len(versions) > _VERSIONS:
                oldest = min(reversed([*versions]), key=lambda name: versions[name].last_s)
                del versions[oldest]
            # What comes from an agent's backlog is older than what runs by now.
            return before if before and t > last_s - _GONE_S else None
        # Absent is what others outlived: a night without requests says nothing.
        absent_s = max(0.0, min(last_s, t) - seen.last_s)
        gone = absent_s >= min(max(_GONE_S, 2 * seen.widest_s), _MOST_GONE_S)
        seen.last_s, seen.widest_s = t, max(seen.widest_s, absent_s)
        return before if gone else None

    def _mark(self, new: Iterable[_New]) -> bool:
        """Set marks for versions; returns whether there is a new one."""
        made = False
        now_s = self._clock()
        noted = self._marks.by_itself(now_s - 3600)
        while self._marked and self._marked[0][0] < now_s - 3600:
            self._marked.popleft()
        of_keys = Counter(key for _, key in self._marked)
        for environment, service, version, t, before, key in new:
            near = self._marks.between(t - _SAME_S, t + _SAME_S, environment, service)
            if any(mark.by and (mark.kind, mark.name) == (DEPLOY, version) for mark in near):
                continue
            own = sum(row[:2] == (environment, service) for row in noted)
            if own >= _PER_HOUR or of_keys[key] >= _KEY_PER_HOUR or len(noted) >= _ALL_PER_HOUR:
                self.left_out += 1
                self._log.warning(
                    "left_out", "too many new versions in an hour: %r has no mark", version[:80]
                )
                continue
            self._marks.add(
                DEPLOY, version, environment, service, t, detail=f"{before} → {version}"
            )
            noted.append((environment, service, version))
            self._marked.append((now_s, key))
            of_keys[key] += 1
            made = True
        return made

    def _save(self) -> None:
        """Write down which versions were seen when."""
        rows = [
            (*service, version, seen.last_s, seen.widest_s)
            for service, versions in self._services.items()
            for version, seen in versions.items()
        ]
        with self._state.change() as connection:
            connection.execute("DELETE FROM seen_version")
            connection.put_all("seen_version", rows)
        self._saved_s = self._clock()


def _kept(
    environment: str, service: str, version: str, last_s: float, widest_s: float
) -> tuple[str, str, str, _Seen]:
    return environment, service, version, _Seen(float(last_s), float(widest_s))
