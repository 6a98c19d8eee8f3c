"""A store, what judges it, and a clock: windows are sent and judged one after the other."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import NOON
from trimtab_collector.alerts.book import AlertBook
from trimtab_collector.alerts.evaluator import Evaluator
from trimtab_collector.alerts.file import AlertsFile
from trimtab_collector.alerts.judge import Outcome
from trimtab_collector.alerts.reading import Signal
from trimtab_collector.alerts.ruleset import RuleSet
from trimtab_collector.alerts.silences import SilenceBook
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.contract.alertconfigs import NewAlertConfig
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.parameters import RANGE, Parameters, parse
from trimtab_collector.notify.channels import ChannelBook
from trimtab_collector.notify.notice import Notice
from trimtab_collector.statefile import StateFile
from trimtab_collector.storage.memory.engine import MemoryStore
from trimtab_core.batches import Batch, GaugeRow
from trimtab_core.rows import MeasureRow, pack_rows

__all__ = ["ADMIN", "AlertWorld", "Sink", "add", "alert_world", "asked", "config", "told"]

ADMIN: Final = Caller("ada", Role.ADMIN)
WINDOW_S: Final = 10


class Sink:
    """Takes notices as the outbox would: in the transaction, which may still fail."""

    def __init__(self) -> None:
        self.taken: list[Notice] = []
        self.beats: list[float] = []
        self.fails = False

    def add(self, connection: sqlite3.Connection, notice: Notice) -> None:
        assert connection.in_transaction
        if self.fails:
            raise sqlite3.OperationalError("disk full")
        self.taken.append(notice)

    def beat(self, connection: sqlite3.Connection, at_s: float) -> None:
        self.beats.append(at_s)

    @property
    def kinds(self) -> list[str]:
        """What was told, in order."""
        return [notice.kind for notice in self.taken]


class AlertWorld:
    """One collector's judging, without its server."""

    def __init__(
        self, directory: Path, signals: Sequence[Callable[[float], Iterable[Signal]]] = ()
    ) -> None:
        self.directory = directory
        self._signals = signals
        self.clock = Clock(NOON)
        self.store = MemoryStore(clock=self.clock)
        self.sink = Sink()
        self.changed: list[AlertBody] = []
        self._seq = 0
        self._open()

    def _open(self) -> None:
        self.state = StateFile(self.directory, (AUDIT,))
        self.channels = ChannelBook(self.state)
        known = self.channels.recipients
        self.file = AlertsFile(self.directory / "alerts.toml", known)
        self.file.section("channels", self.channels.of_file)
        self.rules = RuleSet(self.state, self.file, known)
        self.silences = SilenceBook(self.state, self.rules.name_of)
        self.book = AlertBook(self.state)
        self.book.on_change(self.changed.extend)
        self.evaluator = Evaluator(
            *(self.store, self.state, self.rules, self.silences, self.book, self.sink),
            clock=self.clock,
            signals=self._signals,
        )
        self.file.start()

    def restart(self) -> None:
        """Open what was kept again, as after a crash: nothing is written on the way."""
        self.state.close()
        self._open()

    def close(self) -> None:
        """Let go of everything."""
        self.store.close()
        self.state.close()

    def pass_windows(
        self,
        count: int,
        ms: float | None = None,
        *,
        requests: int = 50,
        errors: int = 0,
        gauges: Mapping[str, float] | None = None,
        measures: Iterable[MeasureRow] = (),
        agents: Sequence[str] = ("agent-1",),
        service: str = "shop",
    ) -> list[Outcome]:
        """Let windows pass: each agent sends one, then it is judged. Without agents none comes."""
        outcomes = []
        packed = pack_rows(measures, ())
        for _ in range(count):
            start_s = int(self.clock.now_s)
            self.clock.advance_s(WINDOW_S)
            for agent in agents:
                key = key_of(service=service, instance=f"{agent}#0")
                times = [round(ms * 1000)] * requests if ms else []
                rows = [GaugeRow("", "", agent, *each) for each in (gauges or {}).items()]
                self.send(
                    a_batch(
                        self._seq,
                        {key: point_of(times, errors=errors)} if times else {},
                        agent=agent,
                        window_s=start_s,
                        closed_us=int(self.clock.now_s * 1e6),
                        gauges=rows,
                        rows=packed[0] if packed else b"",
                    )
                )
            outcomes.append(self.evaluator.step(int(self.clock.now_s)))
        return outcomes

    def send(self, batch: Batch) -> None:
        """Store one batch."""
        append(self.store, batch)
        self._seq += 1


def asked(world: AlertWorld, body: object = None, **texts: str) -> Parameters:
    """Return the parameters of a request of an admin."""
    parameters = parse(RANGE, texts.items(), world.clock.now_s)
    return replace(parameters, body=body, caller=ADMIN)


@contextmanager
def alert_world(
    directory: Path, signals: Sequence[Callable[[float], Iterable[Signal]]] = ()
) -> Iterator[AlertWorld]:
    """Yield a world in a directory; signals are asked for what is no measurement."""
    world = AlertWorld(directory, signals)
    try:
        yield world
    finally:
        world.close()


def config(**fields: object) -> NewAlertConfig:
    """Return a configuration that fires and ends quickly."""
    known = {"for_": 20, "keep_firing_for": 20, "over": 10, **fields}
    return NewAlertConfig(**known)  # type: ignore[arg-type]


def add(world: AlertWorld, name: str, **fields: object) -> None:
    world.rules.change(name, config(**fields), asked(world))


def told(world: AlertWorld, rule: str) -> list[str]:
    return [notice.kind for notice in world.sink.taken if notice.rule_id == rule]
