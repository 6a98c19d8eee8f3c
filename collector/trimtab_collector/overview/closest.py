"""What comes closest to trouble while all is well: a line of a warning, or what is usual."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from trimtab_collector.contract.alerts import AlertBody, is_silenced
from trimtab_collector.contract.overview import SentenceLink
from trimtab_collector.contract.pagelink import PageLink
from trimtab_collector.overview.situation import Situation
from trimtab_collector.overview.spans import stepped
from trimtab_collector.overview.usual import ERRORS_KIND, P95_KIND
from trimtab_collector.overview.wording import OverviewWords, capital, link, of_service, page

__all__ = ["closest", "past_line"]

#: with fewer requests a figure is no reason to look
_FEWEST: Final = 50
_MINUTE_S: Final = 60
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
    found = [
        each
        for each in _near(situation)
        if each.reach > 0 and not (each.of_line and each.value > each.other)
    ]
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


def past_line(situation: Situation, words: OverviewWords) -> tuple[str, list[SentenceLink]] | None:
    """Return a sentence about what is past the line of a warning; None where nothing is."""
    held = list(filter(is_silenced, situation.open))
    found = [
        each
        for each in _near(situation)
        if each.of_line
        and each.value > each.other
        and not any(_is_of(a, each) for a in held)
        and _still(situation, each)
    ]
    if not found:
        return None
    first = max(found, key=lambda each: each.reach)
    subject = words.name(first.subject)
    text = words.say(
        "past_line.now",
        what=capital(words.metric(first.metric)),
        subject=subject,
        value=words.shown.beside(first.value, first.other, first.unit),
        side=words.part("side.gt", line=words.shown.quantity(first.other, first.unit)),
    )
    return text, [link(subject, first.page)]


def _still(situation: Situation, near: _Near) -> bool:
    """Tell whether what is past its line is so in the last minute, not through a burst before."""
    kind = next((each for each in _KINDS if each.metric == near.metric), None)
    if kind is None:
        return True
    observed, params = situation.observed, near.page.params
    parameters = replace(
        observed.parameters,
        where={
            **observed.parameters.where,
            "environment": params["environment"],
            "service": params["service"],
        },
    )
    end_s = observed.spans.end_s
    last = stepped(observed.reader.ranges, parameters, max(0, end_s - _MINUTE_S), end_s)
    now, _ = observed.reader.overall(last)
    value = now[kind.column]
    return value is not None and value > near.other


def _is_of(alert: AlertBody, near: _Near) -> bool:
    """Tell whether an alert is of what is on its way to trouble."""
    return alert.metric == near.metric and near.subject in (alert.service, alert.instance)


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
