"""Who may take more of a bounded table of names, so that no sender and no app takes it all.

The bound of each is a multiple of what is free (dynamic thresholds, Choudhury and Hahne, 1998): a
sender may use three times as many places as are free, one app of it as many as are free. Alone, a
sender ends at three quarters of the table and an app at half of it, and there is room for others
without a fixed number for each. The first hundred names of anybody need only a free place.

What counts for a sender are the names in use. Those that nobody uses take a place, but nobody is
held to account for them: their table lets go of them when it needs room.
"""

from typing import Final, Generic, TypeVar

__all__ = ["SharedPlaces"]

#: what a sender and an app may use, in multiples of what is free
_SENDER: Final = 3
_APP: Final = 1
#: names that anybody may have while there is a place
_FEW: Final = 100

_T = TypeVar("_T")


class SharedPlaces(Generic[_T]):
    """The places of one table; not thread-safe. A sender is the id of a key, or empty."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: places taken, in use or not
        self.taken = 0
        self._senders: dict[str, int] = {}
        self._apps: dict[tuple[str, tuple[str, str]], int] = {}
        #: name -> sender and app that first used it; since the last turn, and in the turn before
        self.current: dict[_T, tuple[str, tuple[str, str]]] = {}
        self._before: dict[_T, tuple[str, tuple[str, str]]] = {}

    @property
    def is_full(self) -> bool:
        """Whether no place is free."""
        return self.taken >= self._limit

    def has_room(self, sender: str, app: tuple[str, str], beyond: int = 0) -> bool:
        """Tell whether a sender may take one more place for an app, or so many beyond the limit."""
        free = self._limit + beyond - self.taken
        return (
            free > 0
            and self._senders.get(sender, 0) < max(_SENDER * free, _FEW)
            and self._apps.get((sender, app), 0) < max(_APP * free, _FEW)
        )

    def take(self, name: _T, sender: str, app: tuple[str, str]) -> bool:
        """Use a name, which gets a place if it has none in use; False where there is no room."""
        if not self.in_use(name):
            if not self.has_room(sender, app):
                return False
            self.taken += 1
        self.use(name, sender, app)
        return True

    def in_use(self, name: _T) -> bool:
        """Tell whether a name was used since the turn before the last."""
        return name in self.current or name in self._before

    def unused(self, names: frozenset[_T]) -> int:
        """Return how many of some names are not in use."""
        return len(names.difference(self.current).difference(self._before))

    def use(self, name: _T, sender: str, app: tuple[str, str]) -> None:
        """Note that a name that has a place was used."""
        if name in self.current:
            return
        payer = self._before.pop(name, None)
        if payer is None:
            payer = (sender, app)
            self._senders[sender] = self._senders.get(sender, 0) + 1
            self._apps[payer] = self._apps.get(payer, 0) + 1
        self.current[name] = payer

    def drop(self, name: _T) -> None:
        """Free the place of a name."""
        self.taken -= 1
        payer = self.current.pop(name, None) or self._before.pop(name, None)
        if payer is not None:
            self._forgive(payer)

    def turn(self) -> int:
        """Hold nobody to account for names that were not used since the last turn: how many."""
        idle = self._before
        for payer in idle.values():
            self._forgive(payer)
        self._before, self.current = self.current, {}
        return len(idle)

    def _forgive(self, payer: tuple[str, tuple[str, str]]) -> None:
        _less(self._senders, payer[0])
        _less(self._apps, payer)


def _less(counts: dict[_T, int], name: _T) -> None:
    left = counts.get(name, 0) - 1
    if left > 0:
        counts[name] = left
    else:
        counts.pop(name, None)
