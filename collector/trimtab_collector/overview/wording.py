"""The words of an overview: names are cleaned and cut, figures and times written in a language."""

from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

from trimtab_collector.contract.alerts import ANALYSIS, THRESHOLD, AlertBody, is_shipped
from trimtab_collector.contract.languages import Phrases
from trimtab_collector.contract.overview import SentenceLink
from trimtab_collector.contract.pagelink import OVERVIEW, PageLink
from trimtab_collector.contract.quantities import DASH, QUANTITIES
from trimtab_collector.notify.languages import LANGUAGES
from trimtab_collector.notify.texts import clean, moment

__all__ = ["PHRASES", "OverviewWords", "capital", "link", "of_alert", "of_service", "page"]

PHRASES: Final = Phrases.of(Path(__file__).parent / "texts")
_MOST_NAME: Final = 80
_MOST_TEXT: Final = 400
_SIGNS: Final = frozenset({"gt", "gte", "lt", "lte"})
#: labels that name what an alert is about
_SUBJECTS: Final = ("agent", "part", "slo")


class OverviewWords:
    """Says things in one language and zone; any thread."""

    def __init__(self, language: str, tz: tzinfo, now_s: float) -> None:
        self.language = language
        self.shown = QUANTITIES[language]
        self._words = LANGUAGES[language]
        self._tz = tz
        self._now_s = now_s

    def say(self, key: str, /, **fields: Any) -> str:
        """Return a text with its places filled, of bounded length."""
        text = clean(PHRASES.say(self.language, key, **fields), _MOST_TEXT)
        return capital(text) if text.startswith(self.part("who.everything")) else text

    def part(self, key: str, /, **fields: Any) -> str:
        """Return a piece of a sentence."""
        return PHRASES.say(self.language, key, **fields)

    def at(self, epoch_s: float) -> str:
        """Return a time of day, with its date where that is not today's."""
        return moment(epoch_s, self._now_s, self._tz)

    def name(self, text: str) -> str:
        """Return a name from an app on one line, without control and direction characters."""
        return clean(text, _MOST_NAME) or DASH

    def route(self, method: str, route: str) -> str:
        """Return a route with its method; `route.none` where requests have none."""
        return self.name(f"{method} {route}".strip()) if route else self.part("route.none")

    def cause(self, cause: str) -> str:
        """Return what time goes into."""
        return self.part(f"cause.{cause}")

    def severity(self, severity: str) -> str:
        """Return the word for a severity."""
        return self._words.words.get(f"severity.{severity}", severity)

    def metric(self, name: str) -> str:
        """Return what people call a metric; one of an app by its own name."""
        return self._words.metrics.get(name) or self.name(name.partition(":")[2] or name)

    def side(self, alert: AlertBody) -> str:
        """Return on which side of its line an alert is."""
        sign = alert.operator if alert.operator in _SIGNS else "eq"
        return self.part(f"side.{sign}", line=self.line(alert))

    def alert(self, alert: AlertBody, subject: str) -> str:
        """Return what happened with an alert, in short."""
        if alert.metric == ANALYSIS:
            return self.say(
                "happened.alert_analysis", subject=subject, severity=self.severity(alert.severity)
            )
        what = self.metric(alert.metric)
        if not is_shipped(alert.rule_id):
            # A threshold may judge the same.
            what = f"{what} ({self.name(alert.rule_name)})"
        return self.say(
            "happened.alert",
            subject=subject,
            what=what,
            severity=self.severity(alert.severity),
            worst=self.value(alert, alert.worst),
            side=self.side(alert),
        )

    def issues(self, alert: AlertBody) -> str:
        """Return what the worst issues of an alert of the analysis are; empty if not known."""
        found = (alert.metadata or {}).get("analysis", {}).get("issues", ())
        worst = [each["type"] for each in found if each["severity"] == found[0]["severity"]]
        return ", ".join(self.part(f"issue.{kind}") for kind in dict.fromkeys(worst))

    def title(self, alert: AlertBody) -> str:
        """Return what people call an alert: of a threshold what it judges, else its own title."""
        if not alert.rule_id.startswith(THRESHOLD):
            return clean(alert.title, _MOST_TEXT)
        what, subject = self.metric(alert.metric), self.subject(alert)
        return capital(self.part("alert.name", what=what, subject=subject))

    def line(self, alert: AlertBody) -> str:
        """Return the line of an alert."""
        return self.shown.quantity(alert.threshold, self.unit(alert.unit))

    def value(self, alert: AlertBody, value: float | None) -> str:
        """Return a value of an alert, never as its line unless it is the same."""
        return self.shown.beside(value, alert.threshold, self.unit(alert.unit))

    def lately(self, alert: AlertBody) -> str:
        """Return the present value of an alert, and of what time it is."""
        value = self.value(alert, alert.value)
        if alert.over is None:
            return value
        return self.part("alert.value_over", value=value, over=self.shown.duration(alert.over))

    def unit(self, unit: str) -> str:
        """Return a unit of a rule; one of an app's own is a name like others."""
        return clean(unit, 24)

    def subject(self, alert: AlertBody) -> str:
        """Return what an alert is about, as short as it can be told apart."""
        for kind in _SUBJECTS:
            name = alert.labels.get(kind)
            if name:
                return self._words.words[f"subject.{kind}"].format(name=self.name(name))
        route = f"{alert.route} ({alert.service})" if alert.route and alert.service else ""
        place = route or alert.route or alert.instance or alert.service or alert.environment
        return self.name(place) if place else self._words.words["subject.none"]


def capital(text: str) -> str:
    """Return a text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def link(text: str, page: PageLink) -> SentenceLink:
    """Return a link from a piece of a sentence."""
    return SentenceLink(text=text, page=page.page, params=page.params)


def of_service(owner: tuple[str, ...] | tuple[()], **more: str) -> PageLink:
    """Return the page of a service, or the overview where it is of all."""
    if len(owner) < 2:
        return PageLink(page=OVERVIEW)
    return PageLink(
        page="route" if more.get("route") else "service",
        params={"environment": owner[0], "service": owner[1], **more},
    )


def of_alert(alert_id: str) -> PageLink:
    """Return the page of an alert."""
    return PageLink(page="alert", params={"id": alert_id})


def page(name: str, params: Mapping[str, str] | None = None) -> PageLink:
    """Return any other page."""
    return PageLink(page=name, params=dict(params or {}))
