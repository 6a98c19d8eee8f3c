"""What changed with an alert, for its page: what the message about it says, and where it leads."""

from collections.abc import Mapping
from typing import Final

from trimtab_collector.alerts.book import AlertBook
from trimtab_collector.alerts.evaluator import Explain
from trimtab_collector.alerts.machine import labels_of
from trimtab_collector.contract.alerts import ALERT, AlertChange, AlertChanges
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.languages import language_of
from trimtab_collector.contract.pagelink import PageLink
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.notify.notice import Change
from trimtab_collector.notify.texts import Texts

__all__ = ["ChangesOfAlerts", "changes_of_alert"]

#: how long before it began its pages begin
_AROUND_S: Final = 900


class ChangesOfAlerts:
    """Finds what changed with an alert, open or past; any thread."""

    def __init__(self, book: AlertBook, explain: Explain) -> None:
        self._book = book
        self._explain = explain

    def of(self, alert_id: str, parameters: Parameters) -> list[AlertChange]:
        """Return the changes of an alert in words; raises ApiError 404, and TooMuchError."""
        rule, alert = self._book.judged(alert_id)
        # Of one that is good again: of the time in which it was not.
        until_s = next(
            (each for each in (alert.good_s, alert.ended_s) if each is not None), parameters.now_s
        )
        found = self._explain(rule, labels_of(rule, alert), alert.since_s, until_s)
        texts = Texts(language_of(parameters), parameters.tz, "")
        around = {"from": instant(alert.since_s - _AROUND_S), "to": instant(until_s)}
        return [
            AlertChange(
                kind=each.kind,
                text=texts.change(each, parameters.now_s),
                at=None if each.at_s is None else instant(each.at_s),
                page=_page(each, around),
            )
            for each in found
        ]


def _page(change: Change, around: Mapping[str, str]) -> PageLink | None:
    names = ("environment", "service", "route", "method")
    place = dict(zip(names, change.of, strict=False))
    if not place.get("route"):
        return None
    if change.kind == "errors":
        return PageLink(page="requests", params={**place, "reason": "failed", **around})
    return PageLink(page="route", params={**place, **around})


def changes_of_alert(part: ChangesOfAlerts, parameters: Parameters) -> AlertChanges:
    """Return what changed when an alert began, and what most of it is of."""
    return AlertChanges(changes=part.of(parameters[ALERT], parameters))
