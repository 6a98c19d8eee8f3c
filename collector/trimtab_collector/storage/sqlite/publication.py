"""Readers and the compactor take turns while batches move from the journal to tier files.

A reader opens the journal and several files one after the other, and the compactor moves batches
from one to the other. So nothing is moved while a reader begins its transactions, and no reader
begins while something is moved; both take milliseconds. After that, a reader sees what its
transactions saw when they began.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Publication"]


class Publication:
    """Lets many readers begin at once, or one move happen; a move that waits goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._moves = 0
        self._moving = False

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Hold this while the transactions of a read begin."""
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
        """Hold this while batches move."""
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
