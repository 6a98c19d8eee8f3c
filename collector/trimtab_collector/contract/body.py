"""What all bodies of answers share: keys are camelCase on the wire.

Times are milliseconds, rates per second, sizes bytes, shares 0 to 1. What was not measured is null.
"""

import msgspec

__all__ = ["Body", "RangeBody", "ResolvedBody", "wire_name"]


def wire_name(name: str) -> str:
    """Return the key of a field: camelCase, and `from` for what Python cannot name so."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(map(str.capitalize, rest))


class Body(msgspec.Struct, rename=wire_name, kw_only=True):
    """Something with keys as the API names them."""


class RangeBody(Body, kw_only=True):
    """The range that an answer is about, as it was read."""

    from_: str
    to: str


class ResolvedBody(RangeBody, kw_only=True):
    """A range, and the width of the widest windows at its edges, in seconds."""

    resolution: int
