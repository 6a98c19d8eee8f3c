"""Bytes of a terminal to names of keys, also where one key arrives in several reads; pure."""

import codecs
import re
from typing import Final

__all__ = ["KeyDecoder"]

#: a whole control sequence (ECMA-48, 5.4), or that of a function key (SS3)
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[A-Za-z])")
#: the beginning of one
_BEGUN: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")
#: characters of a sequence; what is longer is none
_MOST: Final = 32
_CONTROLS: Final = {
    "\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace",
    "\x03": "ctrl-c", "\x0c": "ctrl-l", "\x15": "ctrl-u",
}  # fmt: skip
_LETTERS: Final = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end",
    "M": "enter", "Z": "shift-tab",
}  # fmt: skip
_NUMBERS: Final = {
    "1": "home", "7": "home", "4": "end", "8": "end", "5": "page-up", "6": "page-down",
}  # fmt: skip


class KeyDecoder:
    """Reads keys: a printable character is itself, others have names such as `page-up`."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    @property
    def waits(self) -> bool:
        """Whether an escape came that may be a key of its own, or begin that of another."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are whole with these bytes; unknown ones are left out."""
        text = self._held + self._decoder.decode(data)
        self._held = ""
        keys: list[str] = []
        place = 0
        while place < len(text):
            if text[place] != "\x1b":
                keys += _single(text[place])
                place += 1
            elif found := _SEQUENCE.match(text, place):
                keys += _named(found[0])
                place = found.end()
            else:
                begun = _BEGUN.match(text, place)
                end = begun.end() if begun else place + 1
                if end == len(text) and end - place <= _MOST:
                    self._held = text[place:]
                    break
                # Alt with a key, or a sequence that breaks off.
                if end == place + 1:
                    keys.append("escape")
                place = end
        return keys

    def flush(self) -> list[str]:
        """Return what was held back, as nothing followed it soon."""
        held, self._held = self._held, ""
        return ["escape"] if held == "\x1b" else []


def _single(character: str) -> list[str]:
    if character in _CONTROLS:
        return [_CONTROLS[character]]
    return [character] if character.isprintable() else []


def _named(sequence: str) -> list[str]:
    if sequence.endswith("~"):
        name = _NUMBERS.get(sequence[2:-1].partition(";")[0])
    else:
        name = _LETTERS.get(sequence[-1])
    return [name] if name else []
