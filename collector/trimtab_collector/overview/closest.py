"""What comes closest to trouble while all is well: a line of a warning, or what is usual."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from trimtab_collector.contract.overview import SentenceLink
from trimtab_collector.contract.pagelink import PageLink
from trimtab_collector.overview.situation import Situation
from trimtab_collector.overview.usual import ERRORS_KIND, P95_KIND
from trimtab_collector.overview.wording import OverviewWords, link, of_service, page

__all__ = ["closest"]

#: with fewer requests a figure is no reason to look
_FEWEST: Final = 50
#: what is looked at of the requests of each service
_KINDS: Final = (P95_KIND, ERRORS_KIND)


class _Near(NamedTuple):
    """Something on its way to trouble."""

    #: share of the way
    reach: float
    metric: str
    unit: str
    subject: str
    value: float
    #: the line of a warning, or what is usual
    other: float
    of_line: bool
    page: PageLink


def closest(situation: Situation, words: OverviewWords) -> tuple[str, list[SentenceLink]] | None:
    """Return a sentence about what is nearest to trouble; None where nothing can be said."""
    found = [each for each in _near(situation) if each.reach > 0]
    if not found:
        return None
    first = max(found, key=lambda each: each.reach)
    subject = words.name(first.subject)
    fields = {
        "what": words.metric(first.metric),
        "subject": subject,
        "value": words.shown.beside(first.value, first.other, first.unit),
    }
    shown = words.shown.quantity(first.other, first.unit)
    text = (
        words.say("detail.closest_line", line=shown, **fields)
        if first.of_line
        else words.say("detail.closest_usual", usual=shown, **fields)
    )
    return text, [link(subject, first.page)]


def _near(situation: Situation) -> Iterator[_Near]:
    lines = {metric: pair[0] for metric, pair in situation.lines.items()}
    for owner in situation.observed.owners:
        service = situation.observed.services[owner]
        if service.now["requests"] < _FEWEST:
            continue
        leads = of_service(owner)
        for kind in _KINDS:
            of_what = (kind.metric, kind.unit, owner[1])
            value, line = service.now[kind.column], lines.get(kind.metric)
            if line and value is not None:
                yield _Near(value / line, *of_what, value, line, True, leads)
            judged = service.judged.get(kind)
            if judged is not None:
                yield _Near(judged.reach, *of_what, value, judged.usual, False, leads)
    for use in situation.observed.machines.uses:
        line = lines.get(use.metric)
        if line:
            leads = page("hosts", {"instance": use.machine})
            yield _Near(
                use.value / line, use.metric, "ratio", use.machine, use.value, line, True, leads
            )
