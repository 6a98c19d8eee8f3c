"""Regular expressions of routes, as templates."""

from typing import Final

__all__ = ["readable"]

_QUANTIFIERS: Final = "?*+"


def readable(pattern: str) -> str:
    r"""Return a pattern as a template: `^/(?P<db>[^/]+)(\.(?P<format>\w+))?$` is `/{db}`.

    A named group is its name, what may be left out is left out, any other group, class or repeated
    character is `{}`.
    """
    template, place = "", 0
    pattern = pattern.removeprefix("^").removesuffix("$").removesuffix("\\Z")
    while place < len(pattern):
        end = _end_of_atom(pattern, place)
        atom = pattern[place:end]
        place = end
        while place < len(pattern) and pattern[place] in _QUANTIFIERS:
            place += 1
        quantifier = pattern[end:place]
        if quantifier.startswith(("?", "*")) and not atom.startswith("(?P<"):
            continue
        template += _atom(atom, repeated=bool(quantifier))
    return template


def _atom(atom: str, *, repeated: bool) -> str:
    if atom.startswith("(?P<"):
        return "{" + atom[4 : atom.index(">")] + "}"
    if atom.startswith("(?:") and not repeated:
        return readable(atom[3:-1])
    # A lone dot is one that nobody escaped.
    if repeated or atom[0] in "([" or (atom[0] == "\\" and atom[1:].isalnum()):
        return "{}"
    return atom.removeprefix("\\")


def _end_of_atom(pattern: str, place: int) -> int:
    """Return where the character, escape, class or group that begins at place ends."""
    opening = pattern[place]
    if opening == "\\":
        return place + 2
    if opening not in "([":
        return place + 1
    place += 1
    if opening == "[":
        # A bracket right behind the opening one, or behind its caret, closes nothing.
        place += 2 if pattern[place] == "^" else 1
    while place < len(pattern) and pattern[place] != ("]" if opening == "[" else ")"):
        place = _end_of_atom(pattern, place) if opening == "(" else _end_in_class(pattern, place)
    return place + 1


def _end_in_class(pattern: str, place: int) -> int:
    return place + (2 if pattern[place] == "\\" else 1)
