"""What to say first: alerts, what is lost, what is out of the ordinary, or that all is well."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from trimtab_collector.contract.alerts import AGENT_SILENCE, ANALYSIS, AlertBody, is_silenced
from trimtab_collector.contract.errors import epoch
from trimtab_collector.contract.overview import OverviewSentence, SentenceLink
from trimtab_collector.overview.absent import Absences
from trimtab_collector.overview.causes import Causes
from trimtab_collector.overview.closest import closest, past_line
from trimtab_collector.overview.findings import OutOfOrdinary
from trimtab_collector.overview.names import SentenceNames
from trimtab_collector.overview.situation import Situation
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
)

__all__ = ["Sentences"]

#: metric of an alert -> what is out of the ordinary when it fires
_OF_REQUESTS: Final = {
    **dict.fromkeys((P95_KIND.metric, "p50", "p90", "p95", "p99", "p999", "mean"), P95_KIND),
    ERRORS_KIND.metric: ERRORS_KIND,
}

#: what has been busy for less than this may just have started
_STARTS_S: Final = 30
_BUSY: Final = frozenset(("cpuUsage",))


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
        self._findings = [each for each in findings if not each.begun.is_moment]
        self._moments = [each for each in findings if each.begun.is_moment]
        self._causes = Causes(situation, words)
        self._is_silence_told = self._spans.is_now and any(
            each.metric == AGENT_SILENCE for each in situation.told
        )
        self._alerts = sorted(
            filter(self._is_news, situation.told),
            key=lambda each: (situation.severity_of(each) != "critical", *_urgency(each)),
        )
        self._names = SentenceNames(situation, words)

    def choose(self) -> OverviewSentence:
        """Return what to say first."""
        absent = Absences(
            *(self._situation, self._words, self._names, self._findings, self._alerts)
        )  # fmt: skip
        # What users meet comes first, then machines.
        return (
            absent.nothing()
            or self._of_alerts("critical", of_requests=True)
            or absent.gone()
            or self._of_alerts("critical")
            or absent.stopped()
            or absent.silent()
            or self._of_alerts("warning")
            or self._out_of_ordinary()
            or self._of_machines()
            or self._past_line()
            or self._well()
        )

    # ------------------------------------------------ alerts

    def _is_news(self, alert: AlertBody) -> bool:
        """Tell whether an alert is of now: not where it is the last word of a silent agent.

        The silence is told then.
        """
        if alert.metric == AGENT_SILENCE or not self._is_silence_told:
            return True
        machines = self._observed.machines
        if alert.labels.get("agent") in machines.silent:
            return False
        if alert.service:
            presence = machines.processes.get((alert.environment, alert.service))
            return presence is None or presence.is_heard
        return alert.instance not in machines.silent_hosts

    def _of_alerts(self, severity: str, *, of_requests: bool = False) -> OverviewSentence | None:
        """Return the first alert; of_requests: of those of requests, and of services that run."""
        lost_apart, severity_of = self._spans.is_now, self._situation.severity_of
        mine = [
            each
            for each in self._alerts
            if severity_of(each) == severity and not (lost_apart and _is_of_silence(each))
        ]
        if of_requests:
            mine = [
                each
                for each in mine
                if each.metric in _OF_REQUESTS
                and not self._observed.is_lost((each.environment, each.service))
            ]
        if not mine:
            return None
        first, words = mine[0], self._words
        # Value and severity are those of the alert, as its page and its messages have them; since
        # is since when it is as severe, as it is said.
        since_s = epoch((first.severity_since if self._spans.is_now else None) or first.since)
        text = self._text_of_alert(first, since_s)
        finding = self._finding_of(first)
        if finding is not None:
            begun_s = finding.begun.since_s
            detail, links = self._about(
                finding, since_s if begun_s is None else min(since_s, begun_s)
            )
            if first.metric == finding.kind.metric:
                usual = words.shown.quantity(finding.judged.usual, finding.kind.unit)
                detail.insert(0, words.say("detail.usual", usual=usual))
        else:
            detail, links = self._causes_of(first, since_s)
            own = (first.environment, first.service)
            others = (each.owner for each in self._findings if each.owner and each.owner != own)
            owners = list(dict.fromkeys(others))
            if owners:
                detail.append(words.say("detail.also", names=self._names.listed(owners)))
                links += [link(self._names.who(owner), of_service(owner)) for owner in owners]
        subject = words.subject(first)
        if subject in text:
            links.insert(0, link(subject, of_alert(first.id)))
        more, leads = self._names.besides(self._alerts, first)
        detail += more
        links += leads
        return self._names.said(text, severity, since_s, " ".join(detail), links)

    def _causes_of(self, alert: AlertBody, since_s: float) -> tuple[list[str], list[SentenceLink]]:
        """Return what may have caused an alert of which nothing is known to be unusual."""
        names = ("environment", "service", "route", "instance", "version")
        where = {name: text for name in names if (text := getattr(alert, name))}
        if not alert.service or not self._spans.is_now:
            return [], []
        return self._causes.of(_OF_REQUESTS.get(alert.metric), where, since_s)

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
            ended = alert.recovered_at or alert.resolved_at
            if ended is not None:
                return words.say("alert.analysis_was", until=words.at(epoch(ended)), **fields)
            if self._situation.is_recovering(alert):
                return words.say("alert.analysis_less", **fields)
            issues = words.issues(alert)
            key = "alert.analysis" if issues else "alert.analysis_unnamed"
            return words.say(key, issues=issues, **fields)
        if not self._spans.is_now:
            worst = words.value(alert, alert.worst)
            ended = alert.recovered_at or alert.resolved_at
            if ended is None:
                return words.say("alert.open", worst=worst, side=words.side(alert), **fields)
            fields["until"] = words.at(epoch(ended))
            return words.say("alert.was", worst=worst, side=words.side(alert), **fields)
        if alert.value is None:
            return words.say("alert.unknown", **fields)
        value = words.lately(alert)
        if self._situation.is_recovering(alert):
            line = words.line(alert)
            milder = self._situation.milder_line(alert)
            if milder is not None:
                side = words.side(replace(alert, threshold=milder))
                return words.say("alert.eased", value=value, side=side, **fields)
            if alert.recovered_at is None:
                return words.say("alert.recovering", value=value, line=line, **fields)
            fields["until"] = words.at(epoch(alert.recovered_at))
            return words.say("alert.recovered", value=value, line=line, **fields)
        return words.say("alert.firing", value=value, side=words.side(alert), **fields)

    # ------------------------------------------------ what is out of the ordinary

    def _out_of_ordinary(self) -> OverviewSentence | None:
        if not self._findings:
            return None
        first = self._findings[0]
        since_s = first.begun.since_s
        detail, links = self._about(first, since_s)
        text = self._text_of(first, since_s)
        return self._names.said(text, "warning", since_s, " ".join(detail), links)

    def _text_of(self, finding: OutOfOrdinary, since_s: float | None) -> str:
        words, begun = self._words, finding.begun
        unit = finding.kind.unit
        fields = {
            "who": self._names.who(finding.owner),
            "value": words.shown.beside(finding.value, finding.judged.usual, unit),
            "usual": words.shown.quantity(finding.judged.usual, unit),
        }
        key = finding.kind.text_key
        if begun.is_moment:
            return words.say(f"{key}.moment", **fields)
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
        who = self._names.who(finding.owner)
        links = [link(who, of_service(finding.owner))] if finding.owner else []
        where = dict(zip(("environment", "service"), finding.owner, strict=False))
        told, more = self._causes.of(finding.kind, where, since_s)
        if finding.owner:
            why = words.say("detail.why")
            told.append(f"{why}.")
            more.append(link(why, of_service(finding.owner)))
        others = [
            owner
            for owner in dict.fromkeys(each.owner for each in self._findings)
            if owner and owner != finding.owner
        ]
        if others:
            told.append(words.say("detail.also", names=self._names.listed(others)))
        elif finding.owner and len(self._observed.owners) > 1 and len(self._alerts) < 2:
            told.append(words.say("detail.others"))
        return told, [*links, *more]

    def _of_machines(self) -> OverviewSentence | None:
        tiles = self._situation.tiles
        for kind in (CPU_KIND, CACHE_KIND):
            value, judged = tiles[kind]
            if value is not None and judged is not None and judged.judgement == WORSE:
                return self._names.said(
                    self._text_of_tile(kind, value, judged), "warning", None, ""
                )
        return None

    def _text_of_tile(self, kind: FigureKind, value: float, judged: BesideUsual) -> str:
        words = self._words
        key = f"{kind.text_key}.{'now' if self._spans.is_now else 'past'}"
        return words.say(
            key,
            value=words.shown.beside(value, judged.usual, kind.unit),
            usual=words.shown.quantity(judged.usual, kind.unit),
        )

    def _past_line(self) -> OverviewSentence | None:
        """Return what is past the line of a warning though no alert fires yet."""
        if not self._spans.is_now:
            return None
        words, is_recovering = self._words, self._situation.is_recovering
        pending = [
            each
            for each in filter(self._is_news, self._situation.pending)
            if not is_silenced(each)
            and each.value is not None
            and not is_recovering(each)
            and each.metric not in (AGENT_SILENCE, ANALYSIS)
            # Whatever starts is busy for some seconds.
            and not (
                each.metric in _BUSY and self._parameters.now_s - epoch(each.since) < _STARTS_S
            )
        ]
        if not pending:
            found = past_line(self._situation, words)
            return None if found is None else self._names.said(
                found[0], "warning", None, "", found[1]
            )  # fmt: skip
        first = min(pending, key=_urgency)
        since_s, subject = epoch(first.since), words.subject(first)
        text = words.say(
            "past_line.since",
            what=capital(words.metric(first.metric)),
            subject=subject,
            side=words.side(first),
            since=words.at(since_s),
            value=words.value(first, first.value),
        )
        links = [link(subject, of_alert(first.id))]
        detail = words.say("past_line.pending")
        return self._names.said(text, "warning", since_s, detail, links)

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
        elif self._moments:
            first = self._moments[0]
            who = self._names.who(first.owner)
            return self._names.said(
                self._text_of(first, None), "ok", None, "", [link(who, of_service(first.owner))]
            )
        elif service:
            text = words.say("well.service", who=words.name(service))
        else:
            text = words.say("well.all")
        near = closest(self._situation, words)
        detail, links = ("", []) if near is None else near
        return self._names.said(text, "ok", None, detail, links)


def _is_of_silence(alert: AlertBody) -> bool:
    return alert.metric == AGENT_SILENCE


def _urgency(alert: AlertBody) -> tuple[bool, int, str]:
    """Return what sorts alerts: critical ones, then those of users' requests, then the oldest."""
    rank = 0 if alert.metric in _OF_REQUESTS else 2 if alert.metric == ANALYSIS else 1
    return alert.severity != "critical", rank, alert.since
