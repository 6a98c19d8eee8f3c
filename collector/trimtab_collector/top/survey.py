"""Asks a collector for one frame of `trimtab top`: two to five requests, one after the other."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from trimtab_collector.asking import AskError
from trimtab_collector.top.columns import SERVER_SORTS
from trimtab_collector.top.rows import (
    AnswerError,
    TopAlert,
    TopHost,
    TopOverall,
    TopRoute,
    TopService,
    alerts_in,
    hosts_in,
    overall_in,
    routes_in,
    services_in,
)

__all__ = ["LIVE_S", "Answering", "Survey", "TopQuestion", "TopRead"]

#: what is shown of one-second summaries; the API answers from them up to 60 s
LIVE_S: Final = 10
#: and of stored windows of 10 s, which take some 11 s to arrive
_STORED_S: Final = 60
#: hosts and alerts change less often than requests do
_HOSTS_EVERY_S: Final = 5.0
_ALERTS_EVERY_S: Final = 3.0
_MOST_ALERTS: Final = 100
#: rows asked for; with a filter all that the API gives, since it is applied here
_USUAL_ROWS: Final = 200
_MOST_ROWS: Final = 1000


class Answering(Protocol):
    """What answers: an Asker."""

    def get(self, path: str, query: Mapping[str, str]) -> Any:
        """Return an answer with `data`; raises AskError."""


@dataclass(frozen=True, slots=True)
class TopQuestion:
    """What a frame is about."""

    view: str = "services"
    #: a key of columns
    sort: str = "rps"
    environment: str = ""
    service: str = ""
    #: whether a filter is applied to the rows
    filtered: bool = False
    #: every view, and not only the one that is seen
    whole: bool = False


@dataclass(frozen=True, slots=True)
class TopRead:
    """What a collector answered to a question."""

    question: TopQuestion
    #: width of the range, in seconds
    seconds: int
    overall: TopOverall
    services: list[TopService] = field(default_factory=list)
    services_left_out: int = 0
    routes: list[TopRoute] = field(default_factory=list)
    routes_left_out: int = 0
    hosts: list[TopHost] = field(default_factory=list)
    alerts: list[TopAlert] = field(default_factory=list)
    alerts_left_out: int = 0


class Survey:
    """Reads frames from one collector; one thread at a time.

    Hosts and alerts are asked for less often than each second, and kept meanwhile.
    """

    def __init__(
        self,
        asker: Answering,
        environment: str = "",
        service: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read alerts of an environment and service, of everything when these are empty."""
        self._asker = asker
        self._alerts_of = {"environment": environment, "service": service}
        self._clock = clock
        self._hosts: list[TopHost] = []
        self._hosts_at_s = float("-inf")
        self._alerts: tuple[list[TopAlert], int] = ([], 0)
        self._alerts_at_s = float("-inf")

    def read(self, question: TopQuestion) -> TopRead:
        """Return one frame; raises AskError, also for answers that no collector gives."""
        try:
            return self._read(question)
        except AnswerError as error:
            raise AskError(
                f"expected {error} in the answer; is the collector of another version?"
            ) from error

    def _read(self, question: TopQuestion) -> TopRead:
        scope = {"environment": question.environment, "service": question.service}
        # A range this short is answered from live summaries only once agents send them, which this
        # very read makes them do.
        seconds = LIVE_S
        overall = self._overall(scope, seconds)
        if overall.resolution_s != 1:
            seconds = _STORED_S
            overall = self._overall(scope, seconds)
        asked = {**scope, "from": f"-{seconds}s"}
        services: tuple[list[TopService], int] = ([], 0)
        routes: tuple[list[TopRoute], int] = ([], 0)
        if question.whole or question.view == "services":
            by = SERVER_SORTS.get(question.sort, "") if question.view == "services" else ""
            by = "requestsPerSecond" if by in ("", "totalTime") else by
            services = services_in(self._get("/services", {**asked, "by": by, "limit": "1000"}))
        if question.whole or question.view == "routes":
            by = SERVER_SORTS.get(question.sort, "") if question.view == "routes" else ""
            limit = _MOST_ROWS if question.filtered or question.whole else _USUAL_ROWS
            given = {"by": by or "totalTime", "kind": "request", "limit": str(limit)}
            routes = routes_in(self._get("/routes", {**asked, **given}))
        self._refresh_hosts(at_once=question.view == "hosts")
        self._refresh_alerts()
        return TopRead(
            question,
            seconds,
            overall,
            *services,
            *routes,
            self._hosts,
            *self._alerts,
        )

    def _overall(self, scope: Mapping[str, str], seconds: int) -> TopOverall:
        return overall_in(self._get("/response-time", {**scope, "from": f"-{seconds}s"}))

    def _refresh_hosts(self, *, at_once: bool) -> None:
        now_s = self._clock()
        if at_once or now_s - self._hosts_at_s >= _HOSTS_EVERY_S:
            self._hosts = hosts_in(self._get("/system", {}))
            self._hosts_at_s = now_s

    def _refresh_alerts(self) -> None:
        now_s = self._clock()
        if now_s - self._alerts_at_s >= _ALERTS_EVERY_S:
            query = {"state": "open", "limit": str(_MOST_ALERTS), **self._alerts_of}
            self._alerts = alerts_in(self._get("/alerts", query))
            self._alerts_at_s = now_s

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        return self._asker.get(path, query).data
