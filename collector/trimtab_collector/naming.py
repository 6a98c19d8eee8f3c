"""Texts that are searched for: folded, so that case and form of letters are one, and ranked."""

import unicodedata
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Final, NamedTuple

from trimtab_collector.contract.parameters import Parameters

__all__ = ["FoundName", "NameIndex", "folded", "ranked"]

#: what a word of a name may follow
_BREAKS: Final = frozenset(" /._-:{\"'(")


class FoundName(NamedTuple):
    """Something that can be found."""

    kind: str
    text: str
    #: the same as it is compared
    folded: str
    #: what its page is asked for
    params: tuple[tuple[str, str], ...]
    environment: str = ""
    service: str = ""
    #: what shows it, where that does not follow from its kind
    page: str = ""


class NameIndex:
    """What can be found, by kind; it does not change."""

    def __init__(self, rows: Iterable[FoundName]) -> None:
        self._rows: dict[str, list[FoundName]] = {}
        for row in rows:
            self._rows.setdefault(row.kind, []).append(row)

    def of(self, kind: str) -> Sequence[FoundName]:
        """Return everything of a kind."""
        return self._rows.get(kind, ())


def folded(text: str) -> str:
    """Return a text as it is compared: compatible letters and cases are one, as is white space.

    NFKC, case folding, and NFKC again (Unicode Standard, chapter 3.13, compatibility caseless
    matching).
    """
    if text.isascii():
        return " ".join(text.casefold().split())
    cased = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", cased).split())


def ranked(
    rows: Iterable[FoundName], text: str, limit: int, parameters: Parameters
) -> tuple[list[FoundName], int]:
    """Return the best rows with a folded text, and how many more there are.

    What begins with it comes first, then what has a word that does, then any other; of these the
    shorter ones, which the text is more of.
    """
    found: list[tuple[int, int, str, str, int]] = []
    every = list(rows)
    for number, row in enumerate(every):
        place = row.folded.find(text)
        if place < 0 or not _chosen(row, parameters):
            continue
        rank = 0 if place == 0 else 1 if _begins_word(row.folded, text, place) else 2
        found.append((rank, len(row.folded), row.text, row.service, number))
    best = nsmallest(limit, found)
    return [every[number] for *_, number in best], max(0, len(found) - limit)


def _chosen(row: FoundName, parameters: Parameters) -> bool:
    """Return whether something is of what was asked for; what is of several may be."""
    where = parameters.where
    return not where or (
        row.environment in ("", where.get("environment", row.environment))
        and row.service in ("", where.get("service", row.service))
    )


def _begins_word(whole: str, text: str, place: int) -> bool:
    while place >= 0:
        if whole[place - 1] in _BREAKS:
            return True
        place = whole.find(text, place + 1)
    return False
