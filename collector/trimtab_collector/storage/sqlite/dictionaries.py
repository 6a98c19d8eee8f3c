"""A cache of the dictionaries of tier files and batches, for reads."""

import hashlib
import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from trimtab_collector.storage.catalogue import rows_of
from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.sqlite.tierfacts import number_in
from trimtab_collector.storage.sqlite.tiernames import load_series
from trimtab_core.batches import SeriesKey

__all__ = ["Dictionaries"]

#: most series kept for files, with some 600 bytes each, and most binaries of batches
_MOST_SERIES: Final = 200_000
_MOST_BATCHES: Final = 256


class Dictionaries:
    """Dictionaries by file and by series binary; any thread; the least recently used go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[Path, int], Dictionary] = OrderedDict()
        self._batches: OrderedDict[bytes, Dictionary] = OrderedDict()

    def of_file(self, path: Path, connection: sqlite3.Connection) -> Dictionary:
        """Return the dictionary of a file, with at least what the open transaction sees.

        Raises sqlite3.Error, and ValueError for a table with holes.
        """
        name = (path, number_in(connection))
        with self._lock:
            dictionary = self._files.setdefault(name, Dictionary())
            self._files.move_to_end(name)
        load_series(connection, dictionary)
        with self._lock:
            total = sum(map(len, self._files.values()))
            while total > _MOST_SERIES and len(self._files) > 1:
                total -= len(self._files.popitem(last=False)[1])
        return dictionary

    def of_batch(self, data: bytes) -> Dictionary:
        """Return the dictionary of a batch, in its order; raises BatchError."""
        digest = hashlib.sha256(data).digest()
        with self._lock:
            found = self._batches.get(digest)
            if found is not None:
                self._batches.move_to_end(digest)
                return found
        keys = [SeriesKey(*row) for row in rows_of(data)]
        dictionary = Dictionary(enumerate(keys))
        with self._lock:
            self._batches[digest] = dictionary
            while len(self._batches) > _MOST_BATCHES:
                self._batches.popitem(last=False)
        return dictionary
