"""What to say of what did not come: nothing at all, no requests, nothing from an agent."""

from collections.abc import Sequence
from typing import Final

from trimtab_collector.contract.alerts import AGENT_SILENCE, SERVICE_GONE, AlertBody
from trimtab_collector.contract.errors import epoch
from trimtab_collector.contract.overview import OverviewSentence, SentenceLink
from trimtab_collector.overview.arrivals import last_arrival, last_request
from trimtab_collector.overview.findings import OutOfOrdinary
from trimtab_collector.overview.names import SentenceNames
from trimtab_collector.overview.observed import EVERYTHING
from trimtab_collector.overview.situation import Situation
from trimtab_collector.overview.wording import OverviewWords, capital, link, of_service, page

__all__ = ["Absences"]

#: data that is older than this is late
_LATE_S: Final = 60


class Absences:
    """Tells of what did not come; raises TooMuchError."""

    def __init__(
        self,
        situation: Situation,
        words: OverviewWords,
        names: SentenceNames,
        findings: Sequence[OutOfOrdinary],
        alerts: Sequence[AlertBody],
    ) -> None:
        self._observed = situation.observed
        self._parameters = situation.observed.parameters
        self._spans = situation.observed.spans
        self._words = words
        self._names = names
        self._findings = findings
        self._alerts = alerts
        #: services without a process, those that were lost first before others
        self._lost = sorted(
            (presence.lost_s, owner)
            for owner, presence in self._observed.machines.processes.items()
            if presence.lost_s is not None
        )

    def nothing(self) -> OverviewSentence | None:
        """Return that nothing came in: ever, in the range, or lately; or no request ever."""
        observed, spans, words = self._observed, self._spans, self._words
        store, where = observed.reader.store, self._parameters.where
        now_s = self._parameters.now_s
        has_data = observed.has_requests or observed.machines.processes or observed.machines.uses
        if spans.is_now:
            run = store.arrived(int(now_s) - 3600, int(now_s) + 60, 7200)
            if has_data and run is not None and run[1] >= now_s - _LATE_S:
                return self._no_request()
            last_s = run[1] if run is not None and not where else None
            last_s = last_arrival(store, where, int(now_s) + 60) if last_s is None else last_s
            if last_s is None:
                whole = "empty.never" if where else "empty.store"
                detail = "" if where else words.say("empty.store_detail")
                return self._names.said(words.say(whole), "empty", None, detail)
            if last_s >= now_s - _LATE_S:
                return self._no_request()
            text, detail = words.say("late.text", since=words.at(last_s)), words.say("late.detail")
            dead = [owner for _, owner, _ in observed.dead]
            if dead:
                detail += " " + words.say("lost.before", names=self._names.listed(dead))
            links = [link(self._names.who(each), of_service(each)) for each in dead]
            return self._names.said(text, "late", last_s, detail, links)
        if has_data:
            return None
        text = words.say("empty.range", from_=words.at(spans.start_s), to=words.at(spans.end_s))
        last_s = last_arrival(store, where, spans.start_s)
        detail = "" if last_s is None else words.say("empty.range_detail", last=words.at(last_s))
        return self._names.said(text, "empty", None, detail)

    def _no_request(self) -> OverviewSentence | None:
        """Return that agents are here, and no app has had a request yet."""
        observed, words, where = self._observed, self._words, self._parameters.where
        if observed.has_requests:
            return None
        if last_request(observed.reader.store, where, self._spans.end_s) is not None:
            return None
        if observed.machines.processes:
            text = words.say("empty.requests")
            return self._names.said(text, "empty", None, words.say("empty.requests_detail"))
        if where:
            return self._names.said(words.say("empty.never"), "empty", None, "")
        return self._names.said(
            words.say("empty.apps"), "empty", None, words.say("empty.apps_detail")
        )

    def gone(self) -> OverviewSentence | None:
        """Return that a service that had requests has no process any more."""
        # What the last word of a silent agent was is told with its silence.
        leads_silence = bool(self._silent())
        found = [
            each
            for each in self._observed.dead
            if self._observed.machines.processes[each[1]].is_heard or not leads_silence
        ]
        if not found:
            return None
        since_s, owner, together = found[0]
        words, who = self._words, self._names.who(owner)
        key = "lost.requests" if together else "lost.service"
        text = words.say(key, who=who, since=words.at(since_s))
        gone = [each for each in self._alerts if each.metric == SERVICE_GONE]
        others = [each for each in self._alerts if each not in gone]
        more, leads = self._names.besides(others)
        detail = [*self._others([each for _, each in self._lost if each != owner]), *more]
        links = [link(who, of_service(owner)), *leads]
        return self._names.said(text, "critical", since_s, " ".join(detail), links)

    def stopped(self) -> OverviewSentence | None:
        """Return that no requests come to a service whose processes run."""
        first = next((each for each in self._findings if each.is_stop), None)
        if first is None or not self._spans.is_now or first.begun.since_s is None:
            return None
        words, owner, since_s = self._words, first.owner, first.begun.since_s
        presence = self._observed.machines.processes.get(owner)
        key = "stopped.running" if presence and presence.instances else "stopped.text"
        if owner == EVERYTHING and "service" not in self._parameters.where:
            key = "stopped.everything"
        usual = words.shown.quantity(first.judged.usual, first.kind.unit)
        who = self._names.who(owner)
        text = words.say(key, who=who, since=words.at(since_s))
        detail = [words.say("stopped.usual", usual=usual)]
        others = [each.owner for each in self._findings if each.owner not in (EVERYTHING, owner)]
        if others:
            detail.append(words.say("detail.also", names=self._names.listed(others)))
        more, leads = self._names.besides(self._alerts)
        links = [link(who, of_service(owner)), *leads]
        return self._names.said(text, "warning", since_s, " ".join([*detail, *more]), links)

    def silent(self) -> OverviewSentence | None:
        """Return that an agent sends nothing any more, or the processes of a service."""
        words = self._words
        silent = self._silent()
        dead = [owner for _, owner, _ in self._observed.dead]
        owners = [owner for _, owner in self._lost]
        detail = (
            self._others([each for each in self._missing() if each not in dead])
            if silent
            else self._others(owners[1:])
        )
        links: list[SentenceLink] = []
        if silent:
            first = min(silent, key=lambda each: each.since)
            # The alert fires when it has been silent for long enough.
            heard_s = epoch(first.since) - (first.threshold if first.operator == "gt" else 0)
            key = "lost.agent" if len(silent) == 1 else "lost.agents"
            subject = words.subject(first)
            fields = {"count": len(silent)} if len(silent) > 1 else {}
            shown = subject if fields else capital(subject)
            text = words.say(key, subject=shown, since=words.at(heard_s), **fields)
            links.append(link(shown, page("agents", {"agent": first.labels.get("agent", "")})))
            if dead:
                detail.insert(0, words.say("lost.before", names=self._names.listed(dead)))
                links += [link(self._names.who(each), of_service(each)) for each in dead]
            detail.insert(0, words.say("lost.agent_detail"))
            worst = bool(dead) or max(each.severity == "critical" for each in silent)
            severity = "critical" if worst else "warning"
            return self._names.said(text, severity, heard_s, " ".join(detail), links)
        if not self._lost:
            return None
        since_s, owner = self._lost[0]
        who = self._names.who(owner)
        text = words.say("lost.service", who=who, since=words.at(since_s or 0))
        links.append(link(who, of_service(owner)))
        detail.insert(0, words.say("lost.service_detail"))
        return self._names.said(text, "warning", since_s, " ".join(detail), links)

    def _silent(self) -> list[AlertBody]:
        """Return the alerts that agents are silent, of a range that ends now."""
        if not self._spans.is_now:
            return []
        return [each for each in self._alerts if each.metric == AGENT_SILENCE]

    def _missing(self) -> list[tuple[str, ...]]:
        """Return the services without data: those that are lost first, the first before others."""
        unknown = [each for each in self._observed.owners if self._observed.is_unknown(each)]
        return list(dict.fromkeys([*(owner for _, owner in self._lost), *unknown]))

    def _others(self, owners: Sequence[tuple[str, ...]]) -> list[str]:
        if not owners:
            return []
        return [self._words.say("lost.services", names=self._names.listed(owners))]
