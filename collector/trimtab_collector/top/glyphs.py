"""The characters of trends and arrows, also for terminals that show only ASCII; pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["ASCII", "GLYPHS", "Glyphs"]


class Glyphs(NamedTuple):
    """Characters of one kind of terminal."""

    #: from nothing to the most
    levels: str
    down: str
    up: str

    def trend(self, values: Sequence[float | None], cells: int, most: float | None = None) -> str:
        """Return the last values as so many cells, the latest at the right.

        What is unknown is a blank. Without most, the largest value is the highest level.
        """
        if cells <= 0:
            return ""
        last = list(values)[-cells:]
        top = max((value for value in last if value is not None), default=0.0)
        top = most or top
        return "".join(self._level(value, top) for value in last).rjust(cells)

    def _level(self, value: float | None, top: float) -> str:
        if value is None:
            return " "
        if value <= 0 or top <= 0:
            return self.levels[0]
        steps = len(self.levels) - 1
        return self.levels[min(steps, 1 + int(value / top * (steps - 0.5)))]


GLYPHS: Final = Glyphs("▁▂▃▄▅▆▇█", "▼", "▲")
ASCII: Final = Glyphs("_.-=+*#", "v", "^")
