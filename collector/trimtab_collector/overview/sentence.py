"""What to say first: alerts, what is lost, what is out of the ordinary, or that all is well."""

from collections.abc import Iterator, Sequence
from typing import Final

from trimtab_collector.contract.alerts import AGENT_SILENCE, ANALYSIS, SILENCED, AlertBody
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.overview import OverviewSentence, SentenceLink
from trimtab_collector.overview.arrivals import last_arrival
from trimtab_collector.overview.causes import Causes
from trimtab_collector.overview.closest import closest
from trimtab_collector.overview.findings import OutOfOrdinary
from trimtab_collector.overview.situation import Situation, epoch
from trimtab_collector.overview.usual import (
    CACHE_KIND,
    CPU_KIND,
    ERRORS_KIND,
    P95_KIND,
    WORSE,
    BesideUsual,
    FigureKind,
)
from trimtab_collector.overview.wording import (
    OverviewWords,
    capital,
    link,
    of_alert,
    of_service,
    page,
)

__all__ = ["Sentences"]

#: data that is older than this is late
_LATE_S: Final = 60
_NAMED: Final = 3
#: metric of an alert -> what is out of the ordinary when it fires
_OF_REQUESTS: Final = {
    **dict.fromkeys((P95_KIND.metric, "p50", "p90", "p95", "p99", "p999", "mean"), P95_KIND),
    ERRORS_KIND.metric: ERRORS_KIND,
}


class Sentences:
    """Chooses and writes the sentence of one overview; raises TooMuchError."""

    def __init__(
        self, situation: Situation, words: OverviewWords, findings: Sequence[OutOfOrdinary]
    ) -> None:
        self._situation = situation
        self._observed = situation.observed
        self._parameters = situation.observed.parameters
        self._spans = situation.observed.spans
        self._words = words
        self._findings = findings
        self._causes = Causes(situation, words)
        self._alerts = sorted(filter(_is_told, situation.alerts), key=_urgency)

    def choose(self) -> OverviewSentence:
        """Return what to say first."""
        return (
            self._nothing()
            or self._of_alerts("critical")
            or self._lost()
            or self._of_alerts("warning")
            or self._out_of_ordinary()
            or self._of_machines()
            or self._well()
        )

    # ------------------------------------------------ nothing came

    def _nothing(self) -> OverviewSentence | None:
        """Return that nothing came in: ever, in the range, or lately."""
        observed, spans, words = self._observed, self._spans, self._words
        store, where = observed.reader.store, self._parameters.where
        now_s = self._parameters.now_s
        has_data = observed.has_requests or observed.machines.processes or observed.machines.uses
        if spans.is_now:
            run = store.arrived(int(now_s) - 3600, int(now_s) + 60, 7200)
            if has_data and run is not None and run[1] >= now_s - _LATE_S:
                return None
            last_s = run[1] if run is not None and not where else None
            last_s = last_arrival(store, where, int(now_s) + 60) if last_s is None else last_s
            if last_s is None:
                whole = "empty.never" if where else "empty.store"
                detail = "" if where else words.say("empty.store_detail")
                return self._said(words.say(whole), "empty", None, detail)
            if last_s >= now_s - _LATE_S:
                return None
            text = words.say("late.text", since=words.at(last_s))
            return self._said(text, "late", last_s, words.say("late.detail"))
        if has_data:
            return None
        text = words.say("empty.range", from_=words.at(spans.start_s), to=words.at(spans.end_s))
        last_s = last_arrival(store, where, spans.start_s)
        detail = "" if last_s is None else words.say("empty.range_detail", last=words.at(last_s))
        return self._said(text, "empty", None, detail)

    # ------------------------------------------------ alerts

    def _of_alerts(self, severity: str) -> OverviewSentence | None:
        lost_apart = self._spans.is_now
        mine = [
            each
            for each in self._alerts
            if each.severity == severity and not (lost_apart and _is_lost(each))
        ]
        if not mine:
            return None
        first, words = mine[0], self._words
        since_s = epoch(first.since)
        finding = self._finding_of(first)
        if finding is not None:
            begun_s = finding.begun.since_s
            since_s = since_s if begun_s is None else min(since_s, begun_s)
            text = self._text_of(finding, since_s)
            severity_word = words.severity(severity)
            detail = [words.say("detail.line", severity=severity_word, line=words.line(first))]
            found, links = self._about(finding, since_s)
            detail += found
        else:
            text = self._text_of_alert(first, since_s)
            detail, links = [], []
        subject = words.subject(first)
        if subject in text:
            links.insert(0, link(subject, of_alert(first.id)))
        others = len(self._alerts) - 1
        if others:
            more = words.say("detail.more_alerts", count=others)
            detail.append(more)
            links.append(link(more, page("alerts")))
        return self._said(text, severity, since_s, " ".join(detail), links)

    def _finding_of(self, alert: AlertBody) -> OutOfOrdinary | None:
        """Return what is out of the ordinary about the figure of an alert of a whole service."""
        kind = _OF_REQUESTS.get(alert.metric)
        owner = (alert.environment, alert.service)
        of_part = alert.route or alert.instance or alert.version
        return next(
            (
                each
                for each in self._findings
                if each.kind is kind and each.owner == owner and not of_part
            ),
            None,
        )

    def _text_of_alert(self, alert: AlertBody, since_s: float) -> str:
        words = self._words
        fields = {
            "what": capital(words.metric(alert.metric)),
            "subject": words.subject(alert),
            "severity": words.severity(alert.severity),
            "since": words.at(since_s),
        }
        if alert.metric == ANALYSIS:
            del fields["what"]
            return words.say("alert.analysis", **fields)
        if not self._spans.is_now:
            worst = words.value(alert, alert.worst)
            ended = alert.recovered_at or alert.resolved_at
            if ended is None:
                return words.say("alert.open", worst=worst, side=words.side(alert), **fields)
            fields["until"] = words.at(epoch(ended))
            return words.say("alert.was", worst=worst, side=words.side(alert), **fields)
        if alert.value is None:
            return words.say("alert.unknown", **fields)
        value = words.value(alert, alert.value)
        return words.say("alert.firing", value=value, side=words.side(alert), **fields)

    # ------------------------------------------------ what is lost

    def _lost(self) -> OverviewSentence | None:
        """Return that an agent or a service sends nothing any more."""
        words = self._words
        silent = [each for each in self._alerts if _is_lost(each)]
        lost = sorted(
            (presence.lost_s, owner)
            for owner, presence in self._observed.machines.processes.items()
            if presence.lost_s is not None
        )
        names = self._listed([owner for _, owner in lost[0 if silent else 1 :]])
        detail = [words.say("lost.services", names=names)] if names else []
        links: list[SentenceLink] = []
        if silent and self._spans.is_now:
            first = min(silent, key=lambda each: each.since)
            # The alert fires when it has been silent for long enough.
            heard_s = epoch(first.since) - (first.threshold if first.operator == "gt" else 0)
            key = "lost.agent" if len(silent) == 1 else "lost.agents"
            subject = words.subject(first)
            fields = {"count": len(silent)} if len(silent) > 1 else {}
            shown = subject if fields else capital(subject)
            text = words.say(key, subject=shown, since=words.at(heard_s), **fields)
            links.append(link(shown, page("agents", {"agent": first.labels.get("agent", "")})))
            detail.insert(0, words.say("lost.agent_detail"))
            worst = max(each.severity == "critical" for each in silent)
            severity = "critical" if worst else "warning"
            return self._said(text, severity, heard_s, " ".join(detail), links)
        if not lost:
            return None
        since_s, owner = lost[0]
        who = self._who(owner)
        text = words.say("lost.service", who=who, since=words.at(since_s or 0))
        links.append(link(who, of_service(owner)))
        detail.insert(0, words.say("lost.service_detail"))
        return self._said(text, "warning", since_s, " ".join(detail), links)

    # ------------------------------------------------ what is out of the ordinary

    def _out_of_ordinary(self) -> OverviewSentence | None:
        if not self._findings:
            return None
        first = self._findings[0]
        since_s = first.begun.since_s
        detail, links = self._about(first, since_s)
        text = self._text_of(first, since_s)
        return self._said(text, "warning", since_s, " ".join(detail), links)

    def _text_of(self, finding: OutOfOrdinary, since_s: float | None) -> str:
        words, begun = self._words, finding.begun
        unit = finding.kind.unit
        fields = {
            "who": self._who(finding.owner),
            "value": words.shown.beside(finding.value, finding.judged.usual, unit),
            "usual": words.shown.quantity(finding.judged.usual, unit),
        }
        key = finding.kind.text_key
        if self._spans.is_now:
            if since_s is None:
                return words.say(f"{key}.now", **fields)
            return words.say(f"{key}.since", since=words.at(since_s), **fields)
        if begun.since_s is None or begun.until_s is None:
            return words.say(f"{key}.past", **fields)
        span = {"since": words.at(begun.since_s), "until": words.at(begun.until_s)}
        return words.say(f"{key}.span", **span, **fields)

    def _about(
        self, finding: OutOfOrdinary, since_s: float | None
    ) -> tuple[list[str], list[SentenceLink]]:
        """Return what there is to say of a finding beyond its figure, and where that leads."""
        words = self._words
        who = self._who(finding.owner)
        links = [link(who, of_service(finding.owner))] if finding.owner else []
        told, more = self._causes.of(finding, since_s)
        others = [
            owner
            for owner in dict.fromkeys(each.owner for each in self._findings)
            if owner and owner != finding.owner
        ]
        if others:
            told.append(words.say("detail.also", names=self._listed(others)))
        elif finding.owner and len(self._observed.owners) > 1 and len(self._alerts) < 2:
            told.append(words.say("detail.others"))
        why = words.say("detail.why")
        if finding.owner:
            told.append(why)
            more.append(link(why, of_service(finding.owner)))
        return told, [*links, *more]

    def _of_machines(self) -> OverviewSentence | None:
        tiles = self._situation.tiles
        for kind in (CPU_KIND, CACHE_KIND):
            value, judged = tiles[kind]
            if value is not None and judged is not None and judged.judgement == WORSE:
                return self._said(self._text_of_tile(kind, value, judged), "warning", None, "")
        return None

    def _text_of_tile(self, kind: FigureKind, value: float, judged: BesideUsual) -> str:
        words = self._words
        key = f"{kind.text_key}.{'now' if self._spans.is_now else 'past'}"
        return words.say(
            key,
            value=words.shown.beside(value, judged.usual, kind.unit),
            usual=words.shown.quantity(judged.usual, kind.unit),
        )

    # ------------------------------------------------ all is well

    def _well(self) -> OverviewSentence:
        observed, words = self._observed, self._words
        known = any(each is not None for row in observed.services.values()
                    for each in row.judged.values())  # fmt: skip
        service = self._parameters.where.get("service", "")
        if not known:
            text = words.say("well.judgeless")
        elif not self._spans.is_now:
            text = words.say("well.past")
        elif service:
            text = words.say("well.service", who=words.name(service))
        else:
            text = words.say("well.all")
        near = closest(self._situation, words)
        detail, links = ("", []) if near is None else near
        return self._said(text, "ok", None, detail, links)

    # ------------------------------------------------ words

    def _who(self, owner: tuple[str, ...]) -> str:
        """Return a service, with its environment where several have one of that name."""
        if len(owner) < 2:
            service = self._parameters.where.get("service", "")
            return self._words.name(service) if service else self._words.part("who.everything")
        name = self._words.name(owner[1])
        same = [each for each in self._observed.owners if each[1] == owner[1]]
        return f"{name} ({self._words.name(owner[0])})" if len(same) > 1 else name

    def _listed(self, owners: Sequence[tuple[str, ...]]) -> str:
        names = ", ".join(self._who(owner) for owner in owners[:_NAMED])
        more = len(owners) - _NAMED
        return names if more <= 0 else self._words.part(
            "detail.names_more", names=names, count=more
        )  # fmt: skip

    def _said(
        self,
        text: str,
        severity: str,
        since_s: float | None,
        detail: str,
        links: Sequence[SentenceLink] = (),
    ) -> OverviewSentence:
        return OverviewSentence(
            text=text,
            severity=severity,
            since=None if since_s is None else instant(since_s, self._parameters.tz),
            detail=detail,
            links=list(_occurring(links, f"{text}\n{detail}")),
        )


def _occurring(links: Sequence[SentenceLink], text: str) -> Iterator[SentenceLink]:
    """Yield links whose text occurs, each text once."""
    seen: set[str] = set()
    for each in links:
        if each.text and each.text in text and each.text not in seen:
            seen.add(each.text)
            yield each


def _is_told(alert: AlertBody) -> bool:
    """Tell whether an alert fires and nobody said that it should not be told of."""
    return alert.held != SILENCED


def _is_lost(alert: AlertBody) -> bool:
    return alert.metric == AGENT_SILENCE


def _urgency(alert: AlertBody) -> tuple[bool, int, str]:
    """Return what sorts alerts: critical ones, then those of users' requests, then the oldest."""
    rank = 0 if alert.metric in _OF_REQUESTS else 2 if alert.metric == ANALYSIS else 1
    return alert.severity != "critical", rank, alert.since
