"""The tier files that readers hold open, each thread its own connections."""

import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final
from weakref import ReferenceType, ref

from trimtab_collector.storage.sqlite.tierschema import EmptyFileError, open_at_rest, open_reader

__all__ = ["OpenFiles", "number_of"]

#: connections a thread keeps open
_OPEN: Final = 32
#: number of a file that is opened again by the next read
_ONCE: Final = 0


class _Held(OrderedDict[Path, tuple[int, sqlite3.Connection]]):
    """The connections of a thread, the one used last at the end; they close with the thread."""


class OpenFiles:
    """Connections by file; do not call `let_go` while another thread is in `connection`."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._threads: list[ReferenceType[_Held]] = []

    def connection(self, path: Path) -> sqlite3.Connection | None:
        """Return this thread's connection to a file, None if there is no such file.

        Raises what open_reader raises.
        """
        held: _Held | None = getattr(self._local, "held", None)
        if held is None:
            held = self._local.held = _Held()
            self._threads.append(ref(held))
        number = number_of(path)
        found = held.pop(path, None)
        # A connection in a transaction belongs to a read that has not ended.
        if found is not None and found[0] != number and not found[1].in_transaction:
            found[1].close()
            found = None
        if found is None and number:
            found = _opened(path, number)
        if found is None:
            return None
        held[path] = found
        for old in list(held)[: max(0, len(held) - _OPEN)]:
            # Connections of a read over more files than that stay open until a later read.
            if not held[old][1].in_transaction:
                held.pop(old)[1].close()
        return found[1]

    def let_go(self) -> None:
        """Close deleted files: the kernel frees their space only once nobody has them open."""
        self._threads = [each for each in self._threads if each() is not None]
        for each in self._threads:
            held = each() or _Held()
            for path, (number, connection) in list(held.items()):
                if number != number_of(path) and not connection.in_transaction:
                    held.pop(path)
                    connection.close()


def _opened(path: Path, number: int) -> tuple[int, sqlite3.Connection] | None:
    try:
        return number, open_reader(path)
    except EmptyFileError:
        return None
    except sqlite3.OperationalError:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        # A full disk has no room for the index of a log, and this file has none: nobody writes it.
        return _ONCE, open_at_rest(path)


def number_of(path: Path) -> int:
    """Return a number that differs between files of the same name, 0 if there is no file."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0
