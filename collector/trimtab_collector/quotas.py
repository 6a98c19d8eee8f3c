"""What one key and one app may bring: the rest of a batch is kept under the names `other`.

A batch passes here once, before it is numbered and stored, so that a flood of names reaches neither
memory nor the files. Names in use are counted by the key that brought them, and are free again when
nobody has used them for half an hour to an hour. `SharedPlaces` says who may bring more.

Any thread. A batch like one before costs a hash of its series and of the services of its rows.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from trimtab_collector.auth.keys import AgentKey
from trimtab_collector.auth.scopes import check_services
from trimtab_collector.storage.catalogue import names_of, rows_of
from trimtab_collector.storage.shares import SharedPlaces
from trimtab_core.batches import Batch, SeriesKey, pack_series
from trimtab_core.records import OTHER_METHOD, OTHER_ROUTE
from trimtab_core.rows import EventRow, MeasureRow

__all__ = ["OTHER_SERVICE", "BatchContent", "Quotas"]

#: the service of everything whose service is over a quota, and the environment of a free key's
OTHER_SERVICE: Final = "other"
_TURN_S: Final = 1800.0
_CLASSES: Final = frozenset(("1xx", "2xx", "3xx", "4xx", "5xx"))
#: series binaries that are known to fit, and those with what they became
_FITTING: Final = 4096
_FOLDED: Final = 64

_AppPair = tuple[str, str]


class BatchContent(NamedTuple):
    """A batch with its rows unpacked."""

    batch: Batch
    measures: Sequence[MeasureRow]
    events: Sequence[EventRow]


class Quotas:
    """The names that keys have in use, and what becomes of a batch that brings more."""

    def __init__(
        self,
        max_series: int,
        max_services: int,
        note: Callable[[str, str, str, int], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call note with reason, id of the key, agent and number of what is over a quota."""
        self._series: SharedPlaces[int] = SharedPlaces(max_series)
        self._services: SharedPlaces[_AppPair] = SharedPlaces(max_services)
        self._note = note
        self._clock = clock
        self._turned_s = clock()
        self._lock = threading.Lock()
        #: hashes of key and series binary, known to fit
        self._fitting: set[int] = set()
        self._folded: dict[int, tuple[bytes, int]] = {}

    def fitted(self, key: AgentKey, content: BatchContent) -> BatchContent:
        """Return a batch, the same object if it fits, else with what is over a quota as `other`.

        Gauges of services over the quota are left out: they have no sum. Raises BatchError for
        series that are malformed, and ApiError 403 for those that the key may not write.
        """
        columns = _whose(content)
        data = content.batch.series
        whole = hash((key.id, data, *columns))
        # Whatever is known waits for nobody who brings new names.
        if whole in self._fitting and self._clock() - self._turned_s < _TURN_S:
            return content
        with self._lock:
            if self._clock() - self._turned_s >= _TURN_S:
                self._turn()
            mark = hash((key.id, data))
            is_known = mark in self._fitting or mark in self._folded
        # Nobody else waits while this is read.
        read = None if is_known else _Named(rows_of(data), names_of(data).hashes)
        if read is not None and key.is_scoped:
            # What is refused must have taken no place.
            check_services(key, {(row[0], row[1]) for row in read.rows})
        with self._lock:
            pairs = set(chain.from_iterable(map(zip, columns[::2], columns[1::2])))
            over = self._refused(key, pairs.difference(self._services.current))
            series, count = self._series_of(key, data, mark, read, over)
            if not over and not count:
                self._fits(whole)
        if over:
            content = _without(key, content, over)
            self._note("services", key.id, content.batch.agent, len(over))
        if count:
            self._note("series", key.id, content.batch.agent, count)
        if series is not content.batch.series:
            content = content._replace(batch=replace(content.batch, series=series))
        return content

    def unknown(self, key: AgentKey, series: bytes) -> int:
        """Return how many names of a binary of series nobody uses: what it costs to take it.

        Raises BatchError for series that are malformed.
        """
        mark = hash((key.id, series))
        if mark in self._fitting or mark in self._folded:
            return 0
        names = names_of(series)
        with self._lock:
            return self._series.unused(names.distinct)

    def _turn(self) -> None:
        self._turned_s = self._clock()
        for places in (self._series, self._services):
            places.taken -= places.turn()
        self._fitting.clear()
        self._folded.clear()

    def _fits(self, mark: int) -> None:
        if len(self._fitting) >= _FITTING:
            self._fitting.clear()
        self._fitting.add(mark)

    def _refused(self, key: AgentKey, pairs: Iterable[_AppPair]) -> set[_AppPair]:
        # Services that an admin has named for a key are always known.
        return {
            pair
            for pair in pairs
            if pair[1] and not (self._services.take(pair, key.id, pair) or key.services)
        }

    def _series_of(
        self, key: AgentKey, series: bytes, mark: int, read: "_Named | None", over: set[_AppPair]
    ) -> tuple[bytes, int]:
        """Return a binary of series with those over a quota folded, and how many these are."""
        if mark in self._fitting:
            return series, 0
        if mark in self._folded:
            return self._folded[mark]
        rows, names = read or (rows_of(series), names_of(series).hashes)
        known = self._series.current
        fresh = [place for place, name in enumerate(names) if name not in known]
        apps = {(rows[place][0], rows[place][1]) for place in fresh}
        without = self._refused(key, apps.difference(self._services.current))
        folded: dict[int, SeriesKey] = {}
        for place in fresh:
            row = rows[place]
            app = (row[0], row[1])
            if app not in without and self._series.take(names[place], key.id, app):
                continue
            app = _collecting(key, app) if app in without else app
            status = row[6] if row[6] in _CLASSES else "other"
            folded[place] = SeriesKey(*app, "", "", OTHER_ROUTE, OTHER_METHOD, status)
        if not folded:
            self._fits(mark)
            return series, 0
        over |= without
        packed = pack_series(folded.get(place) or SeriesKey(*row) for place, row in enumerate(rows))
        if len(self._folded) >= _FOLDED:
            self._folded.clear()
        # With services over the quota, other rows of a batch have to be looked at each time.
        if not without:
            self._folded[mark] = (packed, len(folded))
        return packed, len(folded)


class _Named(NamedTuple):
    """The rows of a series binary, and the hash of each."""

    rows: Sequence[tuple[str, ...]]
    names: Sequence[int]


def _whose(content: BatchContent) -> list[tuple[str, ...]]:
    """Return the environments and the services of all rows of a batch, in turns."""
    batch = content.batch
    found: list[tuple[str, ...]] = []
    for rows, place in (
        (batch.processes, 1), (batch.gauges, 0), (content.measures, 0), (content.events, 0),
    ):  # fmt: skip
        if rows:
            found += islice(zip(*rows, strict=True), place, place + 2)
    return found


def _collecting(key: AgentKey, app: _AppPair) -> _AppPair:
    """Return the environment and service for what is of an app over the quota."""
    return (app[0] if key.environments else OTHER_SERVICE, OTHER_SERVICE)


def _without(key: AgentKey, content: BatchContent, over: set[_AppPair]) -> BatchContent:
    """Return a batch whose rows of some services are those of `other`."""

    def elsewhere(row: Any) -> Any:
        app = (row.environment, row.service)
        if app not in over:
            return row
        environment, service = _collecting(key, app)
        return row._replace(environment=environment, service=service)

    batch = content.batch
    return BatchContent(
        replace(
            batch,
            processes=[elsewhere(row) for row in batch.processes],
            gauges=[row for row in batch.gauges if (row.environment, row.service) not in over],
        ),
        [elsewhere(row) for row in content.measures],
        [elsewhere(row) for row in content.events],
    )
