"""The agent: builds the parts, runs them, stops in order. The only place that knows all of them.

To stop, it takes no new connections, reads what is left in the sockets, closes all windows into the
spool and sends batches for up to three seconds; the rest stays on disk.
"""

import asyncio
import logging
import os
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

import httpx
import psutil

from trimtab_agent.aggregator import Aggregator
from trimtab_agent.closer import WindowCloser
from trimtab_agent.endpoint import Endpoint
from trimtab_agent.faults import Faults
from trimtab_agent.forwarder import Forwarder, make_client
from trimtab_agent.gathered import Gathered
from trimtab_agent.gauges import HostReader
from trimtab_agent.listener import Listener
from trimtab_agent.names import AgentNames
from trimtab_agent.owners import ServiceOwners
from trimtab_agent.probes import Probes
from trimtab_agent.relay import Relay
from trimtab_agent.selfmetrics import Totals, families_of
from trimtab_agent.settings import AgentSettings
from trimtab_agent.spool import Spool
from trimtab_agent.window import batches_of, gauges_of
from trimtab_agent.writer import BatchWriter
from trimtab_core.addresses import web_address
from trimtab_core.batches import encode
from trimtab_core.errors import StartupError, TrimtabError
from trimtab_core.exposition import MetricFamily
from trimtab_core.logs import configure
from trimtab_core.names import OBEYED, STOPPING
from trimtab_core.ownfiles import make_directory, read_own, write_own
from trimtab_core.terminal import Terminal

__all__ = ["Agent"]

log = logging.getLogger("trimtab.agent")

#: A window is closed this long after its end: frames are up to a send interval behind.
_GRACE_S: Final = 1.0
_FLUSH_S: Final = 3.0
#: Settings whose change takes effect at the next start only.
_FIXED: Final = frozenset(each.name for each in fields(AgentSettings) if each.metadata["restart"])


class Agent:
    """One agent process; `run` returns after it was told to stop.

    load reads the settings again when the process gets SIGHUP; None leaves the signal alone.
    """

    def __init__(
        self, settings: AgentSettings, load: Callable[[], AgentSettings] | None = None
    ) -> None:
        self.settings = settings
        self._load = load
        data_dir = Path(settings.data_dir)
        self.id = _identity(data_dir)
        self.boot = secrets.token_bytes(8)
        self.spool = Spool(data_dir / "spool", settings.spool_mib * 2**20)
        self.faults = Faults()
        names = AgentNames()
        self.aggregator = Aggregator(settings.window_s, settings.max_series, self.faults, names)
        self.gathered = Gathered(names=names)
        owners = ServiceOwners(settings.service_uids)
        self.listener = Listener(
            settings.socket,
            self.aggregator,
            self.gathered,
            self.id,
            max_apps=settings.max_apps,
            allow_uids=_uids(settings.allow_uids) | owners.uids,
            tcp=settings.tcp,
            token=settings.token,
            owners=owners,
        )
        # A client for each: if a poll held the sender's connection, the sender would open another
        # one at the end of the window, when all other agents send, too.
        self._clients = _clients(settings)
        sending, polling = self._clients
        self.forwarder = forwarder = Forwarder(
            self.spool, sending, settings.window_s, self.watch, self.boot, self.faults
        )
        wake = forwarder.wake
        step_s, apps = settings.window_s, self.listener.apps
        self._writer = BatchWriter(self.spool, self.id, self.boot, step_s, wake, self.faults, apps)
        self.relay = Relay(
            polling, self.id, self.watch, forwarder.reached, forwarder.answered, self.faults
        )
        self.host = HostReader(network_bits_per_second=settings.network_bits_per_second)
        self.probes = Probes(settings, faults=self.faults)
        self._process = psutil.Process()
        self._gauges: dict[str, float] = {}
        self.totals = Totals()
        self.endpoint = Endpoint(
            settings.http,
            ready=self.ready,
            families=self.families,
            token=settings.http_token,
            hosts=settings.http_hosts,
        )
        self._watched_until = 0.0
        self._host_name = os.uname().nodename
        self.closer = self._closer()
        self._stop = asyncio.Event()
        self._terminal = Terminal()
        #: closes clients that were replaced; kept so that it is not garbage-collected half-way
        self._old_clients: asyncio.Future[list[None]] | None = None

    def _closer(self) -> WindowCloser:
        return WindowCloser(
            self.aggregator,
            self.gathered,
            self.listener,
            self.probes,
            self.spool,
            self._writer,
            self.totals,
            self.faults,
            self._host_name,
            self._own_gauges,
            self.forwarder.reached.is_set,
        )

    async def run(self, announce: Callable[[str], None]) -> None:
        """Run until SIGTERM or SIGINT; raises StartupError when it cannot start.

        announce is called once, with a sentence for the operator, when apps can connect.
        """
        loop = asyncio.get_running_loop()
        await self.listener.start()
        await self.endpoint.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if self._load is not None:
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        announce(
            f"listening on {self.listener.address}, HTTP on port {self.endpoint.port}, "
            f"collector {self.settings.collector_url}"
        )
        self.probes.start()
        tasks = [asyncio.create_task(self.forwarder.run()), asyncio.create_task(self.relay.run())]
        try:
            await self._tick()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.probes.stop()
            await self._end()

    def _hang_up(self) -> None:
        if self._terminal.is_gone:
            # The window in which it was started was closed: nobody asked for another reading.
            self._stop.set()
        else:
            self.reload()

    def watch(self, seconds: float) -> None:
        """Send one-second summaries for a time from now."""
        self._watched_until = time.monotonic() + seconds
        if not self.aggregator.is_live:
            self.aggregator.take_live(int(time.time()))

    def reload(self) -> None:
        """Read the settings again and apply those that can change while apps are connected.

        Wrong settings change nothing and are logged as a warning. Loop only.
        """
        if self._load is None:
            return
        try:
            wanted = self._load()
            owners = ServiceOwners(wanted.service_uids)
            allow_uids = _uids(wanted.allow_uids) | owners.uids
            clients = _clients(wanted)
        except (TrimtabError, OSError) as error:
            log.warning("settings were not read again, the old ones hold: %s", error)
            return
        before = self.settings
        kept = {name: getattr(before, name) for name in _FIXED}
        changed = [
            each.name
            for each in fields(AgentSettings)
            if getattr(wanted, each.name) != getattr(before, each.name)
        ]
        self.settings = settings = replace(wanted, **kept)
        for name in sorted(_FIXED.intersection(changed)):
            log.warning("changing %s takes a restart of the agent", name)
        configure(settings.log_level)
        self.listener.reconfigure(settings.max_apps, allow_uids, settings.token)
        self.listener.owners = owners
        self.aggregator.max_series = settings.max_series
        self.endpoint.use(settings.http_token, settings.http_hosts)
        old, self._clients = self._clients, clients
        self.forwarder.use(clients[0])
        self.relay.client = clients[1]
        self.probes.trust(settings.ca_file)
        self._old_clients = asyncio.gather(*(client.aclose() for client in old))
        applied = [name for name in changed if name not in _FIXED]
        log.info("settings read again changed=%s", ",".join(applied) or "none")

    def ready(self) -> str | None:
        """Return None when ready, else a sentence that says what is missing."""
        if self._stop.is_set():
            return "the agent is stopping"
        return None

    async def _tick(self) -> None:
        next_host = 0.0
        while not self._stop.is_set():
            now_s = time.time()
            if now_s >= next_host or self._watched:
                next_host = now_s + self.settings.window_s / 2
                try:
                    self._gauges = self.host.read(time.monotonic())
                except Exception:  # noqa: BLE001 - the loop goes on, here and below
                    self.faults.note("host")
            try:
                await self.closer.close(now_s - _GRACE_S)
            except Exception:  # noqa: BLE001
                self.faults.note("windows")
            try:
                await self._send_live(int(now_s))
            except Exception:  # noqa: BLE001
                self.faults.note("live")
            # On the second, so that live summaries of all agents cover the same seconds.
            pause_s = 1.0 - time.time() % 1.0
            try:
                await asyncio.wait_for(self._stop.wait(), pause_s)
            except TimeoutError:
                pass

    @property
    def _watched(self) -> bool:
        return time.monotonic() < self._watched_until

    def _own_gauges(self) -> dict[str, float]:
        """Return the gauges of the host, and what the collector watches of this agent."""
        return {
            **self._gauges,
            "trimtab.agent.memory.usage": self._process.memory_info().rss,
            "trimtab.agent.spool.size": self.spool.stats.held_bytes,
            "trimtab.agent.spool.batches": self.spool.stats.held_batches,
            STOPPING: float(self._stop.is_set()),
        }

    async def _send_live(self, second: int) -> None:
        if not self.aggregator.is_live:
            return
        window = self.aggregator.take_live(second if self._watched else None)
        if window is None:
            return
        names = self.gathered.names.gauges
        for batch, _ in batches_of(
            window,
            agent=self.id,
            boot=self.boot,
            first_seq=0,
            step_s=1,
            closed_mono_us=time.monotonic_ns() // 1000,
            accounting=(),
            gauges=gauges_of(
                self.listener.apps, self._host_name, self._gauges, names, self.probes.gauges()
            ),
            live=True,
        ):
            try:
                payload = encode(batch, level=1)
            except Exception:  # noqa: BLE001 - the stored batch counts what is lost
                self.faults.note("live")
                continue
            await self.forwarder.send_live(payload)

    async def _end(self) -> None:
        await self.listener.drain()
        await self.closer.close_all()
        self.listener.close()
        await self.forwarder.flush(_FLUSH_S)
        await asyncio.gather(*(client.aclose() for client in self._clients))
        await self.endpoint.stop()
        self.spool.close()
        left = self.spool.stats.held_batches
        log.info("agent stopped batches_kept=%s", left)

    def families(self) -> Iterable[MetricFamily]:
        """Return what /metrics shows."""
        stats, listener, names = self.spool.stats, self.listener, self.gathered.names.gauges
        dropped = dict(stats.dropped_samples)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return (
            families_of(
                {
                    "trimtab.agent.samples": self.aggregator.records,
                    "trimtab.agent.dropped": {"reason": dropped},
                    "trimtab.agent.frames_refused": {"reason": dict(listener.refused)},
                    "trimtab.agent.frames_skipped": listener.skipped,
                    "trimtab.agent.apps": len(listener.connections),
                    "trimtab.agent.series": sum(
                        len(window.points) for window in self.aggregator.windows.values()
                    ),
                    "trimtab.agent.series_over_limit": self.aggregator.over_limit,
                    "trimtab.agent.batches_sent": self.forwarder.sent,
                    "trimtab.agent.batches_failed": {"cause": dict(self.forwarder.failed)},
                    "trimtab.agent.batches_quarantined": stats.quarantined,
                    "trimtab.agent.spool.size": stats.held_bytes,
                    "trimtab.agent.spool.batches": stats.held_batches,
                    "trimtab.agent.spool.dropped": {"reason": dict(stats.dropped_batches)},
                    "trimtab.agent.spool.coarsened": stats.coarsened,
                    "trimtab.agent.spool.split": stats.split,
                    "trimtab.agent.spool.damaged": {"reason": dict(stats.damaged)},
                    "trimtab.agent.spool.faults": {"cause": dict(stats.faults)},
                    "trimtab.agent.faults": {"loop": dict(self.faults.by_loop)},
                    "trimtab.agent.samples_repeated": listener.repeated,
                    "trimtab.agent.forgotten": listener.leavers.given_up,
                    "trimtab.agent.measures_over_limit": self.gathered.over_limit,
                    "trimtab.agent.measures_dropped": self.gathered.measures_dropped,
                    "trimtab.agent.events_dropped": self.gathered.events_dropped,
                    "trimtab.agent.gauges_dropped": listener.gauges_dropped + names.refused,
                    "trimtab.agent.memory.usage": self._process.memory_info().rss,
                    "trimtab.agent.cpu.time": usage.ru_utime + usage.ru_stime,
                    **self._gauges,
                }
            )
            + self.totals.families()
        )


def _clients(settings: AgentSettings) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
    """Return the clients of forwarder and relay."""
    ca_file, proxy = settings.collector_ca_file or settings.ca_file, settings.collector_proxy
    arguments = (settings.collector_url, settings.key, ca_file, proxy)
    address = web_address(settings.collector_url, "collector_url")
    if not address.tls and not address.loopback:
        log.warning(
            "collector_url=%s is not https: the key and all data travel in the clear; give the "
            "collector a certificate (tls_cert) or put it behind TLS, and use https",
            address,
        )
    return make_client(*arguments), make_client(*arguments)


def _identity(data_dir: Path) -> str:
    """Return the name of this agent, made once and kept beside the spool.

    A file that holds no name is set aside, and a new name is made.
    """
    path = data_dir / "agent-id"
    try:
        make_directory(data_dir)
        try:
            found = read_own(path)
            wrong = OBEYED.search(found)
            if found and not wrong:
                return found[:128]
            why = f"character {wrong.group()!a} at {wrong.start()}" if wrong else ""
        except ValueError as error:
            why = str(error)
        if why:
            aside = path.with_name("agent-id.damaged")
            os.replace(path, aside)
            log.warning(
                "expected the name of this agent in %s, got %s: it is set aside as %s and a new "
                "name is made; if the collector refuses the key now, give it to the new name with "
                "`trimtab key rebind`",
                path, why, aside.name,
            )  # fmt: skip
        made = f"{os.uname().nodename[:64]}-{secrets.token_hex(4)}"
        write_own(path, made + "\n")
    except OSError as error:
        raise StartupError(
            f"cannot write to the data directory {data_dir}: {error.strerror}; "
            "set TRIMTAB_AGENT_DATA_DIR to one that this user can write to"
        ) from error
    return made


def _uids(texts: Iterable[str]) -> frozenset[int]:
    try:
        return frozenset(map(int, texts))
    except ValueError:
        raise StartupError(f"allow_uids: expected user ids, got {tuple(texts)!r}") from None
