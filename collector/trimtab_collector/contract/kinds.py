"""Kinds of query parameters: each reads a text, refuses it in a sentence, and has a JSON schema.

A parameter is declared once, as data. The API checks requests with it, and the OpenAPI document
describes it, so that both say the same.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Generic, NamedTuple, TypeVar

from trimtab_collector.contract.errors import bad_parameter
from trimtab_collector.contract.zones import ZONE_EXPECTED, zone_of

__all__ = [
    "LONGEST_STEP_S",
    "SHORTEST_STEP_S",
    "Choice",
    "Fields",
    "Filter",
    "Instant",
    "Milliseconds",
    "Moment",
    "Parameter",
    "PathName",
    "StepWidth",
    "Text",
    "Whole",
    "Zone",
    "read_duration",
    "read_step",
]

T_co = TypeVar("T_co", covariant=True)

#: a duration, as in 15m or 1h30m
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw])", re.ASCII)
_DURATION: Final = re.compile(rf"(?:{_PART.pattern}){{1,5}}", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
#: digits of a whole number
_DIGITS: Final = 18
#: every step is a multiple of the shortest
SHORTEST_STEP_S: Final = 10
LONGEST_STEP_S: Final = 31 * 86_400
_STEP_SECONDS: Final = {"minute": 60, "hour": 3600}
_STEP_CALENDAR: Final = ("day", "week", "month")
_STEP_WORDS: Final = (*_STEP_SECONDS, *_STEP_CALENDAR)


class Moment(NamedTuple):
    """What times are relative to: the time of the request, and the time zone that it names."""

    now_s: float
    tz: tzinfo


@dataclass(frozen=True, slots=True)
class Parameter(ABC, Generic[T_co]):
    """A parameter of a request, by its name on the wire."""

    name: str
    #: a sentence for the reader of the OpenAPI document
    about: str

    @abstractmethod
    def read(self, text: str, moment: Moment) -> T_co:
        """Return the value of a text; raises ApiError 422 for a text that is not understood."""

    @property
    @abstractmethod
    def absent(self) -> T_co:
        """The value where the parameter is not given."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the value, with its default."""

    @property
    def place(self) -> str:
        """Where it stands: query or path."""
        return "query"

    @property
    def is_list(self) -> bool:
        """Whether its text is a list with commas between."""
        return bool(self.schema().get("type") == "array")

    @property
    def between(self) -> str:
        """What stands between the texts of a list that comes in parts."""
        return ","

    @property
    def required(self) -> bool:
        """Whether a request without it is refused."""
        return False


@dataclass(frozen=True, slots=True)
class Text(Parameter[str | None]):
    """Any text; None where it is not given."""

    def read(self, text: str, moment: Moment) -> str | None:
        """Return the text."""
        return text

    @property
    def absent(self) -> str | None:
        """None."""
        return None

    def schema(self) -> dict[str, Any]:
        """Return the schema of a text."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Filter(Parameter[str | None]):
    """A filter: only what has exactly this text in a field is read."""

    #: the field of a series or gauge
    field: str = ""
    #: the texts that there are, empty for any
    choices: Collection[str] = ()

    def __post_init__(self) -> None:
        """Name the field as the parameter where nothing else is said."""
        object.__setattr__(self, "field", self.field or self.name)

    def read(self, text: str, moment: Moment) -> str | None:
        """Return the text."""
        if self.choices and text not in self.choices:
            raise bad_parameter(self.name, f"one of {', '.join(self.choices)}", text)
        return text

    @property
    def absent(self) -> str | None:
        """None."""
        return None

    def schema(self) -> dict[str, Any]:
        """Return the schema of a text, with its choices."""
        return {"type": "string", **({"enum": list(self.choices)} if self.choices else {})}


@dataclass(frozen=True, slots=True)
class Choice(Parameter[str]):
    """One of some texts."""

    choices: Collection[str]
    default: str

    def read(self, text: str, moment: Moment) -> str:
        """Return the text when it is among the choices."""
        if text not in self.choices:
            raise bad_parameter(self.name, f"one of {', '.join(self.choices)}", text)
        return text

    @property
    def absent(self) -> str:
        """The default."""
        return self.default

    def schema(self) -> dict[str, Any]:
        """Return the schema of the choices."""
        return {"type": "string", "enum": list(self.choices), "default": self.default}


@dataclass(frozen=True, slots=True)
class Whole(Parameter[int]):
    """A whole number within bounds."""

    least: int
    most: int
    default: int

    def read(self, text: str, moment: Moment) -> int:
        """Return the number."""
        # No longer than its bounds may be with some zeros: the digits of a huge number take long.
        usable = text.isascii() and text.isdigit() and len(text) <= _DIGITS
        if not usable or not self.least <= int(text) <= self.most:
            raise bad_parameter(self.name, f"a whole number from {self.least} to {self.most}", text)
        return int(text)

    @property
    def absent(self) -> int:
        """The default."""
        return self.default

    def schema(self) -> dict[str, Any]:
        """Return the schema of the number."""
        return {
            "type": "integer",
            "minimum": self.least,
            "maximum": self.most,
            "default": self.default,
        }


@dataclass(frozen=True, slots=True)
class Milliseconds(Parameter[float | None]):
    """A duration in milliseconds, as answers have it; None where it is not given."""

    most: int = 86_400_000

    def read(self, text: str, moment: Moment) -> float | None:
        """Return the number."""
        # As JSON has it: the bounds of buckets are no round numbers.
        found = re.fullmatch(r"\d{1,9}(\.\d{1,20})?(e-\d{1,2})?", text, re.ASCII)
        if not found or float(text) > self.most:
            raise bad_parameter(self.name, f"milliseconds from 0 to {self.most}", text)
        return float(text)

    @property
    def absent(self) -> float | None:
        """None."""
        return None

    def schema(self) -> dict[str, Any]:
        """Return the schema of the number."""
        return {"type": "number", "minimum": 0, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Fields(Parameter[tuple[str, ...]]):
    """Some of the names of filters, with commas between, each at most once."""

    #: name of a filter -> field
    choices: Mapping[str, str]
    default: tuple[str, ...]

    def read(self, text: str, moment: Moment) -> tuple[str, ...]:
        """Return the names; of an empty text none."""
        parts = tuple(text.split(",")) if text else ()
        if set(parts) - set(self.choices) or len(set(parts)) < len(parts):
            nothing = ", or nothing" if self.default else ""
            expected = f"some of {', '.join(self.choices)}, each once{nothing}"
            raise bad_parameter(self.name, expected, text)
        return parts

    @property
    def absent(self) -> tuple[str, ...]:
        """The default."""
        return self.default

    def schema(self) -> dict[str, Any]:
        """Return the schema of the list."""
        return {
            "type": "array",
            "items": {"type": "string", "enum": list(self.choices)},
            "uniqueItems": True,
            "default": list(self.default),
        }


@dataclass(frozen=True, slots=True)
class PathName(Parameter[str]):
    """A part of the path, in braces there."""

    def read(self, text: str, moment: Moment) -> str:
        """Return the text."""
        return text

    @property
    def absent(self) -> str:
        """Never: the route has it."""
        return ""

    def schema(self) -> dict[str, Any]:
        """Return the schema of the text."""
        return {"type": "string", "minLength": 1}

    @property
    def place(self) -> str:
        """The path."""
        return "path"

    @property
    def required(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class Instant(Parameter[float | None]):
    """A time, as epoch seconds; None where it is not given."""

    examples: tuple[str, ...] = ("-15m", "-1h30m", "1764460800", "2025-11-30T00:00:00Z")

    def read(self, text: str, moment: Moment) -> float | None:
        """Return the time."""
        expected = (
            "ISO 8601, epoch seconds, or relative to now as in -15m or -1h30m (s, m, h, d, w)"
        )
        if text == "now":
            return moment.now_s
        try:
            back_s = read_duration(text[1:]) if text.startswith("-") else None
            if back_s is not None:
                seconds = moment.now_s - back_s
            elif re.fullmatch(r"\d{1,12}(\.\d+)?", text):
                seconds = float(text)
            else:
                # A + that was not escaped arrives as a space.
                local = datetime.fromisoformat(text.replace(" ", "+"))
                seconds = (local if local.tzinfo else local.replace(tzinfo=moment.tz)).timestamp()
        except (ValueError, OverflowError) as error:
            raise bad_parameter(self.name, expected, text) from error
        if not 0 <= seconds < 2**32 - 1:
            raise bad_parameter(self.name, "a time from 1970 to 2106", text)
        return seconds

    @property
    def absent(self) -> float | None:
        """None."""
        return None

    def schema(self) -> dict[str, Any]:
        """Return the schema of the text."""
        return {"type": "string", "examples": list(self.examples)}


@dataclass(frozen=True, slots=True)
class Zone(Parameter[tzinfo]):
    """A time zone by its IANA name."""

    def read(self, text: str, moment: Moment) -> tzinfo:
        """Return the zone."""
        try:
            return zone_of(text)
        except LookupError as error:
            raise bad_parameter(self.name, ZONE_EXPECTED, text) from error

    @property
    def absent(self) -> tzinfo:
        """UTC."""
        return UTC

    def schema(self) -> dict[str, Any]:
        """Return the schema of the text."""
        return {"type": "string", "default": "UTC", "examples": ["Europe/Berlin"]}


@dataclass(frozen=True, slots=True)
class StepWidth(Parameter[int | str | None]):
    """The width of steps: seconds, or a word of the calendar; None where it is not given."""

    def read(self, text: str, moment: Moment) -> int | str | None:
        """Return the step."""
        step = read_step(text)
        if step is None:
            expected = (
                f"a multiple of {SHORTEST_STEP_S} seconds up to {LONGEST_STEP_S}, "
                f"or {', '.join(_STEP_WORDS)}"
            )
            raise bad_parameter(self.name, expected, text)
        return step

    @property
    def absent(self) -> int | str | None:
        """None: the read chooses."""
        return None

    def schema(self) -> dict[str, Any]:
        """Return the schema of seconds or a word."""
        seconds = {
            "type": "integer",
            "minimum": SHORTEST_STEP_S,
            "maximum": LONGEST_STEP_S,
            "multipleOf": SHORTEST_STEP_S,
        }
        return {"oneOf": [seconds, {"type": "string", "enum": list(_STEP_WORDS)}]}


def read_duration(text: str) -> float | None:
    """Return the seconds of a duration such as 15m, 1h30m or 2w; None where it is none."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(size) * _UNITS[unit] for size, unit in _PART.findall(text))


def read_step(text: str) -> int | str | None:
    """Return a step as seconds or as a word of the calendar; None when it is neither."""
    if text in _STEP_CALENDAR:
        return text
    if text in _STEP_SECONDS:
        return _STEP_SECONDS[text]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    step_s = int(text)
    usable = SHORTEST_STEP_S <= step_s <= LONGEST_STEP_S and step_s % SHORTEST_STEP_S == 0
    return step_s if usable else None
