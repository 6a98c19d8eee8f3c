"""Which services are out of the ordinary for the worse, and since when."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from trimtab_collector.overview.observed import EVERYTHING, Observed
from trimtab_collector.overview.since import Onset, begun
from trimtab_collector.overview.usual import (
    APDEX_KIND,
    ERRORS_KIND,
    MEAN_KIND,
    ORDINARY,
    P95_KIND,
    RATE_KIND,
    WORSE,
    BesideUsual,
    FigureKind,
)

__all__ = ["OutOfOrdinary", "out_of_ordinary"]

#: most that are looked at step by step, those that went furthest first
_MOST: Final = 10
#: what is told of a service, in this order
_TOLD: Final = (ERRORS_KIND, P95_KIND, MEAN_KIND, RATE_KIND)


@dataclass(frozen=True, slots=True)
class OutOfOrdinary:
    """A figure of a service, or of all, that is worse than usual."""

    owner: tuple[str, ...]
    kind: FigureKind
    judged: BesideUsual
    value: float
    begun: Onset

    @property
    def is_stop(self) -> bool:
        """Whether no requests come at all."""
        return self.kind is RATE_KIND and not self.value


def out_of_ordinary(observed: Observed) -> list[OutOfOrdinary]:
    """Return what is worse than usual, stops, errors and the furthest first; services before all.

    What was so for a moment only is judged ordinary from here on; a moment that goes on is among
    what is returned. Raises TooMuchError.
    """
    candidates = sorted(_candidates(observed), key=lambda each: -each[2].reach)
    found = []
    for place, (owner, kind, judged, value) in enumerate(candidates):
        service = observed.services[owner]
        since: Onset | None = Onset(None)
        if service.stopped_s is not None:
            since = Onset(service.stopped_s)
        elif place < _MOST or owner == EVERYTHING:
            where = dict(zip(("environment", "service"), owner, strict=False))
            since = begun(
                *(observed.reader, observed.parameters, observed.spans, where),
                *(kind, judged, service.now),
            )
        if since is None or since.is_moment:
            service.judged[kind] = replace(judged, judgement=ORDINARY)
        if since is not None and kind in _TOLD:
            found.append(OutOfOrdinary(owner, kind, judged, value, since))
    # A p95 that is longer says it all.
    slower = {each.owner for each in found if each.kind is P95_KIND}
    found = [each for each in found if each.kind is not MEAN_KIND or each.owner not in slower]
    found.sort(key=lambda each: (
        not each.owner, not each.is_stop, _TOLD.index(each.kind), -each.judged.reach
    ))  # fmt: skip
    return found


def _candidates(
    observed: Observed,
) -> Iterator[tuple[tuple[str, ...], FigureKind, BesideUsual, float]]:
    for owner, service in observed.services.items():
        if observed.is_lost(owner):
            continue
        for kind, judged in service.judged.items():
            if judged is None or judged.judgement != WORSE:
                continue
            if kind is APDEX_KIND and owner != EVERYTHING:
                continue
            yield owner, kind, judged, service.now[kind.column]
