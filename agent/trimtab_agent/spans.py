"""What was added to measures over several windows, and waits to be shared among them.

A delta becomes one in each of up to 60 windows, so the work is done in portions, between which the
loop turns. Owners have their turns one after the other: of all users, of the processes of each,
and so on, so that what one has sent keeps only itself waiting. What has waited for long is shared
among ever fewer windows, at last one, so that all that waits is done in a few minutes.
"""

from collections.abc import Callable
from typing import Any, Final

from trimtab_agent.dating import share
from trimtab_agent.peers import Sharer
from trimtab_agent.tables import Own
from trimtab_core.measures import Delta
from trimtab_core.rows import MeasureRow

__all__ = ["Portion", "WaitingSpans"]

#: Start of a window -> whose rows belong into it.
Portion = dict[int, list[tuple[Sharer, MeasureRow]]]

#: Work is counted in rows of measures, about 10 us each until they are written: what a portion may
#: cost, one turn in it, each window of it besides, and what a bucket is of a row.
_PORTION: Final = 6000
_TURN: Final = 1000
_WINDOW: Final = 20
_BUCKETS: Final = 20
#: Closings of windows, one a second, after which the windows of what waits are half as many.
_PATIENCE: Final = 60
#: Parts of an owner.
_LEVELS: Final = 3


class WaitingSpans:
    """The spans of all owners, by whose turn it is; loop only.

    pop takes a measure of a owner's span, None if there are no more; lose is told of one that
    could not be shared.
    """

    def __init__(
        self,
        pop: Callable[[tuple[int, ...], Sharer], tuple[Own, Delta] | None],
        lose: Callable[[], None],
    ) -> None:
        self._pop = pop
        self._lose = lose
        #: by the parts of their owners, those whose turn it is first; then span -> since when
        self._turns: dict[Any, Any] = {}
        #: how often windows were closed
        self._closings = 0

    def wait(self, owner: Sharer, span: tuple[int, ...]) -> None:
        """Have a span wait for its turn; one that waits already keeps its place."""
        turns = self._turns
        for part in owner:
            turns = turns.setdefault(part, {})
        turns.setdefault(span, self._closings)

    def age(self) -> None:
        """Note that windows were closed."""
        self._closings += 1

    def portion(self, *, whole: bool = False) -> Portion:
        """Share some of what waits; empty if nothing does.

        whole: nothing is shared, all goes into the window in the middle of its span.
        """
        portion: Portion = {}
        work = 0
        while work < _PORTION and self._turns:
            owner, span, since = self._next(self._turns)
            waited = self._closings - since
            starts = _some(span, 1 if whole else max(1, len(span) >> min(waited // _PATIENCE, 8)))
            work += _WINDOW * sum(start_s not in portion for start_s in starts)
            end = min(_PORTION, work + _TURN)
            while work < end:
                popped = self._pop(span, owner)
                if popped is None:
                    _forget(self._turns, (*owner, span))
                    break
                own, delta = popped
                work += len(starts) * (1 + len(delta.buckets) // _BUCKETS)
                self._share(owner, own, delta, starts, portion)
        return portion

    def _share(
        self, owner: Sharer, own: Own, delta: Delta, starts: list[int], portion: Portion
    ) -> None:
        try:
            parts = [share(delta, len(starts), index) for index in range(len(starts))]
        except Exception:  # noqa: BLE001 - one delta, whatever is in it, costs itself
            self._lose()
            return
        for start_s, part in zip(starts, parts, strict=True):
            if part is not None:
                row = MeasureRow(*owner.service, *own, part)
                portion.setdefault(start_s, []).append((owner, row))

    @staticmethod
    def _next(turns: dict[Any, Any]) -> tuple[Sharer, tuple[int, ...], int]:
        """Return whose turn it is; the next time it is that of others, on each level."""
        path: tuple[Any, ...] = ()
        while len(path) < _LEVELS:
            key = next(iter(turns))
            later = turns[key] = turns.pop(key)
            path, turns = (*path, key), later
        span, since = next(iter(turns.items()))
        return Sharer(*path), span, since


def _some(span: tuple[int, ...], parts: int) -> list[int]:
    """Return that many windows of a span, evenly spread."""
    return [span[(2 * index + 1) * len(span) // (2 * parts)] for index in range(parts)]


def _forget(turns: dict[Any, Any], path: tuple[Any, ...]) -> None:
    """Remove a leaf, and the branches that it leaves empty."""
    if len(path) > 1:
        _forget(turns[path[0]], path[1:])
        if turns[path[0]]:
            return
    del turns[path[0]]
