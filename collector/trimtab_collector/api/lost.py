"""What to say of a path that is not there: the one that was probably meant."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from trimtab_collector.api.endpoint import BASE
from trimtab_collector.contract.errors import ApiError

__all__ = ["no_such_path"]

#: a path is compared up to here: what is longer is none of ours
_LONGEST: Final = 200
#: likeness from 0 to 1 under which a path is no guess
_ALIKE: Final = 0.6


def no_such_path(path: str, known: Iterable[str]) -> ApiError:
    """Return the refusal of a path, with the nearest of those that there are."""
    nearest = _nearest(path[:_LONGEST], list(known))
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
    by_case = {each.lower(): each for each in known}
    for candidate in (text, BASE + text):
        if candidate.lower() in by_case:
            return by_case[candidate.lower()]
    if not text:
        return None
    below = text if text.startswith(BASE) else BASE + text
    found = get_close_matches(below, known, 1, _ALIKE)
    # What all paths have in common says nothing about a likeness.
    tail = get_close_matches(below.removeprefix(BASE), [each.removeprefix(BASE) for each in found],
                             1, _ALIKE)  # fmt: skip
    return found[0] if tail else None
