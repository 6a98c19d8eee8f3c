"""Which services that had requests have no process any more, and since when."""

from dataclasses import dataclass
from datetime import UTC
from typing import Final

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.processes import Owner, Processes, ProcessPresence, present_processes
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import Selection

__all__ = ["GONE_EXPIRES_S", "GONE_TOLD_S", "Departures"]

#: a service whose processes are gone is told of for so long, in seconds: the range that is shown
#: where none is asked, so that whoever comes within the hour reads it
GONE_TOLD_S: Final = 3600
#: an alert that it has no process is kept for so long after the last value
GONE_EXPIRES_S: Final = 600

#: without requests in so long before, nobody misses a service: workers and batches have none
_REQUESTS_S: Final = 3600
#: one that has been gone for so long was stopped for good: it has no values, and its alert ends
#: when the overview stops telling of it
_MISSED_S: Final = GONE_TOLD_S - GONE_EXPIRES_S
#: how often one is looked at again that is gone, and not known to be missed
_AGAIN_S: Final = 60


@dataclass(slots=True)
class _Departure:
    """A service that has no process now."""

    looked_s: float
    #: when its last process was heard; None while it is not known to be missed
    since_s: int | None = None
    #: whether that is too short ago to say
    is_recent: bool = True
    agents: frozenset[str] = frozenset()


class Departures:
    """Follows who is there; from one thread at a time."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        #: service -> when a process of it was seen; None before the first look
        self._seen: dict[Owner, float] | None = None
        self._gone: dict[Owner, _Departure] = {}

    def since_s(self, owner: Owner) -> int | None:
        """Return since when a service is missed, by the last look; None where it is not."""
        found = self._gone.get(owner)
        return None if found is None else found.since_s

    def missed(self, now_s: float) -> dict[Owner, float]:
        """Return for how many seconds each service has had no process; 0 where one runs.

        One of which that is not known lacks: its agent is silent, or it had no requests. Quick
        while nothing is missing; raises TooMuchError.
        """
        parameters = self._parameters(now_s)
        here, heard = present_processes(self._reader, parameters)
        if self._seen is None:
            earlier = self._processes(parameters)
            self._seen = dict.fromkeys(earlier, now_s)
        self._seen.update(dict.fromkeys(here, now_s))
        for owner in here:
            self._gone.pop(owner, None)
        for owner, at_s in list(self._seen.items()):
            if now_s - at_s > _MISSED_S:
                del self._seen[owner]
                self._gone.pop(owner, None)
        self._look([owner for owner in self._seen if self._is_due(owner, here, now_s)], now_s)
        found = dict.fromkeys(here, 0.0)
        for owner, departure in self._gone.items():
            since_s = departure.since_s
            # Of an agent that is silent now, nobody knows whether a process has come back.
            if since_s is not None and departure.agents & heard:
                gone_s = now_s - since_s
                if gone_s <= _MISSED_S:
                    found[owner] = gone_s
        return found

    def _is_due(self, owner: Owner, here: dict[Owner, set[str]], now_s: float) -> bool:
        if owner in here:
            return False
        known = self._gone.get(owner)
        if known is None or known.is_recent:
            return True
        return known.since_s is None and now_s - known.looked_s >= _AGAIN_S

    def _look(self, owners: list[Owner], now_s: float) -> None:
        if not owners:
            return
        where: dict[str, str] = {}
        if len(owners) == 1:
            where = {"environment": owners[0][0], "service": owners[0][1]}
        found = self._processes(self._parameters(now_s, where))
        for owner in owners:
            departure = self._gone[owner] = _Departure(now_s)
            presence = found.get(owner)
            if presence is None or presence.gone_s is None:
                continue
            departure.is_recent = False
            departure.agents = frozenset(presence.agents)
            since_s = presence.gone_s if presence.is_watched else None
            if since_s is not None and self._had_requests(owner, since_s, int(now_s)):
                departure.since_s = since_s

    def _processes(self, parameters: Parameters) -> dict[Owner, ProcessPresence]:
        end_s = int(parameters.now_s)
        return Processes(self._reader, parameters, (end_s - _REQUESTS_S, end_s), is_now=True).found

    def _had_requests(self, owner: Owner, gone_s: int, now_s: int) -> bool:
        where = {"environment": owner[0], "service": owner[1]}
        edges_s = (max(0, gone_s - _REQUESTS_S), now_s)
        rows = self._reader.store.read(Selection(edges_s, ("service",), where))
        return bool(rows.columns.value("requests").sum())

    def _parameters(self, now_s: float, where: dict[str, str] | None = None) -> Parameters:
        return Parameters(where or {}, now_s - _REQUESTS_S, now_s, now_s, UTC, {}, {})
