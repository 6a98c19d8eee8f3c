"""The collector put together: store, keys, ingest and API.

The only place that knows all parts and names the engine.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from trimtab_collector.alertchanges import ChangesOfAlerts
from trimtab_collector.alerts.book import AlertBook
from trimtab_collector.alerts.evaluator import Evaluator
from trimtab_collector.alerts.file import AlertsFile
from trimtab_collector.alerts.preview import Previews
from trimtab_collector.alerts.reading import Signal
from trimtab_collector.alerts.ruleset import RuleSet
from trimtab_collector.alerts.silences import SilenceBook
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.executor import ReadExecutor
from trimtab_collector.api.live.answers import Questions
from trimtab_collector.api.live.stream import LIVE_PATH, Live
from trimtab_collector.api.pages import Pages
from trimtab_collector.api.setuppage import setup_routes
from trimtab_collector.api.shared import SharedAnswers
from trimtab_collector.api.web import Api
from trimtab_collector.auth.accounts import Accounts
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.auth.keyring import KeyRing
from trimtab_collector.auth.owners import AgentOwners
from trimtab_collector.batchbodies import Receive
from trimtab_collector.circumstances import Circumstances
from trimtab_collector.companions import Companions, is_begun
from trimtab_collector.contract.callers import ITSELF, Caller
from trimtab_collector.contract.health import AgentsHealth, HealthPart, StateHealth
from trimtab_collector.deploys import Deploys
from trimtab_collector.finder import NameFinder
from trimtab_collector.fleet import Fleet
from trimtab_collector.ingest import Ingest, Scope, Send
from trimtab_collector.logs.book import LogBook
from trimtab_collector.marks import Marks
from trimtab_collector.notify.notifications import Notifications
from trimtab_collector.objectives.answers import Objectives
from trimtab_collector.objectives.kpis import KpiBook
from trimtab_collector.objectives.slos import SloBook
from trimtab_collector.overview.overviews import Overviews
from trimtab_collector.overview.situation import Sources
from trimtab_collector.quotas import Quotas
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reload import Reload
from trimtab_collector.reports.reporter import Reporter
from trimtab_collector.settings import CollectorSettings
from trimtab_collector.statefile import StateFile
from trimtab_collector.storage.sqlite.ageclock import steady_s
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.files import refuse_unfinished
from trimtab_collector.storage.store import Store
from trimtab_collector.watch import Watch

__all__ = ["CollectorApp"]


class CollectorApp:
    """ASGI application of a collector; holds its data directory from construction to the end.

    The store is the embedded engine in that directory, unless another one is given; either is
    closed with the app. Keys, users and tokens lie in the directory in any case. Raises
    StartupError when it cannot be used.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        store: Store | None = None,
        reload: Reload | None = None,
    ) -> None:
        directory = settings.directory
        #: parts whose settings may change while it runs register here
        self.reload = reload or Reload(settings)
        self._files(settings, store)
        self.accounts = Accounts(
            *(self.state, directory, settings.token),
            *(settings.admin_name, settings.admin_password, settings.base_url),
        )
        self.keys = KeyRing(directory)
        self.accounts.agent_keys.changed = self.keys.renew
        self.owners = AgentOwners(self.state, self.keys)
        self.watch = Watch()
        self.ingest = Ingest(
            *(self.store, self.keys, self.owners, self.watch),
            *(settings.max_body_bytes, settings.queue_bytes),
            Quotas(settings.max_series, settings.max_services, self.store.over.note),
        )
        self._executor = ReadExecutor()
        self._shared = SharedAnswers(self._executor)
        self.store.on_commit(self._shared.committed)
        self.reader = StoreReader(self.store, self.watch.mark, self.ingest)
        self.marks = Marks(self.state)
        self.reader.marks = self.marks.shown
        self.deploys = Deploys(self.marks, self.state)
        self.store.on_commit(self.deploys.note)
        slos, kpis = SloBook(self.state), KpiBook(self.state)
        self.objectives = Objectives(self.store, slos)
        parts: list[Any] = [
            *(self.reader, self.marks, self.objectives, kpis),
            *self._judging(settings, slos),
            self._reporter(kpis),
            *self.accounts.parts(),
        ]
        self.reader.parts.update(
            reload=self.reload.health,
            accounts=self.accounts.health,
            deploys=self.deploys.health,
            state=self._state_health,
            agents=self._agents_health,
        )
        self._api = Api(parts, self._executor, self.accounts.access, shared=self._shared)
        self.live = self._stream(settings, parts)
        #: the end of the live stream, once it has begun
        self._stopping: asyncio.Task[None] | None = None
        self._logs = self._log_files(settings)
        self._pages = _pages(self.reload)
        self._web = Starlette(
            routes=[*self._api.routes(), *setup_routes()],
            exception_handlers=self._api.exception_handlers(),
            lifespan=self._lifespan,
        )
        # A path of the API with a slash too many is an error of its caller, not a redirect.
        self._web.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or the server's lifespan."""
        if scope["type"] == "http" and scope["path"].startswith("/agent/"):
            # Past the framework: this is where the load is.
            await self.ingest(scope, receive, send)
        elif scope["type"] != "lifespan" and scope["path"].startswith(LIVE_PATH):
            await self.live(scope, receive, send)
        elif scope["type"] == "http" and self._pages.takes(scope):
            await self._pages(scope, receive, send)
        else:
            await self._web(scope, receive, send)

    def release(self) -> None:
        """Let long polls and live clients go, so that the server can stop; loop only."""
        self.watch.stop()
        self._stopping = asyncio.create_task(self.live.stop())

    def close(self) -> None:
        """Stop what runs and let go of the directory; the loop must have ended or never begun."""
        self.evaluator.stop()
        self._executor.close()
        if self._logs is not None:
            self._logs.close()
        self.accounts.close()
        self.keys.close()
        self.store.close()
        # Batches that were committed at last may bring versions.
        self.deploys.stop()
        self.owners.stop()
        self.state.close()

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Any) -> AsyncIterator[None]:
        self.store.start()
        if self._logs is not None:
            self._logs.start()
        self.live.start()
        await self.notifications.sender.start()
        self.evaluator.start()
        self.deploys.start()
        self.owners.start()
        keeping = asyncio.create_task(self.accounts.keep_up())
        yield
        keeping.cancel()
        await self.live.stop()
        await asyncio.to_thread(self.evaluator.stop)
        await self.notifications.sender.stop()

    def _files(self, settings: CollectorSettings, store: Store | None) -> None:
        """Open the store and the state file, and look whether one was begun anew."""
        directory = settings.directory
        began = is_begun(directory)
        self.store = _open(settings, self.reload) if store is None else store
        self.state = StateFile(directory, (AUDIT,), waits=True)
        #: what was lost of the files
        self.companions = Companions(self.state, directory, began=began)

    def _reporter(self, kpis: KpiBook) -> Reporter:
        return Reporter(
            *(self.reader, self.marks, self.objectives, kpis, self.alerts, self.overviews)
        )

    def _state_health(self, _caller: Caller) -> HealthPart:
        unreadable = self.state.unreadable + self.keys.unreadable
        trouble = self.companions.trouble or self.state.trouble or self.keys.trouble
        trouble = trouble or self.owners.lost or self.owners.trouble
        body = StateHealth(unreadable=unreadable, trouble=trouble or None)
        return HealthPart(body, bool(unreadable or trouble))

    def _agents_health(self, _caller: Caller) -> HealthPart:
        shared = self.ingest.senders.shared(time.time())
        return HealthPart(AgentsHealth(shared=shared), bool(shared))

    def _judging(self, settings: CollectorSettings, slos: SloBook) -> Sequence[Any]:
        """Put together what judges and tells; returns what the API asks of it."""
        circumstances = Circumstances(self.reader, slos, self.marks)
        self.notifications = _notifications(settings, self.state)
        self.reload.register(
            "hosts, certificates and proxy of messages",
            lambda latest: self.notifications.use(
                latest.allow_hosts, latest.outbound_ca_file, proxy=latest.outbound_proxy
            ),
        )
        known = self.notifications.channels.recipients
        file = AlertsFile(_alerts_file(settings), known)
        rules = RuleSet(self.state, file, known)
        silences = SilenceBook(self.state, rules.name_of)
        self.silences = silences
        file.section("channels", self.notifications.channels.of_file)
        file.section("slo", slos.of_file)
        self.alerts = AlertBook(self.state, circumstances.metadata)
        self.evaluator = Evaluator(
            *(self.store, self.state, rules, silences, self.alerts),
            self.notifications.outbox,
            signals=(
                *(self._troubles, circumstances.burns, circumstances.analyses),
                circumstances.departures,
            ),
            skews=self.ingest.skewed,
            explain=circumstances.changes,
            promised=circumstances.promised,
            began=circumstances.began,
        )
        file.start()
        self.reader.parts.update(
            alerts=self.evaluator.health, notifications=self.notifications.health
        )
        self.overviews = Overviews(Sources(self.reader, self.marks, self.alerts, rules.lines))
        self.store.on_commit(self.overviews.changed)
        self.alerts.on_change(self.overviews.changed)
        asked = self.notifications.parts()
        names = (
            NameFinder(self.store, rules),
            Fleet(
                *(self.evaluator.agents, self.owners, self.ingest.senders, self.store),
                self.ingest.refusals,
            ),
        )
        changes = ChangesOfAlerts(self.alerts, circumstances.changes)
        told = (rules, silences, self.alerts, changes, self.overviews, Previews(self.store))
        return (*told, *names, *asked)

    def _stream(self, settings: CollectorSettings, parts: Sequence[Any]) -> Live:
        stream = Live(
            self.reader,
            self._executor,
            self.accounts.access.caller,
            Questions(parts, ENDPOINTS),
            (*settings.allowed_origins, settings.base_url),
            self.alerts.open,
        )
        self.alerts.on_change(stream.alerts)
        self.silences.on_change(stream.silences)
        self.alerts.on_change(self._shared.renew)
        self.reader.parts["live"] = stream.health
        return stream

    def _log_files(self, settings: CollectorSettings) -> LogBook | None:
        if not settings.log_dir:
            return None
        directory = Path(settings.log_dir)
        book = LogBook(directory, settings.log_max_bytes, settings.log_keep, self.reader)
        self.alerts.on_change(book.alerts)
        self.reader.parts["logs"] = book.health
        return book

    def _troubles(self, _now_s: float) -> Iterator[Signal]:
        """Yield for each part of the collector whether something is wrong with it."""
        health = self.store.health()
        for part, trouble in (
            ("store", health.trouble),
            ("compaction", health.compaction),
            ("damage", health.damage),
        ):
            yield Signal("collectorTrouble", {"part": part}, float(bool(trouble)))
        for part, ask in self.reader.parts.items():
            yield Signal("collectorTrouble", {"part": part}, float(ask(ITSELF).degraded))


def _notifications(settings: CollectorSettings, state: StateFile) -> Notifications:
    return Notifications(
        state,
        base_url=settings.public_url,
        allow_hosts=settings.allow_hosts,
        ca_file=settings.outbound_ca_file,
        proxy=settings.outbound_proxy,
        heartbeat_url=settings.heartbeat_url,
    )


def _alerts_file(settings: CollectorSettings) -> Path:
    return (
        Path(settings.alerts_file) if settings.alerts_file else settings.directory / "alerts.toml"
    )


def _pages(reload: Reload) -> Pages:
    pages = Pages()
    reload.register("dashboard", lambda _latest: pages.read())
    return pages


def _open(settings: CollectorSettings, reload: Reload) -> Store:
    refuse_unfinished(settings.directory)
    store = SQLiteStore(
        settings.directory,
        queue_bytes=settings.queue_bytes,
        journal_bytes=settings.journal_bytes,
        recent_bytes=settings.recent_bytes,
        retention=Retention.of(settings),
        max_bytes=settings.storage_max_bytes,
        max_series=settings.max_series,
        log_level=settings.log_level,
        waits=True,
        steady=steady_s,
    )
    reload.register(
        "retention", lambda latest: store.keep(Retention.of(latest), latest.storage_max_bytes)
    )
    return store
