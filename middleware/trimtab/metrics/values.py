"""What a value of a metric may be: a finite number that a frame can hold."""

from math import isnan, nan
from typing import Any, Final

__all__ = ["MOST_VALUE", "finite"]

#: larger values are left out: their sum could overflow
MOST_VALUE: Final = 1e300
#: whole numbers from here on do not fit a frame: they become floats
_MOST_WHOLE: Final = 2.0**63
_PLAIN: Final = frozenset({int, float})


def finite(values: list[Any]) -> list[float]:
    """Return values as numbers that a frame can hold, leaving out what is none, or is not finite.

    Whole numbers of up to 63 bits stay as they are, larger ones become floats.
    """
    if not values:
        return values
    try:
        if (
            set(map(type, values)) <= _PLAIN
            and min(values) > -_MOST_WHOLE
            and (max(values) < _MOST_WHOLE and not isnan(sum(values)))
        ):
            return values
    except OverflowError:  # a whole number too large for a float among floats
        pass
    found = []
    for value in values:
        try:
            number = float(value) if not isinstance(value, (str, bytes)) else nan
        except Exception:  # noqa: BLE001, S112 - a foreign number may raise what it likes
            continue
        if abs(number) < MOST_VALUE:
            found.append(number)
    return found
