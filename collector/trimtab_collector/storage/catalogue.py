"""The dictionary of series: the seven texts of a series to a small number, and back.

Numbers are given in memory and become rows in the transaction of the batch that brought them, so a
number in a file always has its row. Thread-safe.
"""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.levels import LEVELS, parent_of
from trimtab_core.batches import MAX_POINTS, SeriesKey
from trimtab_core.errors import BatchError
from trimtab_core.logs import RateLimited
from trimtab_core.records import OTHER_METHOD, OTHER_ROUTE

__all__ = ["Catalogue", "Grouping", "Known", "rows_of"]

logger = logging.getLogger("trimtab.series")

_CACHED: Final = 512
_TEXT: Final = 256
_ROWS: Final = msgspec.msgpack.Decoder(list[tuple[str, str, str, str, str, str, str]])
#: how many series may be folded into `other` before a batch with new names is refused
_FOLDED: Final = 10_000


def rows_of(data: bytes) -> Sequence[tuple[str, ...]]:
    """Return the series of a batch's binary, as tuples in the order of SeriesKey's fields.

    An eighth of the time of `decode_series`, which knows no shapes in advance. Raises BatchError
    when the binary is not well formed; how long texts are is looked at when they are new.
    """
    try:
        rows = _ROWS.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BatchError(f"expected series of 7 texts each: {error!s:.100}") from error
    if len(rows) > MAX_POINTS:
        raise BatchError(f"expected a list of at most {MAX_POINTS} series, got {len(rows)}")
    return rows


def _key(row: tuple[str, ...]) -> SeriesKey:
    if any(len(part) > _TEXT for part in row):
        raise BatchError(f"expected series of texts up to {_TEXT} characters, got a longer one")
    return SeriesKey(*row)


class Known(NamedTuple):
    """A series binary that was seen: ids in its order, and the services it writes for."""

    #: int64 (series of the batch,)
    ids: Array
    #: for each series the place of its service in `services`
    service: Array
    #: (environment, service)
    services: tuple[tuple[str, str], ...]


class Grouping(NamedTuple):
    """Which group each series belongs to: -1 for none."""

    group: Array
    groups: list[tuple[str, ...]]


class Catalogue:
    """All series of a store; grows to `limit`, then folds new ones into the route `other`.

    A frozen one only knows what was loaded: it reads what another has written.
    """

    def __init__(self, limit: int, *, frozen: bool = False) -> None:
        self._limit = limit
        self._frozen = frozen
        self._lock = threading.Lock()
        self._ids: dict[SeriesKey, int] = {}
        self._keys: list[SeriesKey] = []
        self._new: list[int] = []
        #: series that agents have named, not counting those that only sum others up
        self._own = 0
        #: the sum that each series is part of, a list a level; and the number of its route
        self._parents: list[list[int]] = [[] for _ in range(LEVELS)]
        self._sums: tuple[Array, ...] = (np.zeros(0, np.int64),) * LEVELS
        self._service_names: list[tuple[str, str]] = []
        self._service_places: dict[tuple[str, str], int] = {}
        self._service_numbers: list[int] = []
        self._service_of: Array = np.zeros(0, np.int64)
        self._routes: list[int] = []
        self._route_of: Array = np.zeros(0, np.int64)
        self._route_numbers: dict[tuple[str, str, str], int] = {}
        self._codes: list[dict[str, int]] = [{} for _ in SeriesKey._fields]
        self._columns: list[list[int]] = [[] for _ in SeriesKey._fields]
        self._arrays: list[Array] = [np.zeros(0, np.int32) for _ in SeriesKey._fields]
        self._cache: OrderedDict[bytes, Known] = OrderedDict()
        self._log = RateLimited(logger)

    def __len__(self) -> int:
        return self._own

    def load(self, rows: Iterable[tuple[int, SeriesKey]]) -> None:
        """Take rows of the store that follow those that are here; ids are 0, 1, 2 and so on."""
        with self._lock:
            begin = len(self._keys)
            for number, key in rows:
                if number != len(self._keys):
                    raise ValueError(f"expected series {len(self._keys)}, got {number}")
                self._append(key)
            for number in range(begin, len(self._keys)):
                self._link(number)

    def rows(self) -> int:
        """Return how many rows there are, roll-ups among them."""
        return len(self._keys)

    def parents(self) -> tuple[Array, ...]:
        """Return for each level the series that every series is part of."""
        with self._lock:
            if len(self._sums[0]) != len(self._keys):
                self._sums = tuple(np.array(level, np.int64) for level in self._parents)
            return self._sums

    def routes(self) -> Array:
        """Return the number of the route of every series; a service's roll-up is one as well."""
        with self._lock:
            if len(self._route_of) != len(self._keys):
                self._route_of = np.array(self._routes, np.int64)
            return self._route_of

    def find(self, data: bytes) -> Known | None:
        """Return the ids of a batch's series when this binary was seen before."""
        digest = hashlib.sha256(data).digest()
        with self._lock:
            known = self._cache.get(digest)
            if known is not None:
                self._cache.move_to_end(digest)
            return known

    def know(self, data: bytes, rows: Sequence[tuple[str, ...]] | None = None) -> Known:
        """Return the ids of a batch's series, new ones given on the way.

        rows is what data holds (`rows_of`), when the caller has it. Raises BatchError when the
        binary is not well formed or brings names beyond all bounds.
        """
        known = self.find(data)
        if known is not None:
            return known
        rows = rows_of(data) if rows is None else rows
        with self._lock:
            found = [
                self._id(_key(row)) if number is None else number
                for row, number in zip(rows, map(self._ids.get, rows), strict=True)  # type: ignore[arg-type]
            ]
            return self._remember(data, found)

    def known(self, data: bytes, rows: Sequence[tuple[str, ...]]) -> Known | None:
        """Return the ids of a batch's series when all of them have one."""
        with self._lock:
            found = list(map(self._ids.get, rows))  # type: ignore[arg-type]
            return None if None in found else self._remember(data, found)

    def _remember(self, data: bytes, found: Sequence[int | None]) -> Known:
        """Return what is known of a binary and keep it for the next; call with the lock held."""
        ids = np.array(found, np.int64)
        if len(self._service_of) != len(self._keys):
            self._service_of = np.array(self._service_numbers, np.int64)
        numbers, service = np.unique(self._service_of[ids], return_inverse=True)
        names = [self._service_names[number] for number in numbers.tolist()]
        known = Known(ids, service.reshape(-1), tuple(names))
        self._cache[hashlib.sha256(data).digest()] = known
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return known

    def unsaved(self) -> list[tuple[int, SeriesKey]]:
        """Return the series that have no row yet, in order of id."""
        with self._lock:
            return [(number, self._keys[number]) for number in self._new]

    def saved(self, count: int) -> None:
        """Note that the first `count` of the unsaved have their rows."""
        with self._lock:
            del self._new[:count]

    def key(self, number: int) -> SeriesKey:
        """Return the texts of a series."""
        return self._keys[number]

    def group(self, by: tuple[str, ...], where: Mapping[str, str]) -> Grouping:
        """Return the groups of series by some of their fields, of those with certain texts.

        by and where name fields of SeriesKey.
        """
        with self._lock:
            fields = SeriesKey._fields
            columns = {name: self._column(fields.index(name)) for name in {*by, *where}}
            keep = np.ones(len(self._keys), bool)
            for name, text in where.items():
                keep &= columns[name] == self._codes[fields.index(name)].get(text, -1)
            names = {name: list(self._codes[fields.index(name)]) for name in by}
        group = np.full(len(keep), -1, np.int64)
        chosen = np.flatnonzero(keep)
        if not by:
            group[chosen] = 0
            return Grouping(group, [()])
        if not len(chosen):
            return Grouping(group, [])
        stacked = np.stack([columns[name][chosen] for name in by])
        rows, inverse = np.unique(stacked, axis=1, return_inverse=True)
        group[chosen] = inverse.reshape(-1)
        texts = [[names[name][code] for code in row] for name, row in zip(by, rows, strict=True)]
        return Grouping(group, list(zip(*texts, strict=True)))

    def _column(self, field: int) -> Array:
        """Return the codes of a field; call with the lock held."""
        if len(self._arrays[field]) != len(self._keys):
            self._arrays[field] = np.array(self._columns[field], np.int32)
        return self._arrays[field]

    def _id(self, key: SeriesKey) -> int:
        number = self._ids.get(key)
        if number is not None:
            return number
        if self._own >= self._limit or self._frozen:
            key = SeriesKey(
                key.environment, key.service, "", "", OTHER_ROUTE, OTHER_METHOD, key.status_class
            )
            number = self._ids.get(key)
            if number is not None:
                return number
            if self._frozen:
                raise BatchError("expected series that are in the store, got one that is not")
            if len(self._keys) >= 3 * (self._limit + _FOLDED):
                raise BatchError(
                    f"expected at most {self._limit} series in the store, this batch brings more: "
                    "raise max_series or send fewer services"
                )
            self._log.warning("limit", "over %s series: new ones become `other`", self._limit)
        return self._add(key)

    def _add(self, key: SeriesKey) -> int:
        """Give a series its number, and those that it is part of theirs."""
        number = self._ids.get(key)
        if number is None:
            number = self._append(key)
            self._new.append(number)
            self._link(number)
        return number

    def _append(self, key: SeriesKey) -> int:
        number = len(self._keys)
        self._keys.append(key)
        self._ids[key] = number
        self._own += bool(key.instance)
        route = (key.environment, key.service, key.route)
        name = (key.environment, key.service)
        number_of = self._service_places.setdefault(name, len(self._service_names))
        if number_of == len(self._service_names):
            self._service_names.append(name)
        self._service_numbers.append(number_of)
        self._routes.append(self._route_numbers.setdefault(route, len(self._route_numbers)))
        for parents in self._parents:
            parents.append(number)
        for field, text in enumerate(key):
            codes = self._codes[field]
            self._columns[field].append(codes.setdefault(text, len(codes)))
        return number

    def _link(self, number: int) -> None:
        for level in range(1, LEVELS):
            self._parents[level][number] = self._add(parent_of(self._keys[number], level))
