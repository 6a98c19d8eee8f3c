"""The parameters that reads share: which requests, which range, which time zone."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from trimtab_collector.contract.errors import ApiError

__all__ = [
    "FIELDS",
    "OWNERS",
    "Params",
    "bad",
    "check_range",
    "choice",
    "names",
    "parse",
    "whole",
]

_RELATIVE: Final = re.compile(r"-(\d{1,9}(?:\.\d{1,3})?)(s|m|h|d|w)")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
#: parameters that name who sends; gauges of processes and hosts have these alone
OWNERS: Final[Mapping[str, str]] = {
    "environment": "environment",
    "service": "service",
    "instance": "instance",
}
#: parameter -> field of a series, for all that may be filtered and grouped by
FIELDS: Final[Mapping[str, str]] = {
    "environment": "environment",
    "service": "service",
    "version": "version",
    "instance": "instance",
    "route": "route",
    "method": "method",
    "statusClass": "status_class",
}
_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
_RANGE: Final = ("from", "to", "tz")
_MAX_RANGE_S: Final = 400 * 86_400


@dataclass(frozen=True, slots=True)
class Params:
    """What a read is about; from_s is before to_s, epoch seconds."""

    #: field of a series -> the text it must have
    where: Mapping[str, str]
    from_s: float
    to_s: float
    now_s: float
    tz: tzinfo
    #: parameters of one endpoint that were given
    own: Mapping[str, str]

    def shown(self, epoch_s: float) -> str:
        """Return a time as ISO 8601 in the zone asked for."""
        text = datetime.fromtimestamp(epoch_s, self.tz).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")

    def chooses(self, **fields: str) -> bool:
        """Return whether something with these fields is among what was asked for."""
        return all(self.where.get(name, text) == text for name, text in fields.items())

    def instant(self, name: str) -> float | None:
        """Return a time among the parameters of one endpoint; raises ApiError 422 for another."""
        text = self.own.get(name)
        return None if text is None else _instant(name, text, self.now_s, self.tz)

    def days_before(self, epoch_s: float, days: int) -> float:
        """Return the same time of day in the zone asked for, so many days earlier."""
        moment = datetime.fromtimestamp(epoch_s, self.tz) - timedelta(days=days)
        return moment.timestamp()


def parse(
    query: Mapping[str, str],
    now_s: float,
    own: Collection[str] = (),
    back_s: float = 900,
    fields: Mapping[str, str] = FIELDS,
) -> Params:
    """Return the parameters; own names those of one endpoint, back_s is the range without `from`.

    fields are the filters that there are. Raises ApiError 422 for names and values that are not
    understood.
    """
    for name in query:
        if name not in fields and name not in own and name not in _RANGE:
            known = ", ".join(sorted({*fields, *own, *_RANGE}))
            raise bad(name, f"a parameter among {known}", query[name])
    zone = query.get("tz", "UTC")
    try:
        # UTC also where the machine has no table of zones.
        tz: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise bad("tz", "a time zone such as Europe/Berlin", zone) from error
    if query.get("statusClass", "2xx") not in _CLASSES:
        raise bad("statusClass", f"one of {', '.join(_CLASSES)}", query["statusClass"])
    to_s = _instant("to", query["to"], now_s, tz) if "to" in query else now_s
    from_s = _instant("from", query["from"], now_s, tz) if "from" in query else to_s - back_s
    check_range(from_s, to_s)
    return Params(
        {field: query[name] for name, field in fields.items() if name in query},
        from_s,
        to_s,
        now_s,
        tz,
        {name: query[name] for name in own if name in query},
    )


def check_range(from_s: float, to_s: float, begin: str = "from", end: str = "to") -> None:
    """Raise ApiError 422 for a range that ends before it begins, or is too long.

    begin and end are the parameters that it came from.
    """
    if from_s >= to_s:
        raise bad(begin, f"a time before {end} ({to_s:.3f})", f"{from_s:.3f}")
    if to_s - from_s > _MAX_RANGE_S:
        raise bad(begin, "a range of at most 400 days", f"{(to_s - from_s) / 86_400:.0f} days")


def choice(params: Params, name: str, choices: Collection[str], default: str) -> str:
    """Return one of choices; raises ApiError 422 for another."""
    text = params.own.get(name, default)
    if text not in choices:
        raise bad(name, f"one of {', '.join(choices)}", text)
    return text


def whole(params: Params, name: str, least: int, most: int, default: int) -> int:
    """Return a whole number within bounds; raises ApiError 422 for another."""
    text = params.own.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not least <= int(text[:12]) <= most:
        raise bad(name, f"a whole number from {least} to {most}", text)
    return int(text)


def names(params: Params, name: str) -> tuple[str, ...]:
    """Return fields of a series by the parameters that name them; raises ApiError 422."""
    texts = params.own.get(name, "")
    parts = texts.split(",") if texts else []
    for part in parts:
        if part not in FIELDS or parts.count(part) > 1:
            raise bad(name, f"some of {', '.join(FIELDS)}, each once", texts)
    return tuple(parts)


def bad(name: str, expected: str, got: str) -> ApiError:
    """Return the refusal of a parameter."""
    return ApiError(
        422,
        "bad_parameter",
        f"parameter {name!r:.40}: expected {expected}, got {got!r:.80}",
        {"parameter": name[:40]},
    )


def _instant(name: str, text: str, now_s: float, tz: tzinfo) -> float:
    expected = "ISO 8601, epoch seconds, or relative to now as in -15m (s, m, h, d, w)"
    if text == "now":
        return now_s
    found = _RELATIVE.fullmatch(text)
    try:
        if found:
            seconds = now_s - float(found[1]) * _UNITS[found[2]]
        elif re.fullmatch(r"\d{1,12}(\.\d+)?", text):
            seconds = float(text)
        else:
            # A + that was not escaped arrives as a space.
            moment = datetime.fromisoformat(text.replace(" ", "+"))
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=tz)).timestamp()
    except (ValueError, OverflowError) as error:
        raise bad(name, expected, text) from error
    if not 0 <= seconds < 2**32 - 1:
        raise bad(name, "a time from 1970 to 2106", text)
    return seconds
