"""The shape of a day, compressed into six minutes, and of a week of five such days.

Days are counted from 1970 and a week takes half an hour: so the hour before, and the same time
yesterday, have the same shape, and what is usual then is usual now.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["DAY_S", "WEEK_S", "pace"]

DAY_S: Final = 360.0
#: how busy each day of the week is; the last is the day of rest
_DAYS: Final = (0.90, 0.82, 0.94, 1.0, 0.58)
WEEK_S: Final = DAY_S * len(_DAYS)
#: the part of a day, at its end, in which it becomes the next
_DUSK: Final = 0.15
#: service -> share of its full rate at night, and its peaks: hour, height, hours that it lasts
_SHAPES: Final[Mapping[str, tuple[float, Sequence[tuple[float, float, float]]]]] = {
    "shop": (0.15, ((12.5, 0.55, 2.5), (20.0, 0.85, 2.2))),
    "library": (0.12, ((10.5, 0.60, 2.0), (16.0, 0.88, 2.5))),
    "records": (0.08, ((9.5, 0.85, 1.6), (14.5, 0.75, 2.0))),
    "payments": (0.15, ((13.0, 0.6, 3.0), (20.5, 0.8, 2.5))),
}


def pace(service: str, at_s: float) -> float:
    """Return the share of its full rate, above 0 and up to 1, that a service has at a time."""
    night, peaks = _SHAPES[service]
    day, part = divmod(at_s / DAY_S, 1.0)
    shape = night + sum(
        # A bump on a circle of 24 hours (von Mises), so that midnight has no step.
        height * math.exp((math.cos((part * 24 - hour) * math.tau / 24) - 1) * (24 / wide / 6) ** 2)
        for hour, height, wide in peaks
    )
    today, tomorrow = (_DAYS[int(day + more) % len(_DAYS)] for more in (0, 1))
    dusk = max(0.0, (part - 1 + _DUSK) / _DUSK)
    return min(1.0, shape) * (today + (tomorrow - today) * dusk * dusk * (3 - 2 * dusk))
