"""Figures as people read them: a few digits, a unit, thousands apart."""

from math import floor, log10
from typing import Final, NamedTuple

__all__ = ["DASH", "Quantity", "change", "duration", "number", "percent", "quantity"]

#: for what was not measured
DASH: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"
#: memory by 1024, rates by 1000
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_RATES: Final = ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")


class Quantity(NamedTuple):
    """A number and its unit, apart."""

    text: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.unit}".rstrip()


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many digits that count, and thousands apart."""
    if not value:
        return "0"
    size = floor(log10(abs(value)))
    places = max(0, digits - 1 - size)
    text = f"{round(value, places):,.{places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", _MINUS)


def percent(share: float | None, digits: int = 3) -> str:
    """Return a share in per cent; near 100 % with as many digits as tell it apart."""
    if share is None:
        return DASH
    value = 100 * share
    if 99 < value < 100:
        return f"{min(floor(value * 1000) / 1000, 99.999):g} %"
    return f"{number(value, digits)} %"


def change(share: float | None) -> str:
    """Return a relative change with its sign."""
    if share is None:
        return DASH
    if abs(share) < 0.0005:
        return "0 %"
    return ("+" if share > 0 else "") + percent(share, 2)


def duration(seconds: float) -> str:
    """Return a length of time in the two units that count."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days} d" + (f" {hours} h" if hours else "")


def quantity(value: float | None, unit: str) -> Quantity:
    """Return a value of a unit of the API (ms, ratio, 1/s, bytes, bytes/s, s) as people read it."""
    if value is None:
        return Quantity(DASH)
    if unit == "ms":
        if value >= 60_000:
            return Quantity(duration(value / 1000))
        return Quantity(number(value / 1000), "s") if value >= 10_000 else Quantity(
            number(value), "ms"
        )  # fmt: skip
    if unit == "ratio":
        return Quantity(*percent(value).rsplit(" ", 1))
    if unit in ("1/s", "s"):
        return Quantity(number(value), "/s" if unit == "1/s" else "s")
    if unit in ("bytes", "bytes/s"):
        names, width = (_SIZES, 1024) if unit == "bytes" else (_RATES, 1000)
        place = 0
        while value >= width and place < len(names) - 1:
            value, place = value / width, place + 1
        return Quantity(number(value), names[place])
    return Quantity(number(value), unit)
