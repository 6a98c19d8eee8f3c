"""Steps of a range: a number of seconds each, or days, weeks and months of a time zone.

Where clocks change, a day has 23 or 25 hours, and a day begins with its first second, also where
midnight is left out. Steps of seconds all have that length, and lie so that one begins at midnight
of the zone when they divide a day.
"""

from datetime import date, datetime, timedelta, tzinfo
from math import ceil, floor
from typing import Final

from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import TooMuchError

__all__ = ["MOST", "MOST_READ", "auto_s", "bound_groups", "edges_of"]

#: steps of one answer
MOST: Final = 20_000
#: groups times steps that a read may take, of which `MOST` are answered
MOST_READ: Final = 200_000
_NICE_S: Final = (
    *(10, 20, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10_800, 21_600, 43_200, 86_400, 7 * 86_400),
)


def auto_s(seconds: float, most: int) -> int:
    """Return the shortest usual step with which a range has at most `most` steps, else a week."""
    return next((step_s for step_s in _NICE_S if seconds <= most * step_s), _NICE_S[-1])


def bound_groups(steps: int, groups: int, shown: int) -> None:
    """Raise TooMuchError for too many steps of so many groups, of which some are shown."""
    if steps * groups > MOST_READ or steps * shown > MOST:
        raise TooMuchError(
            f"expected at most {MOST_READ} steps of all groups together and {MOST} of those "
            f"shown, got {steps} steps of {groups} groups, {shown} shown: choose a longer step, a "
            "shorter range, a lower limit, or one service"
        )


def edges_of(
    from_s: float, to_s: float, step: int | str, tz: tzinfo, most: int = MOST
) -> tuple[int, ...]:
    """Return the edges of the steps that a range touches, epoch seconds, strictly ascending.

    The first is at or before from_s, the last at or after to_s. Raises TooMuchError for more than
    `most` steps.
    """
    if isinstance(step, str):
        edges = _calendar(from_s, to_s, step, tz)
    else:
        moved = datetime.fromtimestamp(from_s, tz).utcoffset() or timedelta()
        # Windows lie on multiples of their width: so must edges, whatever the zone.
        offset_s = round(moved.total_seconds() / WINDOW_S) * WINDOW_S
        first = floor((from_s + offset_s) / step) * step - offset_s
        count = ceil((to_s - first) / step)
        _bound(count, most)
        edges = [first + place * step for place in range(count + 1)]
    _bound(len(edges) - 1, most)
    # A point never lies before 1970, and keys have no room for it.
    return tuple(dict.fromkeys(max(0, edge) for edge in edges))


def _bound(count: int, most: int) -> None:
    if count > most:
        raise TooMuchError(
            f"parameter 'step': expected at most {most} steps in the range, got {count}: choose a "
            "longer step or a shorter range"
        )


def _calendar(from_s: float, to_s: float, word: str, tz: tzinfo) -> list[int]:
    day = datetime.fromtimestamp(from_s, tz).date()
    if word == "week":
        day -= timedelta(days=day.weekday())
    elif word == "month":
        day = day.replace(day=1)
    edges = [_first_second(day, tz)]
    while edges[-1] < to_s:
        day = _next(day, word)
        edge = _first_second(day, tz)
        # A zone that crossed the date line has left out a day.
        if edge > edges[-1]:
            edges.append(edge)
    return edges


def _next(day: date, word: str) -> date:
    if word == "month":
        return (day + timedelta(days=31)).replace(day=1)
    return day + timedelta(days=7 if word == "week" else 1)


def _first_second(day: date, tz: tzinfo) -> int:
    # A midnight that is left out, read as clocks were before, is the moment of their change.
    return int(datetime(day.year, day.month, day.day, tzinfo=tz).timestamp())
