"""Replacing functions of other libraries, and putting the originals back."""

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Patches"]

_MISSING = object()


class Patches:
    """What was replaced, in order; any thread. A part of the process, for the sake of its lock."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []
        self._done: set[tuple[int, str]] = set()
        self._lock = threading.Lock()

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put what `make` returns for owner's attribute in its place; once, however often called.

        owner is a module or class. What its own dictionary holds is kept as it is: a staticmethod
        comes back as one, and what was inherited is inherited again. Raises AttributeError when
        there is no such name.
        """
        with self._lock:
            if (id(owner), name) in self._done:
                return
            own = vars(owner).get(name, _MISSING)
            replacement = make(getattr(owner, name))
            setattr(owner, name, replacement)
            self._done.add((id(owner), name))
            self._undo.append((owner, name, own))

    def undo(self) -> None:
        """Put everything back, the last first."""
        with self._lock:
            while self._undo:
                owner, name, own = self._undo.pop()
                if own is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, own)
            self._done.clear()

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held."""
        self._lock = threading.Lock()
