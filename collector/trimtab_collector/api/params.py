"""The parameters that reads share: which services, which range, which time zone."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from trimtab_collector.api.errors import ApiError

__all__ = ["Params", "choice", "parse", "whole"]

_RELATIVE: Final = re.compile(r"-(\d{1,9}(?:\.\d{1,3})?)(s|m|h|d|w)")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SHARED: Final = frozenset({"environment", "service", "instance", "from", "to", "tz"})
_MAX_RANGE_S: Final = 400 * 86_400


@dataclass(frozen=True, slots=True)
class Params:
    """What a read is about; from_s is before to_s, epoch seconds."""

    environment: str | None
    service: str | None
    instance: str | None
    from_s: float
    to_s: float
    now_s: float
    tz: tzinfo
    own: Mapping[str, str]

    def shown(self, epoch_s: float) -> str:
        """Return a time as ISO 8601 in the zone asked for."""
        text = datetime.fromtimestamp(epoch_s, self.tz).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")


def parse(
    query: Mapping[str, str], now_s: float, own: Collection[str] = (), back_s: float = 900
) -> Params:
    """Return the parameters; own names those of one endpoint, back_s is the range without `from`.

    Raises ApiError 422 for names and values that are not understood.
    """
    for name in query:
        if name not in _SHARED and name not in own:
            known = ", ".join(sorted(_SHARED | {*own}))
            raise _bad(name, f"a parameter among {known}", query[name])
    zone = query.get("tz", "UTC")
    try:
        # UTC also where the machine has no table of zones.
        tz: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise _bad("tz", "a time zone such as Europe/Berlin", zone) from error
    to_s = _instant("to", query["to"], now_s, tz) if "to" in query else now_s
    from_s = _instant("from", query["from"], now_s, tz) if "from" in query else to_s - back_s
    if from_s >= to_s:
        raise _bad("from", f"a time before to ({to_s:.3f})", f"{from_s:.3f}")
    if to_s - from_s > _MAX_RANGE_S:
        raise _bad("from", "a range of at most 400 days", f"{(to_s - from_s) / 86_400:.0f} days")
    return Params(
        query.get("environment"),
        query.get("service"),
        query.get("instance"),
        from_s,
        to_s,
        now_s,
        tz,
        {name: query[name] for name in own if name in query},
    )


def choice(params: Params, name: str, choices: Collection[str], default: str) -> str:
    """Return one of choices; raises ApiError 422 for another."""
    text = params.own.get(name, default)
    if text not in choices:
        raise _bad(name, f"one of {', '.join(choices)}", text)
    return text


def whole(params: Params, name: str, least: int, most: int, default: int) -> int:
    """Return a whole number within bounds; raises ApiError 422 for another."""
    text = params.own.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not least <= int(text[:12]) <= most:
        raise _bad(name, f"a whole number from {least} to {most}", text)
    return int(text)


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
        raise _bad(name, expected, text) from error
    if not 0 <= seconds < 2**32 - 1:
        raise _bad(name, "a time from 1970 to 2106", text)
    return seconds


def _bad(name: str, expected: str, got: str) -> ApiError:
    return ApiError(
        422,
        "bad_parameter",
        f"parameter {name!r:.40}: expected {expected}, got {got!r:.80}",
        {"parameter": name[:40]},
    )
