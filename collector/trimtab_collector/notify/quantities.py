"""Numbers, durations and times as people read them, in a language."""

import math
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Final

__all__ = ["duration", "moment", "pair", "quantity"]

_DIGITS: Final = 3
_MOST_DIGITS: Final = 7
_SIZES: Final = ("B", "kB", "MB", "GB", "TB")


def quantity(value: float, unit: str, units: Mapping[str, str], digits: int = _DIGITS) -> str:
    """Return a value with its unit: 5230 ms as "5.23 s", a ratio of 0.053 as "5.3 %"."""
    if not math.isfinite(value):
        return "?"
    if unit == "s":
        value, unit = value * 1000, "ms"
    if unit == "ms":
        if abs(value) >= 120_000:
            return duration(value / 1000, units)
        of_second = abs(value) >= 1000
        number = _number(value / 1000 if of_second else value, digits)
        return units["s" if of_second else "ms"].format(number=number)
    if unit == "ratio":
        return units["ratio"].format(number=_number(value * 100, digits))
    if unit == "bytes":
        return _size(value, units, digits)
    if unit == "bytes/s":
        return units["per_s"].format(quantity=_size(value, units, digits))
    form = {"": "count", "1/s": "1/s"}.get(unit, "other")
    return units[form].format(number=_number(value, digits), unit=unit)


def pair(value: float, line: float, unit: str, units: Mapping[str, str]) -> tuple[str, str]:
    """Return a value and its line; two that differ never look the same."""
    digits = _DIGITS
    shown = quantity(value, unit, units), quantity(line, unit, units)
    while shown[0] == shown[1] and value != line and digits < _MOST_DIGITS:
        digits += 1
        shown = quantity(value, unit, units, digits), shown[1]
    return shown


def duration(seconds: float, units: Mapping[str, str]) -> str:
    """Return a duration in its two largest units: "45 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    whole = max(round(seconds), 0)
    if whole < 120:
        return units["s"].format(number=whole)
    minutes = round(whole / 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    parts: tuple[tuple[str, int], ...]
    if days >= 2:
        parts = (("days", days), ("hours", hours_left))
    elif hours >= 2:
        parts = (("hours", hours), ("minutes", minutes_left))
    else:
        parts = (("minutes", minutes),)
    return " ".join(units[unit].format(number=number) for unit, number in parts if number)


def moment(at_s: float, now_s: float, tz: tzinfo, *, zone: bool = False) -> str:
    """Return a time in a zone, with its date if that is not today's; zone names the zone."""
    local, now = datetime.fromtimestamp(at_s, tz), datetime.fromtimestamp(now_s, tz)
    form = "%H:%M" if local.date() == now.date() else "%Y-%m-%d %H:%M"
    return local.strftime(form + (" %Z" if zone else "")).strip()


def _size(value: float, units: Mapping[str, str], digits: int) -> str:
    """Return bytes in decimal units."""
    power = 0
    while abs(value) >= 1000 and power < len(_SIZES) - 1:
        value /= 1000
        power += 1
    return units[_SIZES[power]].format(number=_number(value, digits))


def _number(value: float, digits: int) -> str:
    if value == 0 or abs(value) < 0.001:
        return "0" if value == 0 or digits == _DIGITS else f"{value:.{digits}g}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
