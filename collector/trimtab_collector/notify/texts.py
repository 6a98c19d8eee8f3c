"""From a notice to sentences: what, since when, how much against which line, where, and what next.

The result has no markup. Each channel puts it into its own form and escapes what it must there.
Names come from apps and from people, so that each is cleaned here: one line, no control or
direction characters, of bounded length.
"""

import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from trimtab_collector.contract.comparisons import COMPARE
from trimtab_collector.contract.pagelink import PageLink, address_of
from trimtab_collector.contract.quantities import QUANTITIES
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.languages import LANGUAGES
from trimtab_collector.notify.notice import Change, Member, Notice, Promise, Where
from trimtab_core.addresses import DASHBOARD

__all__ = ["Texts", "WrittenMessage", "clean", "moment", "named", "whole_lines"]

#: what mail programs and chats make links of, whatever the markup
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//[^\s/?#]*)")
#: what a hint says to ask, with its parameters
_ASKED: Final = re.compile(r"GET (/[a-z/-]+(?:\?[A-Za-z0-9=&]+)?)")
_WWW: Final = re.compile(r"\bwww\.[^\s/?#]*", re.IGNORECASE)
_MAX_UNIT: Final = 24
_MAX_NAME: Final = 120
_MAX_LINE: Final = 400
_MAX_TITLE: Final = 200
_MAX_MEMBERS: Final = 10
_MAX_CHANGES: Final = 5
_MAX_LINES: Final = 20
_MAX_DIGEST: Final = 30
#: what an alert may be about that is no place of requests
SUBJECTS: Final = ("agent", "part", "slo")
_PLACES: Final = ("environment", "service", "route", "instance", "version")


@dataclass(frozen=True, slots=True)
class WrittenMessage:
    """A message in words, without markup; every text is one line."""

    title: str
    lead: str
    #: label and text
    facts: tuple[tuple[str, str], ...] = ()
    #: heading and lines
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: text and absolute address of pages of the dashboard, for people
    pages: tuple[tuple[str, str], ...] = ()
    #: the same of what answers to a token; for programs, as no browser has one
    links: tuple[tuple[str, str], ...] = ()
    #: what stands over the pages
    pages_heading: str = ""

    def plain(self) -> str:
        """Return the body as plain text, without the title."""
        blocks = [self.lead]
        if self.facts:
            width = max(_width(label) for label, _ in self.facts) + 2
            rows = (f"{label}:{' ' * (width - _width(label))}{text}" for label, text in self.facts)
            blocks.append("\n".join(rows))
        blocks += [
            "\n".join((f"{heading}:", *(f"  - {line}" for line in lines)))
            for heading, lines in self.sections
        ]
        if self.pages:
            lines = (f"  - {text}: {address}" for text, address in self.pages)
            blocks.append("\n".join((f"{self.pages_heading}:", *lines)))
        return "\n\n".join(blocks) + "\n"


def clean(text: str, most: int = _MAX_NAME) -> str:
    """Return a text as one line without control, format and direction characters, cut to most."""
    cut = text[: most * 2]
    kept = (" " if unicodedata.category(each)[0] in "CZ" else each for each in cut)
    line = " ".join("".join(kept).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def named(text: str) -> str:
    """Return a name from an app as clean text that no program makes a link of.

    Whoever can name a service could send people to a page of theirs in a message of ours.
    """
    text = _SCHEME.sub(lambda found: f"{found[1]}[:]{found[2].replace('.', '[.]')}", clean(text))
    return _WWW.sub(lambda found: found[0].replace(".", "[.]"), text)


def moment(at_s: float, now_s: float, tz: tzinfo, *, zone: bool = False) -> str:
    """Return a time in a zone, with its date if that is not today's; zone names the zone."""
    local, now = datetime.fromtimestamp(at_s, tz), datetime.fromtimestamp(now_s, tz)
    form = "%H:%M" if local.date() == now.date() else "%Y-%m-%d %H:%M"
    return local.strftime(form + (" %Z" if zone else "")).strip()


def whole_lines(lines: Sequence[str], most: int) -> str:
    """Return the first lines, none of them cut within its markup."""
    text = ""
    for line in lines:
        if len(text) + len(line) >= most:
            break
        text += f"{line}\n"
    return text


class Texts:
    """Writes messages in one language and time zone; any thread."""

    def __init__(self, lang: str, tz: tzinfo, base_url: str) -> None:
        """Write links where `base_url` (of the collector, as people reach it) is not empty."""
        self._language = LANGUAGES[lang]
        self._shown = QUANTITIES[lang]
        self._tz = tz
        self._base_url = base_url.rstrip("/")

    def write(self, message: Message) -> WrittenMessage:
        """Return a message in words."""
        if message.is_digest:
            return self._digest(message)
        notice = message.notices[0]
        merged = message.stands_for > 1 and notice.ended_s is not None
        lead = self._sentence("lead", notice, message.sent_s)
        if merged:
            lead = f"{lead} {self._word('lead.merged')}"
        if message.plain:
            plain = self._word("lead.plain")
            lead = f"{lead} {self._to_pages(plain) if self._pages([notice]) else plain}"
        if notice.lost_recipients:
            names = ", ".join(map(clean, notice.lost_recipients))
            lead = f"{lead} {self._word('lead.lost', names=clean(names))}"
        if notice.kind == "test":
            return WrittenMessage(self.title(notice, message.sent_s), lead)
        return WrittenMessage(
            title=self.title(notice, message.sent_s),
            lead=lead,
            facts=tuple(self._facts(notice, message.sent_s)),
            sections=tuple(self._sections(notice, message.sent_s)),
            pages=self._pages([notice]),
            links=self._links([notice]),
            pages_heading=self._word("section.pages"),
        )

    def title(self, notice: Notice, now_s: float) -> str:
        """Return the subject of a notice, most important first."""
        return clean(self._sentence("title", notice, now_s), _MAX_TITLE)

    def _digest(self, message: Message) -> WrittenMessage:
        notices = sorted(message.notices, key=_urgency)
        lines = [self.title(notice, message.sent_s) for notice in notices[:_MAX_DIGEST]]
        lines += self._more(len(notices) - len(lines))
        every = address_of(PageLink(page="alerts"), self._base_url)
        all_alerts = ((self._word("link.list"), every),)
        pages = all_alerts if self._base_url else ()
        open_ones = [each for each in notices if each.ended_s is None]
        lead = self._word("lead.plain" if message.plain else "lead.digest")
        lead = self._to_pages(lead) if pages else lead
        return WrittenMessage(
            title=self._word(
                "title.digest",
                count=len(notices),
                critical=sum(notice.severity == "critical" for notice in open_ones),
            ),
            lead=lead,
            sections=(
                (self._word("section.alerts"), tuple(lines)),
                *(() if pages else ((self._word("section.commands"), ("trimtab alert list",)),)),
            ),
            pages=pages,
            links=self._links(notices[:3]),
            pages_heading=self._word("section.pages"),
        )

    def _sentence(self, part: str, notice: Notice, now_s: float) -> str:
        value, threshold, figure = self._figure(notice)
        end_s = notice.at_s if notice.ended_s is None else notice.ended_s
        severity = self._severity(notice.severity)
        if notice.type == "predictive":
            severity = f"{severity}, {self._word('tag.predictive')}"
        zone = part == "lead"
        metric = self._metric(notice.metric)
        key = f"{part}.{notice.kind}"
        if notice.value is None and f"{key}.unknown" in self._language.words:
            key = f"{key}.unknown"
        return self._word(
            key,
            severity=severity,
            subject=self._subject(notice.where),
            metric=metric,
            What=metric[:1].upper() + metric[1:],
            figure=figure,
            value=value,
            threshold=threshold,
            worst=self._quantity(notice.worst, notice),
            since=moment(notice.since_s, now_s, self._tz, zone=zone),
            ended=moment(end_s, now_s, self._tz, zone=zone),
            duration=self._shown.duration(end_s - notice.since_s),
        )

    def _figure(self, notice: Notice) -> tuple[str, str, str]:
        """Return value, line, and one against the other."""
        value = self._quantity(notice.value, notice)
        threshold = self._quantity(notice.threshold, notice)
        against = notice.operator if notice.threshold is not None else "none"
        form = f"side.{against}" if f"side.{against}" in self._language.words else "side.none"
        if notice.value is not None and notice.threshold is not None and notice.ended_s is None:
            holds = COMPARE.get(against)
            if holds is not None and not holds(notice.value, notice.threshold):
                form = f"was.{against}"
        return value, threshold, self._word(form, value=value, threshold=threshold)

    def _facts(self, notice: Notice, now_s: float) -> Iterable[tuple[str, str]]:
        end_s = notice.at_s if notice.ended_s is None else notice.ended_s
        value, threshold, _ = self._figure(notice)
        rows: list[tuple[str, str]] = [
            ("rule", self._metric(notice.rule_name)),
            ("value", value if notice.value is not None else ""),
            ("worst", "" if notice.worst is None else self._quantity(notice.worst, notice)),
            ("threshold", threshold if notice.threshold is not None else ""),
            ("since", moment(notice.since_s, now_s, self._tz, zone=True)),
        ]
        if notice.ended_s is not None:
            rows.append(("ended", moment(notice.ended_s, now_s, self._tz, zone=True)))
        rows.append(("duration", self._shown.duration(end_s - notice.since_s)))
        rows += [(place, named(getattr(notice.where, place))) for place in _PLACES]
        if notice.where.subject_kind in SUBJECTS:
            rows.append((notice.where.subject_kind, named(notice.where.subject)))
        if notice.promise is not None:
            rows += self._promise(notice.promise)
        return [(self._word(f"fact.{name}"), text) for name, text in rows if text]

    def _promise(self, promise: Promise) -> Iterable[tuple[str, str]]:
        shown, left = self._shown, promise.left
        yield (
            "promise",
            self._word(
                f"promise.{'errors' if promise.below_ms is None else 'latency'}",
                target=shown.percent(promise.target),
                below="" if promise.below_ms is None else shown.quantity(promise.below_ms, "ms"),
                days=promise.window_days,
            ),
        )
        if left is not None:
            key = "budget.left" if left >= 0 else "budget.over"
            yield "budget", self._word(key, share=shown.percent(abs(left)))
        if promise.long_s:
            long, short = map(shown.duration, (promise.long_s, promise.short_s))
            yield "windows", self._word("windows", long=long, short=short)

    def _sections(self, notice: Notice, now_s: float) -> Iterable[tuple[str, tuple[str, ...]]]:
        members = [self._member(notice, each, now_s) for each in notice.members[:_MAX_MEMBERS]]
        members += self._more(len(notice.members[_MAX_MEMBERS:]) + notice.members_left_out)
        changes = [self.change(each, now_s) for each in notice.changes[:_MAX_CHANGES]]
        lines = (clean(line, _MAX_LINE) for line in notice.description.splitlines()[:_MAX_LINES])
        over = notice.ended_s is not None
        found = {
            "members": members if len(notice.members) > 1 or notice.members_left_out else [],
            "changes": changes,
            "hints": () if over else self._hints(notice),
            "commands": self._commands(notice),
            "description": [line for line in lines if line],
        }
        return [
            (self._word(f"section.{name}"), tuple(each)) for name, each in found.items() if each
        ]

    def _hints(self, notice: Notice) -> tuple[str, ...]:
        hints, promise = self._language.hints, notice.promise
        kind = notice.metric if promise is None else f"{notice.metric}.{promise.kind}"
        found = hints.get(kind, hints.get(notice.metric, hints[""]))
        return tuple(map(self._to_pages, found)) if self._pages([notice]) else found

    def _to_pages(self, text: str) -> str:
        """Name the pages of the dashboard where a text names what is asked of the API."""
        text = _ASKED.sub(lambda asked: self._language.pages[asked[1]], text)
        return text[:1].upper() + text[1:]

    def _commands(self, notice: Notice) -> list[str]:
        """Return what shows more, ready for a shell, where no page does."""
        if self._pages([notice]):
            return []
        service = notice.where.service
        of = f" --service {shlex.quote(service)}" if service and service == named(service) else ""
        over = "" if notice.ended_s is None else " --state all"
        commands = [f"trimtab alert list{of}{over}"]
        found = {what: address for address, what in self._addresses([notice])}
        address = found.get("explain") or found.get("routes")
        if address:
            commands.append(f'curl -H "Authorization: Bearer $TOKEN" {shlex.quote(address)}')
        return commands

    def _member(self, notice: Notice, member: Member, now_s: float) -> str:
        return self._word(
            "member",
            where=" ".join(self._places(member.where)) or self._word("subject.none"),
            value=self._quantity(member.value, notice),
            severity=self._severity(member.severity),
            since=moment(member.since_s, now_s, self._tz),
        )

    def change(self, change: Change, now_s: float) -> str:
        """Return one line about a change."""
        kind = change.kind
        if (kind == "mark" and change.at_s is None) or (
            kind in ("share", "process", "errors") and change.share is None
        ):
            kind = "other"
        form = f"change.{kind}" if f"change.{kind}" in self._language.words else "change.other"
        name, detail, share = named(change.name), named(change.detail), change.share
        if share is not None and kind == "share":
            share = min(1.0, share)  # more than all, where another cause shrank
        place = " ".join(filter(None, (named(change.service), named(change.environment))))
        text = self._word(
            form,
            mark=self._language.words.get(f"mark.{change.mark}", named(change.mark)),
            name=self._language.words.get(f"part.{name}", name) if kind == "share" else name,
            place=self._word("change.place", place=place) if place else "",
            detail=f"({detail})" if detail and kind != "other" else detail,
            at=moment(change.at_s or 0.0, now_s, self._tz),
            share=self._shown.percent(share),
        )
        return " ".join(text.split())

    def _pages(self, notices: Iterable[Notice]) -> tuple[tuple[str, str], ...]:
        return self._named(notices, pages=True)

    def _links(self, notices: Iterable[Notice]) -> tuple[tuple[str, str], ...]:
        return self._named(notices, pages=False)

    def _named(self, notices: Iterable[Notice], *, pages: bool) -> tuple[tuple[str, str], ...]:
        below = f"{self._base_url}{DASHBOARD}/"
        return tuple(
            (self._language.words.get(f"link.{what}", clean(what)), address)
            for address, what in dict(self._addresses(notices)).items()
            if address.startswith(below) == pages
        )[:_MAX_LINES]

    def _addresses(self, notices: Iterable[Notice]) -> Iterable[tuple[str, str]]:
        """Yield address, and what is found there."""
        for what, path in (link for notice in notices for link in notice.links):
            if self._base_url and path.startswith("/") and path.isprintable() and " " not in path:
                yield self._base_url + path, what

    def _more(self, count: int) -> list[str]:
        return [self._word("more", count=count)] if count else []

    def _metric(self, metric: str) -> str:
        name = metric.removeprefix("gauge:").removeprefix("measure:")
        return self._language.metrics.get(metric, named(name))

    def _severity(self, severity: str) -> str:
        return self._language.words.get(f"severity.{severity}", named(severity))

    def _subject(self, where: Where) -> str:
        places = [where.service, where.route] if where.service else [where.environment, where.route]
        places.append("" if where.service and where.route else where.instance)
        found = " ".join(named(each) for each in places if each)
        if where.subject:
            found = f"{found}, {self._about(where)}" if found else self._about(where)
        return found or self._word("subject.none")

    def _places(self, where: Where) -> list[str]:
        found = [named(text) for place in _PLACES if (text := getattr(where, place))]
        return [*found, self._about(where)] if where.subject else found

    def _about(self, where: Where) -> str:
        known = where.subject_kind in SUBJECTS
        return self._word(
            f"subject.{where.subject_kind if known else 'other'}", name=named(where.subject)
        )

    def _quantity(self, value: float | None, notice: Notice) -> str:
        """Return a figure of a notice, never as its line; of one without any, its severity."""
        if value is None:
            known = notice.threshold is not None
            return self._word("value.none") if known else self._severity(notice.severity)
        return self._shown.beside(value, notice.threshold, _unit(notice.unit))

    def _word(self, key: str, **places: object) -> str:
        return self._language.words[key].format(**places)


def _unit(unit: str) -> str:
    """Return a unit, which an app may have named."""
    return named(unit[:_MAX_UNIT])


def _urgency(notice: Notice) -> tuple[bool, bool, float]:
    """Order notices: what goes on before what is over, critical first, then the oldest."""
    return notice.ended_s is not None, notice.severity != "critical", notice.since_s


def _width(text: str) -> int:
    """Return the columns of a text: letters of East Asian scripts take two."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
