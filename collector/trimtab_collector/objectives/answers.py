"""What the API says of objectives: settings, budget, burn rates."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from trimtab_collector.contract.callers import Reply
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.contract.slos import (
    SLO_ID,
    BudgetBody,
    BurnPair,
    SloBody,
    SloList,
    SloSettings,
)
from trimtab_collector.objectives.burning import Budget, Burn, budget, burn
from trimtab_collector.objectives.slos import Slo, SloBook
from trimtab_collector.storage.store import Store

__all__ = [
    "Objectives",
    "budget_body",
    "delete_slo",
    "list_slos",
    "post_slo",
    "put_slo",
    "slo_note",
]

#: a budget of many days is read again after this time
_KEPT_S: Final = 60.0


class Objectives:
    """Objectives and the store that they are measured in; any thread."""

    def __init__(
        self, store: Store, book: SloBook, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = store
        self.book = book
        self._clock = clock
        self._lock = threading.Lock()
        #: id -> settings, when it was read, the budget
        self._budgets: dict[str, tuple[SloSettings, float, Budget]] = {}

    def budget(self, slo: Slo, now_s: float) -> Budget:
        """Return the budget of an objective now, at most a minute old; raises TooMuchError."""
        with self._lock:
            kept = self._budgets.get(slo.id)
        if kept and kept[0] == slo.settings and self._clock() - kept[1] < _KEPT_S:
            return kept[2]
        found = budget(self.store, slo.settings, now_s)
        with self._lock:
            known = {each.id for each in self.book.every()}
            self._budgets = {name: row for name, row in self._budgets.items() if name in known}
            self._budgets[slo.id] = (slo.settings, self._clock(), found)
        return found


def list_slos(objectives: Objectives, parameters: Parameters) -> SloList:
    """Return the objectives with their budgets and burn rates, by name."""
    chosen = [
        slo
        for slo in objectives.book.every()
        if parameters.chooses(environment=slo.settings.environment, service=slo.settings.service)
    ]
    return SloList(slos=[_body(objectives, slo, parameters) for slo in chosen])


def post_slo(objectives: Objectives, parameters: Parameters) -> Any:
    """Make an objective."""
    slo = objectives.book.add(parameters.body, parameters.caller)
    return Reply(_body(objectives, slo, parameters), 201)


def put_slo(objectives: Objectives, parameters: Parameters) -> SloBody:
    """Change an objective."""
    book, by = objectives.book, parameters.caller
    return _body(objectives, book.replace(parameters[SLO_ID], parameters.body, by), parameters)


def delete_slo(objectives: Objectives, parameters: Parameters) -> SloBody:
    """Delete an objective, and return what it was."""
    slo = objectives.book.find(parameters[SLO_ID])
    body = _body(objectives, slo, parameters)
    objectives.book.delete(slo.id, parameters.caller)
    return body


def budget_body(found: Budget, parameters: Parameters) -> BudgetBody:
    """Return a budget as the API shows it."""
    requests, bad = found.counted
    return BudgetBody(
        from_=parameters.shown(found.from_s),
        to=parameters.shown(min(found.to_s, parameters.now_s)),
        requests=requests,
        bad=bad,
        good_share=1 - bad / requests if requests else None,
        allowed=found.allowed,
        left=found.left,
    )


def slo_note(settings: SloSettings) -> str | None:
    """Return what is not exact about an objective, in a sentence."""
    if settings.objective != "latency":
        return None
    return (
        f"requests of {settings.below:g} ms, give or take 1.1 %, may be on either side of the limit"
    )


def _body(objectives: Objectives, slo: Slo, parameters: Parameters) -> SloBody:
    now_s = parameters.now_s
    return SloBody(
        id=slo.id,
        settings=slo.settings,
        source=slo.source,
        changed_by=slo.changed_by or None,
        changed_at=parameters.shown(slo.changed_s) if slo.changed_s else None,
        budget=budget_body(objectives.budget(slo, now_s), parameters),
        burn_rates=[_pair(each) for each in burn(objectives.store, slo.settings, now_s)],
        note=slo_note(slo.settings),
    )


def _pair(found: Burn) -> BurnPair:
    return BurnPair(
        severity=found.pair.severity,
        rate=found.pair.rate,
        long_seconds=found.pair.long_s,
        short_seconds=found.pair.short_s,
        long_rate=found.long_rate,
        short_rate=found.short_rate,
        requests=found.long.requests,
        enough=found.enough,
        burns=found.burns,
        reachable=found.reachable,
    )
