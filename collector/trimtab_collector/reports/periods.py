"""Days and weeks of a time zone, and the steps that their plots have."""

from datetime import date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

__all__ = ["Period", "period_of"]

#: of daily and weekly reports, seconds
_STEPS: Final = {"daily": 900, "weekly": 7200}
_DAYS: Final = {"daily": 1, "weekly": 7}


class Period(NamedTuple):
    """A day or a week, and the one before it; epoch seconds."""

    kind: str
    #: first and last day
    first: date
    last: date
    from_s: int
    to_s: int
    before_s: int
    step_s: int

    def edges(self, from_s: int, to_s: int) -> tuple[int, ...]:
        """Return the edges of its steps; where clocks change, the last step may be short."""
        return (*range(from_s, to_s, self.step_s), to_s)


def period_of(kind: str, day: date | None, now_s: float, tz: tzinfo) -> Period:
    """Return the period of a day, else the last one that has ended."""
    days = _DAYS[kind]
    today = datetime.fromtimestamp(now_s, tz).date()
    if day is None:
        day = _first(kind, today) - timedelta(days=days)
    first = _first(kind, day)
    end = first + timedelta(days=days)
    return Period(
        kind,
        first,
        end - timedelta(days=1),
        _begin(first, tz),
        _begin(end, tz),
        _begin(first - timedelta(days=days), tz),
        _STEPS[kind],
    )


def _first(kind: str, day: date) -> date:
    return day - timedelta(days=day.weekday()) if kind == "weekly" else day


def _begin(day: date, tz: tzinfo) -> int:
    """Return the first second of a day, on the edge of a stored window."""
    start_s = int(datetime(day.year, day.month, day.day, tzinfo=tz).timestamp())
    return start_s // 10 * 10
