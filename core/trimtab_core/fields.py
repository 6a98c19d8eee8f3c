"""Checks of fields from a peer; each raises ValueError or TypeError with the wrong value."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from trimtab_core.names import clean_name

__all__ = [
    "MALFORMED",
    "MAX_COUNT",
    "MAX_NAME",
    "count_of",
    "mapping",
    "name_of",
    "number",
    "sound",
    "whole",
]

_T = TypeVar("_T")

#: Longest name of an environment, service, version or instance; longer ones are refused.
MAX_NAME: Final = 128
#: Largest count, record number and clock reading: sums of them stay exact, as floats too.
MAX_COUNT: Final = 2**53
#: Errors that reading a malformed message raises. The last one comes from the repr of a value that
#: is nested 1,000 deep.
MALFORMED: Final = (
    KeyError, IndexError, ValueError, TypeError, AttributeError, RecursionError
)  # fmt: skip


def sound(rows: Sequence[Any], read: Callable[[Any], _T], malformed: list[str]) -> list[_T]:
    """Return what read makes of rows; one that is malformed costs itself.

    malformed takes what is wrong with it, in up to 200 characters.
    """
    try:
        return [read(row) for row in rows]
    except MALFORMED:
        pass
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except MALFORMED as error:
            malformed.append(f"{error!r:.200}")
    return found


def mapping(value: Any) -> Mapping[Any, Any]:
    """Return a value that is a map."""
    if not isinstance(value, dict):
        raise TypeError(f"expected a map, got {type(value).__name__}")
    return value


def whole(value: Any, least: int, most: int) -> int:
    """Return a value that is a whole number from least to most."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"expected a whole number from {least} to {most}, got {value!r:.40}")
    return value


def count_of(value: Any) -> int:
    """Return a value that is a whole number from 0 to MAX_COUNT."""
    return whole(value, 0, MAX_COUNT)


def number(value: Any) -> float:
    """Return a value that is a number, as a float."""
    if type(value) not in (int, float):
        raise ValueError(f"expected a number, got {value!r:.40}")
    return float(value)


def name_of(value: Any, *, empty: bool = False, most: int = MAX_NAME) -> str:
    """Return a text of 1 to most characters, cleaned; or an empty one if that is allowed."""
    if not isinstance(value, str) or len(value) > most or not (value or empty):
        raise ValueError(f"expected a name of 1 to {most} characters, got {value!r:.40}")
    # Asked here: a batch has thousands of texts, and a call costs more than the question.
    return value if value.isascii() and value.isprintable() else clean_name(value)
