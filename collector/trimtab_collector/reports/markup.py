"""HTML and SVG that cannot be broken by what it shows.

Every text is escaped here. Control characters, which XML does not allow, and those that turn the
direction of text are left out: names come from outside.
"""

import re
from html import escape
from typing import Final

__all__ = ["Markup", "el", "joined"]

_UNWANTED: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
#: elements without content
_VOID: Final = frozenset({"meta", "br", "line", "rect", "path", "circle"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def el(tag: str, /, *parts: str, **attributes: str | float | None) -> Markup:
    """Return an element. Parts that are no Markup are escaped; attributes of None are left out.

    `class_` stands for class, and `_` within a name for `-`.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(_shown(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID and not parts:
        return Markup(f"<{tag}{words}/>")
    return Markup(f"<{tag}{words}>{joined(*parts)}</{tag}>")


def joined(*parts: str) -> Markup:
    """Return parts one after the other; those that are no Markup are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else _text(part) for part in parts))


def _text(text: str) -> str:
    return escape(_UNWANTED.sub("", text))


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
