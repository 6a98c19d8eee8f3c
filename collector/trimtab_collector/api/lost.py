"""What to say of a path that is not there: the one that was probably meant."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from trimtab_collector.api.endpoint import BASE
from trimtab_collector.contract.errors import ApiError

__all__ = ["no_such_path"]

#: characters of a path that are looked at
_CUT: Final = 200
#: longer paths are like none of ours; comparing takes time, and anyone may ask
_LONGEST: Final = 40
#: likeness from 0 to 1 under which a path is no guess
_ALIKE: Final = 0.6


def no_such_path(path: str, known: Iterable[str]) -> ApiError:
    """Return the refusal of a path, with the nearest of those that there are."""
    nearest = _nearest(path[:_CUT], list(known))
    if nearest is None:
        expected = "a path of this API"
    elif path.rstrip("/") == nearest:
        expected = f"{nearest}, without a slash at the end"
    else:
        expected = f"a path of this API, such as {nearest}"
    return ApiError(
        404,
        "not_found",
        f"expected {expected}, got {path!r:.120}: GET {BASE} lists all paths",
        {"nearest": nearest} if nearest else {},
    )


def _nearest(path: str, known: list[str]) -> str | None:
    """Return the path that was probably meant; one without BASE is looked for below it."""
    text = re.sub("/+", "/", path).rstrip("/")
    below = text.removeprefix(BASE)
    if not below or len(below) > _LONGEST:
        return None
    # What all paths have in common says nothing about a likeness.
    tails = {each.removeprefix(BASE).lower(): each for each in known}
    if below.lower() in tails:
        return tails[below.lower()]
    found = get_close_matches(below.lower(), tails, 1, _ALIKE)
    return tails[found[0]] if found else None
