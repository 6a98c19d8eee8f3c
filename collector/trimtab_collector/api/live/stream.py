"""The live stream: metrics each second while somebody subscribes, alerts as they change, answers.

The protocol is Socket.IO (python-socketio); docs/live.md describes the events. A connection must
show a token in its `auth` payload, and has the rights of it until the token ends. What waits for a
client is bounded, and a client that does not read is cut off: it connects again and finds what it
missed in the acknowledgement of `subscribe:alerts`.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from trimtab_collector.api.executor import ReadExecutor
from trimtab_collector.api.live.answers import Questions, ack, event, metrics_update, refusal
from trimtab_collector.api.live.clients import Identify, LiveClients
from trimtab_collector.api.live.sessions import LiveLimits, LiveSession
from trimtab_collector.contract.alerts import (
    FIRING,
    KEEPING,
    AlertBody,
    SilenceCounts,
    fires,
    is_held,
    is_silenced,
)
from trimtab_collector.contract.callers import NOBODY, Caller
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.health import HealthPart
from trimtab_collector.contract.live import LiveFilter, LiveHealth, live_filter
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import TooMuchError
from trimtab_core.logs import RateLimited

__all__ = ["LIVE_PATH", "Live"]

#: where the stream is, on the collector's address
LIVE_PATH: Final = "/socket.io/"

_Answer = Callable[[LiveSession, Any], Awaitable[Any]]
#: event of a client -> the read of the API that it asks, and the event that answers
_ASKED: Final = {
    "request:history": ("/metrics/history", "history:data"),
    "request:dashboard": ("/dashboard", "dashboard:data"),
}
#: packets sent before others get a turn
_TURN: Final = 50
#: alerts in these states are told; the others are steps on the way
_NEWS: Final = frozenset({FIRING, "resolved", "expired", "dismissed"})
#: the end of alerts in these states is still to be told
_OPEN: Final = frozenset({FIRING, KEEPING})

logger = logging.getLogger("trimtab.live")


class Live:
    """The stream as an ASGI application for `LIVE_PATH`; loop only, but for `alerts`."""

    def __init__(
        self,
        reader: StoreReader,
        executor: ReadExecutor,
        identify: Identify,
        questions: Questions,
        origins: Iterable[str] = (),
        open_alerts: Callable[[], Sequence[AlertBody]] = lambda: (),
        limits: LiveLimits | None = None,
    ) -> None:
        """Ask open_alerts, from a reading thread, for the alerts that have not ended."""
        self._reader = reader
        self._executor = executor
        self._questions = questions
        self._open_alerts = open_alerts
        self._limits = limits or LiveLimits()
        self._clients = LiveClients(identify, origins, self._limits)
        self._alerts: deque[AlertBody | SilenceCounts] = deque()
        #: alert -> its severity and state when it was last told
        self._told: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._skipped = 0
        self.alerts_lost = 0
        self._round_s: float | None = None
        self._failing: dict[str, str] = {}
        self._log = RateLimited(logger)
        self._answer_events()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request or WebSocket of the stream."""
        await self._clients.serve(scope, receive, send)

    def start(self) -> None:
        """Start what runs beside the connections; once, in the loop."""
        self._loop = asyncio.get_running_loop()
        works = {"sweep": self._watch, "metrics": self._measure, "alerts": self._tell}
        for name, work in works.items():
            self._tasks.append(asyncio.create_task(work(), name=f"trimtab-live-{name}"))

    async def stop(self) -> None:
        """Send everybody away, those who do not read as well, and end; doing it again is quick."""
        self._loop = None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._clients.close_all()

    @property
    def trouble(self) -> str:
        """What does not work, else empty; any thread."""
        return "; ".join(list(self._failing.values()))

    def health(self, _caller: Caller = NOBODY) -> HealthPart:
        """Return how the stream does; any thread."""
        sessions = self._clients.all()
        trouble = self.trouble
        body = LiveHealth(
            trouble=trouble or None,
            connections=self._clients.connections,
            subscribers=sum(each.subscribed for each in sessions),
            sent=self._clients.sent,
            skipped=self._skipped,
            dropped=self._clients.dropped,
            refused=self._clients.refused,
            alerts_lost=self.alerts_lost,
            round=None if self._round_s is None else round(1000 * self._round_s, 3),
        )
        return HealthPart(body, bool(trouble))

    def alerts(self, alerts: Sequence[AlertBody]) -> None:
        """Tell subscribers of alerts that changed, in this order; any thread, never waits."""
        self._pass_on(tuple(alerts))

    def silences(self, counts: SilenceCounts) -> None:
        """Tell the same subscribers that silences changed; any thread, never waits."""
        self._pass_on((counts,))

    def _pass_on(self, news: tuple[AlertBody | SilenceCounts, ...]) -> None:
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._take, news)
            except RuntimeError:
                self.alerts_lost += len(news)  # the loop has ended

    # ------------------------------------------------ what runs beside the connections

    async def _watch(self) -> None:
        """Each second, send away those who must not stay."""
        while True:
            await asyncio.sleep(self._limits.every_s)
            await self._guarded("connections", self._clients.sweep())

    async def _measure(self) -> None:
        """Each second, send figures to those who subscribe; a slow round makes the next late."""
        while True:
            begun_s = time.monotonic()
            await self._guarded("metrics", self._round())
            await asyncio.sleep(max(0.05, begun_s + self._limits.every_s - time.monotonic()))

    async def _tell(self) -> None:
        """Send alerts as they come."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._alerts:
                await self._guarded("alerts", self._tell_of(self._alerts.popleft()))

    async def _guarded(self, what: str, work: Awaitable[None]) -> None:
        """Do a piece of work; what it raises is logged and shown, and ends nothing."""
        try:
            await work
        except Exception as error:
            self._failing[what] = f"{what}: {type(error).__name__}"
            self._log.warning(what, "the live stream failed at %s: %r", what, error)
            logger.debug("the live stream failed at %s", what, exc_info=True)
        else:
            self._failing.pop(what, None)

    async def _round(self) -> None:
        """Compute figures once for each filter, and send them to those who asked for it."""
        begun_s = time.monotonic()
        filters: dict[LiveFilter, list[LiveSession]] = {}
        for session in self._clients.all():
            if session.metrics is not None:
                filters.setdefault(session.metrics, []).append(session)
        failed: Exception | None = None
        for chosen, sessions in filters.items():
            try:
                await self._update(chosen, sessions)
            except Exception as error:  # noqa: BLE001 - it costs its filter, and is raised below
                failed = error
        self._round_s = time.monotonic() - begun_s if filters else None
        if failed is not None:
            raise failed

    async def _update(self, chosen: LiveFilter, sessions: Sequence[LiveSession]) -> None:
        packet = await self._executor.run(metrics_update, self._reader, chosen)
        for turn, session in enumerate(sessions, 1):
            if session.metrics != chosen:
                continue
            if self._clients.reads(session):
                await self._clients.send(session, packet)
            else:
                # The one before still waits: the client gets the next it has time for.
                self._skipped += 1
            if turn % _TURN == 0:
                await asyncio.sleep(0)

    async def _tell_of(self, news: AlertBody | SilenceCounts) -> None:
        name = self._event_of(news)
        if not name:
            return
        packet = event(name, news)
        for turn, session in enumerate(self._clients.all(), 1):
            chosen = session.alerts
            if chosen is not None and (isinstance(news, SilenceCounts) or chosen.chooses(news)):
                await self._clients.send(session, packet)
            if turn % _TURN == 0:
                await asyncio.sleep(0)
        # Writers get a turn between alerts: a storm must not fill the queues of those who read.
        await asyncio.sleep(0)

    def _event_of(self, news: AlertBody | SilenceCounts) -> str:
        """Return the event that tells of something, empty for what nobody is told."""
        if isinstance(news, SilenceCounts):
            return "silences:changed"
        if self._is_news(news):
            return "alert:critical" if news.severity == "critical" else "alert:new"
        # Something else about it: who looks after it, whether it is held, that it recovers.
        return "" if news.state == "pending" else "alert:changed"

    def _is_news(self, alert: AlertBody) -> bool:
        """Return whether to tell of an alert: each severity while it fires, and its end, once."""
        if alert.state not in _NEWS:
            return False
        if is_held(alert) and (fires(alert) or alert.id not in self._told):
            return False  # whose beginning was told, its end is told as well
        now = (alert.severity, alert.state)
        if self._told.get(alert.id) == now:
            return False
        self._told[alert.id] = now
        self._told.move_to_end(alert.id)
        while len(self._told) > self._limits.alerts:
            self._told.popitem(last=False)
        return True

    def _take(self, alerts: Sequence[AlertBody | SilenceCounts]) -> None:
        room = max(0, self._limits.alerts - len(self._alerts))
        self.alerts_lost += max(0, len(alerts) - room)
        self._alerts.extend(alerts[:room])
        self._news.set()

    # ------------------------------------------------ events

    def _answer_events(self) -> None:
        answers: dict[str, _Answer] = {
            "subscribe:metrics": self._subscribe_metrics,
            "unsubscribe:metrics": self._unsubscribe_metrics,
            "subscribe:alerts": self._subscribe_alerts,
            "unsubscribe:alerts": self._unsubscribe_alerts,
        }
        for name, (path, data) in _ASKED.items():
            if self._questions.has(path):
                answers[name] = self._ask(path, data)
        server = self._clients.server
        for name, answer in answers.items():
            server.on(name, self._handler(answer))
        server.on("*", self._unknown(", ".join(answers)))

    def _handler(self, answer: _Answer) -> Callable[..., Awaitable[Any]]:
        """Return the handler of an event: its answer, or why there is none, acknowledges it."""

        async def handle(sid: str, *payload: Any) -> Any:
            session = self._clients.find(sid)
            if session is None:
                return refusal(ApiError(401, "unauthorized", "expected a connection with a token"))
            if session.busy:
                return refusal(
                    ApiError(429, "too_many_tries", "expected one event after the other")
                )
            session.busy = True
            try:
                if session.ended(time.time()):
                    # The next sweep ends the connection; until then this is the answer.
                    raise ApiError(401, "unauthorized", "the token has ended: get another")
                return ack(await answer(session, payload[0] if payload else None))
            except ApiError as error:
                return refusal(error)
            except TooMuchError as error:
                return refusal(ApiError(422, "too_much", str(error)))
            except Exception:
                logger.exception("an event of the live stream failed")
                message = "the collector failed at this: its log says why"
                return refusal(ApiError(500, "internal", message))
            finally:
                session.busy = False

        return handle

    def _unknown(self, known: str) -> Callable[..., Awaitable[Any]]:
        async def handle(name: str, _sid: str, *_payload: Any) -> Any:
            message = f"expected one of {known}, got {name!r:.80}"
            return refusal(ApiError(404, "not_found", message))

        return handle

    async def _subscribe_metrics(self, session: LiveSession, asked: Any) -> Any:
        chosen = live_filter(asked)
        filters = {each.metrics for each in self._clients.all()} - {None, chosen}
        if len(filters) >= self._limits.filters:
            raise ApiError(
                503, "busy", f"{len(filters)} filters are in use already: try again later"
            )
        session.metrics = chosen
        return {"filter": chosen.given(), "intervalSeconds": self._limits.every_s}

    async def _unsubscribe_metrics(self, session: LiveSession, _: Any) -> Any:
        session.metrics = None
        return {"subscribed": False}

    async def _subscribe_alerts(self, session: LiveSession, asked: Any) -> Any:
        # First, so that none is missed between; one that comes twice is known by its id and state.
        session.alerts = chosen = live_filter(asked)
        by = session.caller.id
        alerts, left_out = await self._executor.run(self._fire, chosen, by=by)
        return {"filter": chosen.given(), "alerts": alerts, "alertsLeftOut": left_out}

    def _fire(self, chosen: LiveFilter) -> tuple[list[Any], int]:
        """Return alerts that fire or did a moment ago, and are not silenced, as built-in types.

        With them goes how many more there are.
        """
        alerts = [
            alert
            for alert in self._open_alerts()
            if alert.state in _OPEN and not is_silenced(alert) and chosen.chooses(alert)
        ]
        most = self._limits.open_alerts
        return [msgspec.to_builtins(each) for each in alerts[:most]], max(0, len(alerts) - most)

    async def _unsubscribe_alerts(self, session: LiveSession, _: Any) -> Any:
        session.alerts = None
        return {"subscribed": False}

    def _ask(self, path: str, name: str) -> _Answer:
        role = self._questions.role(path)

        async def answer(session: LiveSession, asked: Any) -> Any:
            if session.caller.role.rank < role.rank:
                raise ApiError(403, "forbidden", f"expected the role {role.value}")
            packet = await self._executor.run(
                self._questions.answer, path, name, asked, session.caller, by=session.caller.id
            )
            await self._clients.send(session, packet)
            return {"event": name}

        return answer
