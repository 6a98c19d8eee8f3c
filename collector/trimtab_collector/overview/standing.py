"""The services of an overview, the worst first."""

from collections.abc import Sequence
from typing import Final

from trimtab_collector.contract.overview import OverviewService
from trimtab_collector.overview.findings import OutOfOrdinary
from trimtab_collector.overview.situation import Situation

__all__ = ["standing"]

CRITICAL, WARNING, LOST, OK, QUIET = "critical", "warning", "lost", "ok", "quiet"
#: in the order in which services are shown
_ORDER: Final = (CRITICAL, LOST, WARNING, OK, QUIET)


def standing(situation: Situation, findings: Sequence[OutOfOrdinary]) -> list[OverviewService]:
    """Return every service of the range, the worst first, then those with the most requests."""
    observed = situation.observed
    firing: dict[tuple[str, ...], str] = {}
    for alert in situation.told:
        place = (alert.environment, alert.service)
        if firing.get(place) != CRITICAL:
            firing[place] = situation.severity_of(alert)
    unusual = {each.owner for each in findings if not (each.begun.is_moment or each.is_stop)}
    spans, shown = observed.spans, observed.parameters.shown
    steps = len(observed.spans.series.selection.edges_s) - 1
    found = []
    for owner in observed.owners:
        service = observed.services[owner]
        now = service.now
        from_s, to_s = service.span or (spans.start_s, spans.end_s)
        if observed.is_lost(owner):
            state = LOST
        elif owner in firing:
            state = CRITICAL if firing[owner] == CRITICAL else WARNING
        elif owner in unusual:
            state = WARNING
        else:
            state = OK if now["requests"] else QUIET
        found.append(
            OverviewService(
                from_=shown(from_s),
                to=shown(to_s),
                environment=owner[0],
                service=owner[1],
                state=state,
                instances=None if observed.is_unknown(owner) else observed.instances(owner),
                requests_per_second=(
                    None if observed.is_unknown(owner) else now["requests_per_second"]
                ),
                p50=now["p50"],
                p95=now["p95"],
                p99=now["p99"],
                error_rate=now["error_rate"],
                shares=service.shares if now["requests"] else None,
                p95_series=observed.p95_series.get(owner, [None] * steps),
            )
        )
    found.sort(
        key=lambda row: (
            _ORDER.index(row.state), -(row.requests_per_second or 0.0), row.environment, row.service
        )
    )  # fmt: skip
    return found
