"""The names of the series that are in memory, and how they expire.

A batch brings its series as one packed binary, which is recognised by its digest. `sweep` starts a
new dictionary with only the series of which memory holds points. So the limit on series is a limit
on those in use, whatever versions and hosts there were before.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Final, NamedTuple

import msgspec
import numpy as np

from trimtab_collector.storage.columns import Array, columns_of_batch, keys_of
from trimtab_collector.storage.dictionary import Dictionary, Survivors
from trimtab_collector.storage.store import Admit, Numbered
from trimtab_core.batches import MAX_POINTS, Batch, SeriesKey
from trimtab_core.errors import BatchError
from trimtab_core.logs import RateLimited
from trimtab_core.names import clean_name
from trimtab_core.records import OTHER_METHOD, OTHER_ROUTE

__all__ = ["Catalogue", "Known", "SeriesNames", "names_of", "rows_of"]

logger = logging.getLogger("trimtab.catalogue")

_CACHED: Final = 512
#: series that are numbered while others wait, and the pause in which they go on
_AT_ONCE: Final = 64
_PAUSE_S: Final = 50e-6
_TEXT: Final = 256
# Checked while it is read: a name that is refused later must have been kept nowhere.
_SeriesPart = Annotated[str, msgspec.Meta(max_length=_TEXT)]
_SeriesParts = tuple[
    _SeriesPart, _SeriesPart, _SeriesPart, _SeriesPart, _SeriesPart, _SeriesPart, _SeriesPart
]
_ROWS: Final = msgspec.msgpack.Decoder(list[_SeriesParts])
#: series over the limit that may still get a number (roll-ups, `other`) before batches are refused
_FOLDED: Final = 10_000
#: new names after which it is worth looking for names that are not used
_GROWN: Final = 1_000


# Quotas and the catalogue ask for the same rows, one after the other.
@lru_cache(maxsize=2)
def rows_of(data: bytes) -> Sequence[tuple[str, ...]]:
    """Return the series of a batch's binary, cleaned, as tuples in the order of SeriesKey's fields.

    It takes an eighth of the time of `decode_series`. Raises BatchError if the binary is not
    well-formed or has a text of over 256 characters.
    """
    try:
        rows = _ROWS.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BatchError(f"expected series of 7 texts each: {error!s:.100}") from error
    if len(rows) > MAX_POINTS:
        raise BatchError(f"expected a list of at most {MAX_POINTS} series, got {len(rows)}")
    together = "".join(map("".join, rows))
    if not (together.isascii() and together.isprintable()):
        return [tuple(map(clean_name, row)) for row in rows]
    return rows


class SeriesNames(NamedTuple):
    """The series of a binary by the hashes of their rows: it takes long to hash seven texts."""

    #: of each row
    hashes: Sequence[int]
    distinct: frozenset[int]

    @property
    def are_distinct(self) -> bool:
        """Whether no series is there twice, for what has another hash is another series."""
        return len(self.distinct) == len(self.hashes)


@lru_cache(maxsize=2)
def names_of(data: bytes) -> SeriesNames:
    """Return the names in a batch's binary of series; raises BatchError as `rows_of` does."""
    hashes = list(map(hash, rows_of(data)))
    return SeriesNames(hashes, frozenset(hashes))


class Known(NamedTuple):
    """The numbers for a series binary."""

    #: the dictionary that the numbers are from
    dictionary: Dictionary
    #: int64 (series of the batch,)
    numbers: Array
    #: for each series, the place of its service in `services`
    service: Array
    #: (environment, service)
    services: tuple[tuple[str, str], ...]


class Catalogue:
    """Numbers the series of batches; beyond `limit`, new ones are the route `other`.

    Any thread.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._log = RateLimited(logger)
        self._begin(Dictionary(linked=True), 0)

    def _begin(self, dictionary: Dictionary, own: int) -> None:
        self.dictionary = dictionary
        #: series that came in batches, not counting those that only sum others up
        self._own = own
        self._kept = own
        self._cache: OrderedDict[tuple[int, int], Known] = OrderedDict()

    def __len__(self) -> int:
        return self._own

    def number(self, batch: Batch, window_s: int, admit: Admit) -> Numbered:
        """Do what `Store.number` says."""
        known = self._find(batch.series)
        if known is None:
            rows = rows_of(batch.series)
            admit(dict.fromkeys((row[0], row[1]) for row in rows))
            # Check the whole batch first: a malformed one must add no names.
            columns = columns_of_batch(batch, np.arange(len(rows)), window_s)
            known = self.know(batch.series, rows)
            if batch.points:
                columns = replace(columns, key=keys_of(batch, known.numbers, window_s))
        else:
            admit(known.services)
            columns = columns_of_batch(batch, known.numbers, window_s)
        return Numbered(columns, known.service, known.services, known.dictionary)

    def know(self, data: bytes, rows: Sequence[tuple[str, ...]] | None = None) -> Known:
        """Return the numbers of a batch's series, numbering those that are new.

        rows is the content of data (`rows_of`), if the caller has it. Raises BatchError if the
        binary is not well-formed, or brings so many names that even `other` has no room.
        """
        known = self._find(data)
        if known is not None:
            return known
        rows = rows_of(data) if rows is None else rows
        while True:
            dictionary, found = self.dictionary, []
            # Whoever brings names that are known must not wait for a thousand that are new.
            for begin in range(0, len(rows), _AT_ONCE):
                numbers = self._numbers(dictionary, rows[begin : begin + _AT_ONCE])
                if numbers is None:
                    break
                found += numbers
                # A lock is not handed on: without a pause, this thread would have it again at once.
                if begin + _AT_ONCE < len(rows):
                    time.sleep(_PAUSE_S)
            else:
                return self._keep(dictionary, data, np.array(found, np.int64))

    def _numbers(self, dictionary: Dictionary, rows: Sequence[tuple[str, ...]]) -> list[int] | None:
        """Return the numbers of some series; None if another dictionary has begun."""
        with self._lock:
            if self.dictionary is not dictionary:
                return None
            return [
                self._number(SeriesKey(*row)) if number is None else number
                for row, number in zip(rows, map(dictionary.find, rows), strict=True)
            ]

    def _keep(self, dictionary: Dictionary, data: bytes, numbers: Array) -> Known:
        with self._lock:
            known = Known(dictionary, numbers, *dictionary.services_of(numbers))
            if dictionary is self.dictionary:
                self._cache[_mark(data)] = known
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
            return known

    def _find(self, data: bytes) -> Known | None:
        """Return what is known of a binary, without waiting for whoever numbers new names."""
        cache, mark = self._cache, _mark(data)
        known = cache.get(mark)
        if known is not None and self._lock.acquire(blocking=False):
            try:
                if mark in cache:
                    cache.move_to_end(mark)
            finally:
                self._lock.release()
        return known

    @property
    def is_crowded(self) -> bool:
        """Tell whether to look for unused names: many are new, or the limit is reached."""
        return self._own >= self._limit or self._own > 2 * self._kept + _GROWN

    def sweep(
        self, used: Callable[[], Array], move: Callable[[Dictionary, Survivors], int]
    ) -> None:
        """Begin a new dictionary with the series in use, if that frees a quarter of the names.

        used returns the numbers of the series that memory holds. move gives memory the numbers of
        the new dictionary, adds the series that came meanwhile, and returns how many there are;
        nothing is numbered while it runs. The slow part, making the new dictionary, comes before
        and holds nobody up. For one thread at a time.
        """
        old, numbers = self.dictionary, used()
        if 4 * (self._own - len(numbers)) < max(self._own, 1):
            return
        survivors = old.kept(numbers)
        with self._lock:
            self._begin(survivors.dictionary, move(old, survivors))

    def _number(self, key: SeriesKey) -> int:
        """Give a new series its number."""
        if self._own >= self._limit:
            key = SeriesKey(
                key.environment, key.service, "", "", OTHER_ROUTE, OTHER_METHOD, key.status_class
            )
            number = self.dictionary.find(key)
            if number is not None:
                return number
            if len(self.dictionary) >= 3 * (self._limit + _FOLDED):
                raise BatchError(
                    f"expected at most {self._limit} series in use, this batch brings more: "
                    "raise max_series or send fewer services"
                )
            self._log.warning("limit", "over %s series: new ones become `other`", self._limit)
        self._own += 1
        return self.dictionary.add(key)


def _mark(data: bytes) -> tuple[int, int]:
    """Return what a binary of series is known by: its hash, which its bytes keep, and its length.

    The hash has 64 bits and a key of this process, which nobody outside can aim at; two of 512
    binaries and a billion more have one in common with a probability of 3e-8.
    """
    return hash(data), len(data)
