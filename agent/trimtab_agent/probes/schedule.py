"""Runs probes at intervals, each in a task of its own that survives any error of its target."""

import asyncio
import importlib.util
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from trimtab_agent.faults import Faults
from trimtab_agent.probes.http import HttpProbe
from trimtab_agent.probes.postgresql import PostgresqlProbe
from trimtab_agent.probes.probe import LIMIT_S, Probe, Probed
from trimtab_agent.probes.queues import QueueProbe
from trimtab_agent.probes.redis import RedisProbe
from trimtab_agent.settings import AgentSettings
from trimtab_core.batches import GaugeRow
from trimtab_core.errors import StartupError
from trimtab_core.logs import RateLimited
from trimtab_core.measures import OTHER, Delta, MeasureKey

__all__ = ["MAX_MEASURES", "Probes"]

log = logging.getLogger("trimtab.probes")

#: Longest pause between two readings of a failing target, unless `probe_s` is longer.
_MOST_PAUSE_S: Final = 60.0
#: Measures of a target that wait to be fetched; further ones are added up as `other`.
MAX_MEASURES: Final = 1000
_STOP_S: Final = 1.0

Row = tuple[str, str, str, MeasureKey, Delta]


class Probes:
    """All probes that the settings name; loop only.

    Raises StartupError for a missing driver and SettingsError for a malformed address.
    """

    def __init__(
        self, settings: AgentSettings, slow_s: float = 60.0, faults: Faults | None = None
    ) -> None:
        probes = list(_probes(settings, slow_s))
        self._http = [probe for probe in probes if isinstance(probe, HttpProbe)]
        seen: Counter[str] = Counter()
        self._targets = []
        for probe in probes:
            seen[probe.target] += 1
            count = seen[probe.target]
            name = f"{probe.target}#{count}" if count > 1 else probe.target
            self._targets.append(_Target(probe, _plain(name), settings.probe_s, faults))
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to read all targets, without a first pause."""
        self._tasks = [asyncio.create_task(target.run()) for target in self._targets]

    async def stop(self) -> None:
        """End the tasks within a second; a reading that hangs stays in its thread."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_S)
        self._tasks = []

    def trust(self, ca_file: str) -> None:
        """Read the certificates of HTTP services again, from the next reading on."""
        for probe in self._http:
            probe.trust(ca_file)

    def gauges(self) -> list[GaugeRow]:
        """Return the latest gauges; a target that does not answer has only `trimtab.probe.up`."""
        return [
            GaugeRow("", "", target.name, name, value)
            for target in self._targets
            for name, value in target.gauges.items()
        ]

    def measures(self) -> list[Row]:
        """Return what was added to measures since the last call, and forget it."""
        rows: list[Row] = []
        for target in self._targets:
            taken, target.measures = target.measures, {}
            rows += [("", "", target.name, key, delta) for key, delta in taken.items()]
        return rows


class _Target:
    """One target and its latest figures."""

    def __init__(
        self, probe: Probe, name: str, period_s: float, faults: Faults | None = None
    ) -> None:
        self.name = name
        self.gauges: dict[str, float] = {}
        self.measures: dict[MeasureKey, Delta] = {}
        self._probe = probe
        self._period_s = period_s
        self._failures = 0
        self._faults = faults or Faults()
        self._log = RateLimited(log)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        reading: asyncio.Task[Probed | str] | None = None
        try:
            while True:
                begun_s = loop.time()
                reading = asyncio.create_task(self._read())
                done, _ = await asyncio.wait({reading}, timeout=LIMIT_S)
                if not done:
                    self._down(f"no answer within {LIMIT_S:g} s")
                    # The next reading waits for the end of this one: never two at a time.
                    await asyncio.wait({reading})
                try:
                    is_well = self._take(reading.result(), loop.time() - begun_s) if done else False
                except Exception:  # noqa: BLE001 - a probe may make anything of an answer
                    self._faults.note("probes")
                    self.gauges, is_well = {"trimtab.probe.up": 0.0}, False
                self._failures = 0 if is_well else self._failures + 1
                await asyncio.sleep(max(0.0, begun_s + self._pause_s() - loop.time()))
        finally:
            if reading is None or reading.done():
                self._probe.close()
            else:
                reading.cancel()

    async def _read(self) -> Probed | str:
        """Return what was read, or a sentence that says what went wrong."""
        try:
            return await self._probe.read()
        except Exception as error:  # noqa: BLE001 - a target may be wrong in any way
            return self._probe.redacted(error)

    def _pause_s(self) -> float:
        longer = self._period_s * 2.0 ** min(self._failures, 10)
        return max(self._period_s, min(longer, _MOST_PAUSE_S))

    def _take(self, found: Probed | str, took_s: float) -> bool:
        if isinstance(found, str):
            self._down(found)
            return False
        up = {"trimtab.probe.up": 0.0 if found.fault else 1.0, "trimtab.probe.duration": took_s}
        self.gauges = up | dict(found.gauges)
        if found.fault:
            self._warn(found.fault)
        for key, delta in found.measures:
            if key not in self.measures and len(self.measures) >= MAX_MEASURES:
                key = key._replace(attributes=tuple((name, OTHER) for name, _ in key.attributes))
            self.measures.setdefault(key, Delta()).merge(delta)
        return True

    def _down(self, cause: str) -> None:
        self.gauges = {"trimtab.probe.up": 0.0}
        self._warn(cause)

    def _warn(self, cause: str) -> None:
        # One line per minute and target, whatever the cause.
        self._log.warning("", "probe failed target=%s cause=%s", self.name, cause)


def _plain(name: str) -> str:
    """Return the name of a target as it can travel: from the environment it may be no text."""
    return name[:256].encode("utf-8", "replace").decode()


def _probes(settings: AgentSettings, slow_s: float) -> Iterator[Probe]:
    _need("probe_redis", settings.probe_redis, "redis", "redis")
    _need("probe_queues", settings.probe_queues, "redis", "redis")
    _need("probe_postgresql", settings.probe_postgresql, "psycopg", "postgresql")
    slow_s = max(slow_s, settings.probe_s)
    yield from map(RedisProbe, settings.probe_redis)
    yield from map(QueueProbe, settings.probe_queues)
    yield from (PostgresqlProbe(dsn, slow_s) for dsn in settings.probe_postgresql)
    yield from (HttpProbe(url, settings.ca_file) for url in settings.probe_http)


def _need(setting: str, targets: Sequence[str], module: str, extra: str) -> None:
    if targets and importlib.util.find_spec(module) is None:
        raise StartupError(f"{setting} needs {module}: pip install 'trimtab[{extra}]'")
