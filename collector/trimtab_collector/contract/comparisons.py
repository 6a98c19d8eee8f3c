"""How a value is held against a line: `gt`, `gte`, `lt`, `lte`, `eq`, as alerts name it."""

from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt
from typing import Any, Final

__all__ = ["COMPARE"]

#: of numbers, or of an array and a number
COMPARE: Final[Mapping[str, Callable[[Any, float], Any]]] = {
    "gt": gt,
    "gte": ge,
    "lt": lt,
    "lte": le,
    "eq": eq,
}
