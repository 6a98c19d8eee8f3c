"""Numbers, shares, sizes and durations as people read them, in each language.

The page writes the same, in `dashboard/src/quantities.js`; tests hold both to one table of cases.
"""

from collections.abc import Mapping
from math import floor, isfinite, log10
from typing import Final

__all__ = ["DASH", "QUANTITIES", "Quantities", "number"]

#: for what was not measured
DASH: Final = "\N{EN DASH}"
#: from here on as a power of ten
_VAST: Final = 1e15
_MINUS: Final = "\N{MINUS SIGN}"
_DIGITS: Final = 3
_MOST_DIGITS: Final = 7
#: less is shown as 0, where nothing has to be told apart from it
_NOTHING: Final = 1e-6
#: memory by 1024, rates by 1000
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_RATES: Final = ("B", "kB", "MB", "GB", "TB")
_IN_A_SECOND: Final = {"us": 1e6, "ms": 1e3, "s": 1.0}
#: less is in millionths of a second
_MICRO_S: Final = 1e-4
#: units that stand for another
_SAME: Final = {
    "count": "", "score": "", "perSecond": "1/s", "1": "ratio", "By": "bytes",
    "bytesPerSecond": "bytes/s", "By/s": "bytes/s",
}  # fmt: skip


def number(value: float, digits: int = _DIGITS) -> str:
    """Return a number with so many digits that count, and thousands apart."""
    if not isfinite(value):
        return "?"
    if not value or (abs(value) < _NOTHING and digits == _DIGITS):
        return "0"
    if abs(value) >= _VAST:
        return f"{value:.3g}".replace("-", _MINUS)
    places = max(0, digits - 1 - floor(log10(abs(value))))
    return _trimmed(f"{round(value, places):,.{places}f}").replace("-", _MINUS)


class Quantities:
    """Writes quantities with the units of one language; any thread."""

    def __init__(self, units: Mapping[str, str]) -> None:
        """Take how a number is written with each unit."""
        self._units = units

    def quantity(self, value: float | None, unit: str, digits: int = _DIGITS) -> str:
        """Return a value of a unit of the API: 5230 ms as "5.23 s", a ratio of 0.053 as "5.3 %".

        Units are us, ms, s, ratio, 1/s, bytes, bytes/s, or any word; empty for plain numbers.
        """
        unit = _SAME.get(unit, unit)
        if value is None:
            return DASH
        if not isfinite(value):
            return "?"
        if unit == "s" and not value:
            return self._unit("s", number=0)
        if unit in _IN_A_SECOND:
            return self._time(value / _IN_A_SECOND[unit], digits)
        if unit == "ratio":
            return self.percent(value, digits)
        if unit == "bytes":
            return self._size(value, 1024, _SIZES, digits)
        if unit == "bytes/s":
            return self._unit("per_s", quantity=self._size(value, 1000, _RATES, digits))
        form = {"": "count", "1/s": "1/s"}.get(unit, "other")
        if unit.startswith("{") and unit.endswith("}"):
            unit = unit[1:-1]  # what is counted, as UCUM writes it
        return self._unit(form, number=number(value, digits), unit=unit)

    def pair(self, value: float, line: float, unit: str) -> tuple[str, str]:
        """Return a value and its line; two that differ never look the same."""
        digits = _DIGITS
        shown = self.quantity(value, unit), self.quantity(line, unit)
        while shown[0] == shown[1] and value != line and digits < _MOST_DIGITS:
            digits += 1
            shown = self.quantity(value, unit, digits), shown[1]
        return shown

    def beside(self, value: float | None, line: float | None, unit: str) -> str:
        """Return a value whose line is shown too: it looks like its line only if it is the same."""
        if value is None or line is None:
            return self.quantity(value, unit)
        return self.pair(value, line, unit)[0]

    def percent(self, share: float | None, digits: int = _DIGITS) -> str:
        """Return a share in per cent; near 100 % with as many digits as tell it apart."""
        if share is None:
            return DASH
        value = 100 * share
        if not 99 < value < 100:
            return self._unit("ratio", number=number(value, digits))
        places = max(3, digits - 1)
        # What is below 100 is not shown as 100; the inner rounding is that of binary fractions.
        cut = floor(round(value * 10**places, 6)) / 10**places
        text = _trimmed(f"{min(cut, 100 - 10**-places):.{places}f}")
        return self._unit("ratio", number=text)

    def change(self, share: float | None) -> str:
        """Return a relative change with its sign."""
        if share is None:
            return DASH
        if abs(share) < 0.0005:
            return self.percent(0.0)
        return ("+" if share > 0 else "") + self.percent(share, 2)

    def duration(self, seconds: float) -> str:
        """Return a length of time in the two units that count: "45 s", "2 min 10 s", "3 h"."""
        if not seconds < _VAST:  # nan, too
            return self._unit("days", number=number(seconds / 86_400))
        whole = max(floor(seconds + 0.5), 0)
        if whole >= 600:
            whole = floor(whole / 60 + 0.5) * 60
        if whole >= 172_800:
            whole = floor(whole / 3600 + 0.5) * 3600
        minutes, second = divmod(whole, 60)
        hours, minute = divmod(minutes, 60)
        days, hour = divmod(hours, 24)
        if not minutes:
            return self._unit("s", number=whole)
        if hours >= 48:
            parts = (("days", days), ("hours", hour))
        elif hours:
            parts = (("hours", hours), ("minutes", minute))
        else:
            parts = (("minutes", minutes), ("s", second))
        return " ".join(self._unit(unit, number=count) for unit, count in parts if count)

    def _time(self, seconds: float, digits: int) -> str:
        if seconds >= 60 and digits == _DIGITS:
            return self.duration(seconds)
        if abs(seconds) >= 1:
            return self._unit("s", number=number(seconds, digits))
        if 0 < abs(seconds) < _MICRO_S:
            return self._unit("us", number=number(seconds * 1e6, digits))
        return self._unit("ms", number=number(seconds * 1000, digits))

    def _size(self, value: float, width: int, names: tuple[str, ...], digits: int) -> str:
        place = 0
        while abs(value) >= width and place < len(names) - 1:
            value, place = value / width, place + 1
        return self._unit("size", number=number(value, digits), unit=names[place])

    def _unit(self, form: str, **places: object) -> str:
        return self._units[form].format(**places)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


#: language -> its quantities
QUANTITIES: Final[Mapping[str, Quantities]] = {
    "en": Quantities({
        "us": "{number} µs",
        "ms": "{number} ms",
        "s": "{number} s",
        "minutes": "{number} min",
        "hours": "{number} h",
        "days": "{number} d",
        "ratio": "{number} %",
        "1/s": "{number}/s",
        "per_s": "{quantity}/s",
        "size": "{number} {unit}",
        "count": "{number}",
        "other": "{number} {unit}",
    }),
    "ko": Quantities({
        "us": "{number}µs",
        "ms": "{number}ms",
        "s": "{number}초",
        "minutes": "{number}분",
        "hours": "{number}시간",
        "days": "{number}일",
        "ratio": "{number}%",
        "1/s": "초당 {number}건",
        "per_s": "초당 {quantity}",
        "size": "{number}{unit}",
        "count": "{number}",
        "other": "{number} {unit}",
    }),
}  # fmt: skip
