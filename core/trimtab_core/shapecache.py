"""A bounded memory of what was made of texts, which come again and again."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["ShapeCache"]

_T = TypeVar("_T")
#: longest text for which something is kept, and what is kept at most, in texts and characters
_MOST_KEPT: Final = 16_384
_MOST_TEXTS: Final = 1024
_MOST_CHARS: Final = 1 << 20


class ShapeCache(Generic[_T]):
    """What was made of texts, those that were asked for lately; any thread.

    Two generations stand in for a list by last use: what is found in the old one moves to the young
    one, and a full young one becomes the old one. A hit in the young one is one look-up, 0.05 us;
    threads that write at once may forget an entry, no more. make must be a pure function.
    """

    def __init__(self, make: Callable[[str], _T]) -> None:
        self._make = make
        self._young: dict[str, _T] = {}
        self._old: dict[str, _T] = {}
        self._chars = 0

    def of(self, text: str) -> _T:
        """Return what is made of a text; of a huge one it is made each time."""
        found = self._young.get(text)
        return self._other(text) if found is None else found

    def _other(self, text: str) -> _T:
        found = self._old.get(text)
        if found is None:
            found = self._make(text)
            if len(text) > _MOST_KEPT:
                return found
        if len(self._young) >= _MOST_TEXTS // 2 or self._chars > _MOST_CHARS // 2:
            self._old, self._young, self._chars = self._young, {}, 0
        self._young[text] = found
        self._chars += len(text)
        return found

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
