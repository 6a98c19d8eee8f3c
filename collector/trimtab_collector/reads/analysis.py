"""Whether services are healthy in a range: issues with evidence, and what to do about them."""

from collections.abc import Iterable
from typing import Final

from trimtab_collector.contract.advice import Advice
from trimtab_collector.contract.analysis import (
    CRITICAL,
    HEALTHY,
    WARNING,
    Analysis,
    AnalysisAlert,
    Place,
    ServiceAnalysis,
)
from trimtab_collector.contract.languages import language_of
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.judging.findings import (
    HIGH,
    LOW,
    MEDIUM,
    RANKS,
    FoundIssue,
    IssueRule,
    Unjudged,
)
from trimtab_collector.reads.judging.issues import (
    ENOUGH_REQUESTS,
    REQUEST_RULES,
    WHOLE_REQUEST_RULES,
)
from trimtab_collector.reads.judging.machines import MACHINE_RULES
from trimtab_collector.reads.judging.wording import Phrasing, place_text
from trimtab_collector.reads.measures import share
from trimtab_collector.reads.reader import StoreReader

__all__ = ["ISSUE_RULES", "alert_of", "analysis", "analysis_of", "sentences"]

#: every rule, in the order in which those that did not judge are shown
ISSUE_RULES: Final = (*REQUEST_RULES, *MACHINE_RULES)
_STATUS: Final = {HIGH: CRITICAL, MEDIUM: WARNING, LOW: HEALTHY}
#: pieces of good news, and of advice, among sentences
_NEWS: Final = 3
_GOOD_ERRORS: Final = 0.01


def analysis(reader: StoreReader, parameters: Parameters) -> Analysis:
    """Return whether services are healthy in a range: issues, and what to do about them."""
    limit = parameters.values.get(LIMIT.name, LIMIT.default)
    return analysis_of(Facts(reader, parameters), language_of(parameters), limit)


def analysis_of(
    facts: Facts, language: str, limit: int = LIMIT.default, *, lately: Facts | None = None
) -> Analysis:
    """Return the analysis of what was measured, with at most limit issues.

    lately: the facts of the last part of the range. A service whose requests are well in them, and
    are enough to say so, has no issue of its requests any more: without it a repair would show only
    when the last bad request has left the range.

    Pure but for what facts read. Raises TooMuchError.
    """
    found = [(rule, each) for rule in ISSUE_RULES for each in rule.look(facts)]
    findings = [(rule, each) for rule, each in found if isinstance(each, FoundIssue)]
    if lately is not None:
        over = _over(findings, lately)
        findings = [row for row in findings if (row[0].type, *_owner(row[1].where)) not in over]
    findings.sort(key=lambda row: (-RANKS[row[1].severity], -row[1].size))
    unjudged = [(rule, each) for rule, each in found if isinstance(each, Unjudged)]
    wording = Phrasing(language)
    return Analysis(
        **facts.range.fields(),
        status=_status(each for _, each in findings),
        issues=[wording.issue(rule, each) for rule, each in findings[:limit]],
        issues_left_out=max(0, len(findings) - limit),
        recommendations=wording.recommendations(findings),
        services=_services(facts, findings),
        not_judged=[wording.not_judged(rule, each) for rule, each in unjudged[:limit]],
        not_judged_left_out=max(0, len(unjudged) - limit),
    )


def _over(
    findings: Iterable[tuple[IssueRule, FoundIssue]], lately: Facts
) -> set[tuple[str, str, str]]:
    """Return which issues of a service's requests are over: type, environment and service."""
    rules = {rule for rule, _ in findings if rule in WHOLE_REQUEST_RULES}
    if not rules:
        return set()
    judged = [_owner(each.where) for each in lately.services if each.requests >= ENOUGH_REQUESTS]
    over = {(rule.type, *owner) for rule in rules for owner in judged}
    return over - {(rule.type, *_owner(each.where)) for rule in rules for each in rule.look(lately)}


def _owner(where: Place) -> tuple[str, str]:
    return where.environment, where.service


def _status(findings: Iterable[FoundIssue]) -> str:
    """Return critical with any high issue, warning with any medium one, else healthy."""
    severities = {each.severity for each in findings}
    return _STATUS[max(severities, key=RANKS.__getitem__, default=LOW)]


def _services(facts: Facts, findings: list[tuple[IssueRule, FoundIssue]]) -> list[ServiceAnalysis]:
    owners = {_owner(each.where): each for each in facts.services}
    named = [(_owner(each.where), rule, each) for rule, each in findings]
    names = {*owners, *(owner for owner, _, _ in named)}
    services = []
    for owner in sorted(name for name in names if name[1]):
        mine = [(rule, each) for name, rule, each in named if name == owner]
        group = owners.get(owner)
        judged = group is not None and group.requests >= ENOUGH_REQUESTS
        services.append(
            ServiceAnalysis(
                environment=owner[0],
                service=owner[1],
                status=_status(each for _, each in mine),
                requests=group.requests if group else 0,
                p99=group.p99 if group and judged else None,
                error_rate=share(group.errors, group.requests) if group and judged else None,
                issues=list(dict.fromkeys(rule.type for rule, _ in mine)),
            )
        )
    return services


def alert_of(found: Analysis, language: str) -> AnalysisAlert | None:
    """Return an analysis that is not healthy as an alert in its language, None for a healthy one.

    The language must be that of the analysis.
    """
    if found.status == HEALTHY:
        return None
    wording = Phrasing(language)
    severity = HIGH if found.status == CRITICAL else MEDIUM
    issues = [each for each in found.issues if each.severity == severity]
    places = {each.where.service or place_text(each.where) for each in issues}
    where = places.pop() if len(places) == 1 else wording.say("where.everything")
    one = "_one" if len(issues) == 1 else ""
    worst = issues[0]
    return AnalysisAlert(
        type="critical" if found.status == CRITICAL else "performance",
        title=wording.say(f"alert.{found.status}{one}", count=len(issues), where=where),
        message=wording.say(
            "alert.message", issue=worst.description, recommendation=worst.recommendation
        ),
        metadata={"analysis": found},
    )


def sentences(found: Analysis, advice: Advice, language: str) -> list[str]:
    """Return what a person should know, a sentence each: the worst first, good news last.

    Both must be in that language.
    """
    wording = Phrasing(language)
    told = [
        wording.say("alert.message", issue=each.description, recommendation=each.recommendation)
        for each in found.issues
    ]
    urgent = [each for each in advice.advice if each.priority != LOW]
    told += [
        wording.say("say.advice", title=each.title, change=each.change) for each in urgent[:_NEWS]
    ]
    if not any(each.requests for each in found.services):
        return [*told, wording.say("say.nothing")]
    if not found.issues:
        told.append(wording.say("say.healthy"))
    good = [each for each in found.services if each.p99 is not None]
    for each in good[:_NEWS]:
        if "high_latency" not in each.issues and each.p99 is not None:
            told.append(wording.say("say.response_good", where=each.service, p99=each.p99))
        if each.error_rate is not None and each.error_rate < _GOOD_ERRORS:
            told.append(
                wording.say("say.errors_good", where=each.service, errorRate=each.error_rate)
            )
    return told + [each.text for each in advice.fine[:_NEWS]]
