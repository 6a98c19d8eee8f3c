"""What reads have merged of whole periods of files, kept for the next read that asks the same.

Dashboards ask the same of the same hours again and again, while only the last of them change. A
period's chunks are never changed in place: they are added, and replaced by others with other ids,
so what was merged from a list of chunks stays true as long as a file has that list.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from trimtab_collector.storage.columns import narrowed
from trimtab_collector.storage.store import Rows

__all__ = ["MOST_BYTES", "MergedPeriods"]

#: bytes that are kept of all periods together, and of one
MOST_BYTES: Final = 32 * 1024 * 1024
_MOST_OF_ONE: Final = 4 * 1024 * 1024


class MergedPeriods:
    """Rows by what they were asked with and made of; those used last stay. Any thread."""

    def __init__(self, least_buckets: int) -> None:
        """Keep periods of at least so many buckets: smaller ones are read as fast together."""
        self.least_buckets = least_buckets
        self._lock = threading.Lock()
        self._rows: OrderedDict[Hashable, Rows] = OrderedDict()
        self.size_bytes = 0

    def find(self, key: Hashable) -> Rows | None:
        """Return the rows that were kept under a key."""
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
            return self._rows.get(key)

    def keep(self, key: Hashable, rows: Rows) -> None:
        """Keep rows, in place of those that were not used for longest."""
        kept = rows._replace(columns=narrowed(rows.columns))
        size = _size(kept)
        if size > _MOST_OF_ONE:
            return
        with self._lock:
            if key in self._rows:
                return
            self._rows[key] = kept
            self.size_bytes += size
            while self.size_bytes > MOST_BYTES:
                _, old = self._rows.popitem(last=False)
                self.size_bytes -= _size(old)


def _size(rows: Rows) -> int:
    names = sum(100 + 60 * len(name) for name in rows.groups)
    return rows.columns.size_bytes + rows.group.nbytes + rows.t.nbytes + names
