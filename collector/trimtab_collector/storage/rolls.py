"""How wide the rows of measures are, by their age; the same for every engine that rolls them up."""

from typing import Final

__all__ = ["ROLLS", "rolled_before_s", "row_width_s"]

#: (step, next step, age at which rows of the one become rows of the other), all in seconds
ROLLS: Final = ((10, 60, 900), (60, 3600, 2 * 86_400))


def rolled_before_s(now_s: float, wider_s: int, age_s: int) -> int:
    """Return the time before which rows are rolled up into wider ones, epoch seconds."""
    return (int(now_s) - age_s) // wider_s * wider_s


def row_width_s(t: float, now_s: float) -> int:
    """Return the width of the rows around a time, seconds, at most: some may be narrower yet."""
    width_s = ROLLS[0][0]
    for _, wider_s, age_s in ROLLS:
        if t < rolled_before_s(now_s, wider_s, age_s):
            width_s = wider_s
    return width_s
