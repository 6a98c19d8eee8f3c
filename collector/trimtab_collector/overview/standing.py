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
    for alert in situation.alerts:
        place = (alert.environment, alert.service)
        if firing.get(place) != CRITICAL:
            firing[place] = alert.severity
    unusual = {each.owner for each in findings}
    steps = len(observed.spans.series.selection.edges_s) - 1
    found = []
    for owner in observed.owners:
        service, presence = observed.services[owner], observed.machines.processes.get(owner)
        now = service.now
        if owner in firing:
            state = CRITICAL if firing[owner] == CRITICAL else WARNING
        elif presence is not None and presence.lost_s is not None:
            state = LOST
        elif owner in unusual:
            state = WARNING
        else:
            state = OK if now["requests"] else QUIET
        found.append(
            OverviewService(
                environment=owner[0],
                service=owner[1],
                state=state,
                instances=observed.instances(owner),
                requests_per_second=now["requests_per_second"],
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
            _ORDER.index(row.state), -row.requests_per_second, row.environment, row.service
        )
    )  # fmt: skip
    return found
