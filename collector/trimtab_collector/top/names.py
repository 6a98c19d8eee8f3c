"""Makes names from apps harmless in a terminal: nothing in them moves, colours or turns text."""

import unicodedata
from typing import Final

from trimtab_core.logs import plain

__all__ = ["shown"]

#: characters of a name that can matter on a screen
_MOST_CHARACTERS: Final = 300
#: marks on one letter; more would run over the lines above and below
_MOST_MARKS: Final = 2
_VARIATIONS: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))
_UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"


def shown(name: str) -> str:
    """Return a name as one line of printable characters, cut to 300 of them.

    Controls and marks of direction become `\\x1b` or `\\u202e`, other invisible characters U+FFFD.
    """
    text = name[:_MOST_CHARACTERS]
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", plain(text)):
        kind = unicodedata.category(character)
        marks = marks + 1 if kind[0] == "M" else 0
        # Terminals disagree on how wide a character with a variation selector is.
        if marks > _MOST_MARKS or character in _VARIATIONS:
            continue
        kept.append(_UNKNOWN if kind[0] == "C" else " " if kind[0] == "Z" else character)
    return "".join(kept)[:_MOST_CHARACTERS]
