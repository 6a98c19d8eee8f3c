"""Readers and the compactor take turns at the moment when data changes place.

A reader looks at the journal and at several files, one after the other; the compactor moves batches
from one to the other. While readers begin their transactions nothing is moved, and the other way
round; both take milliseconds. What is read afterwards is read from those transactions.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Publication"]


class Publication:
    """Many beginning readers or one move at a time; a move that waits goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._moves = 0
        self._moving = False

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Hold while the transactions of a read begin."""
        with self._changed:
            while self._moves:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Hold while batches change place."""
        with self._changed:
            self._moves += 1
            while self._readers or self._moving:
                self._changed.wait()
            self._moving = True
        try:
            yield
        finally:
            with self._changed:
                self._moves -= 1
                self._moving = False
                self._changed.notify_all()
