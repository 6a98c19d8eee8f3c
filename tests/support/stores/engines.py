"""Every engine behind the Store protocol, opened the same way, for tests that all of them pass.

A further engine is one class with the methods of `Engine` and one entry in `ENGINES`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from support.clock import Clock
from support.stores.appending import received as as_received
from support.stores.oracle import QUANTILES, SUMS, Answer, KnownAccounting, Oracle, Row, Tier, check
from trimtab_collector.storage.columns import quantiles_us
from trimtab_collector.storage.memory.engine import MemoryStore
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.statuses import no_statuses
from trimtab_collector.storage.store import Rows, Selection, Store, UnavailableError
from trimtab_core.batches import Batch, Point, SeriesKey
from trimtab_core.sketch import Sketch

__all__ = ["ENGINES", "NOON", "Engine", "Pair", "Sent", "accounting_in", "append", "ask"]

DAY_S: Final = 86_400
#: a full hour
NOON: Final = 1_700_006_400
_DEADLINE_S: Final = 30


class Engine(Protocol):
    """One engine and its data."""

    #: windows of these widths are kept for so long, finest first
    tiers: Sequence[Tier]
    #: what was taken is there again after `reopen`
    persists: bool

    @property
    def store(self) -> Store:
        """The store, once it is open."""

    def open(
        self,
        directory: Path,
        clock: Clock,
        *,
        roomy: bool = True,
        max_series: int = 200_000,
        most_bytes: int = 1024**3,
    ) -> None:
        """Open the data in a directory.

        Not roomy: with as little memory as works. Over most_bytes of what was not compacted yet
        batches are refused.
        """

    def settle(self) -> None:
        """Compact everything that is due, until nothing changes."""

    def reopen(self) -> None:
        """Close and open again; only of one that persists."""

    def close(self) -> None:
        """Let go of the data."""


class SQLiteEngine:
    """A SQLiteStore that keeps its tiers for less than usual."""

    tiers: Sequence[Tier] = (Tier(10, 2 * DAY_S), Tier(60, 9 * DAY_S), Tier(3600, 70 * DAY_S))
    persists = True
    store: SQLiteStore

    def open(
        self,
        directory: Path,
        clock: Clock,
        *,
        roomy: bool = True,
        max_series: int = 200_000,
        most_bytes: int = 1024**3,
    ) -> None:
        self._clock = clock
        self._again = partial(
            self.open, directory, clock, roomy=roomy, max_series=max_series, most_bytes=most_bytes
        )
        self.store = SQLiteStore(
            directory,
            clock=clock,
            recent_bytes=64 * 1024 * 1024 if roomy else 20_000,
            retention=Retention(*(tier.kept_s for tier in self.tiers)),
            max_series=max_series,
            journal_bytes=most_bytes,
            kept_from_buckets=1 if roomy else 5_000,
        )

    def settle(self) -> None:
        while self.store.compact(self._clock.now_s):
            pass

    def reopen(self) -> None:
        self.close()
        self._again()

    def close(self) -> None:
        self.store.close()


class MemoryEngine:
    """A MemoryStore that keeps its windows for as long as the other keeps any."""

    tiers: Sequence[Tier] = (Tier(10, 70 * DAY_S),)
    persists = False
    store: MemoryStore

    def open(
        self,
        directory: Path,
        clock: Clock,
        *,
        roomy: bool = True,
        max_series: int = 200_000,
        most_bytes: int = 1024**3,
    ) -> None:
        self._clock = clock
        self.store = MemoryStore(
            keep_s=self.tiers[0].kept_s, max_bytes=most_bytes, max_series=max_series, clock=clock
        )

    def settle(self) -> None:
        while self.store.compact(self._clock.now_s):
            pass

    def reopen(self) -> None:
        raise AssertionError("all of it would be gone")

    def close(self) -> None:
        self.store.close()


ENGINES: Final[dict[str, Callable[[], Engine]]] = {"sqlite": SQLiteEngine, "memory": MemoryEngine}


class Sent(NamedTuple):
    """A batch and what is in it."""

    batch: Batch
    points: Mapping[SeriesKey, Point]
    #: records that the agent holds besides
    held: int = 0


def append(engine: Engine, *sent: Sent) -> list[bool]:
    """Send batches at once, each until it is taken; returns which were here before."""

    async def work() -> list[bool]:
        return list(await asyncio.gather(*[_insist(engine, each) for each in sent]))

    return asyncio.run(work())


async def _insist(engine: Engine, sent: Sent) -> bool:
    deadline = time.monotonic() + _DEADLINE_S
    received = as_received(engine.store, sent.batch, _totals(sent.points))
    while True:
        try:
            duplicate = await engine.store.append(received)
        except UnavailableError:
            # A disk that is behind; agents come again as well.
            if time.monotonic() > deadline:
                raise
            # Let the loop hear that the disk has caught up: this one would ask for ever.
            await asyncio.sleep(0)
            continue
        engine.store.note_held(received.batch, sent.held)
        return duplicate


def _totals(points: Mapping[SeriesKey, Point]) -> Mapping[tuple[str, str], tuple[int, int]]:
    totals: dict[tuple[str, str], tuple[int, int]] = {}
    for key, point in points.items():
        requests, backgrounds = totals.get(key[:2], (0, 0))
        requests += sum(point.buckets.values())
        backgrounds += point.backgrounds
        if requests or backgrounds:
            totals[key[:2]] = (requests, backgrounds)
    return totals


class Pair:
    """An engine and the oracle beside it: both are told the same, and must answer the same."""

    def __init__(
        self, make: Callable[[], Engine], directory: Path, now_s: float, *, roomy: bool = True
    ) -> None:
        self.clock = Clock(now_s)
        self.oracle = Oracle()
        self.engine = make()
        self.engine.open(directory, self.clock, roomy=roomy)

    @property
    def now_s(self) -> int:
        return int(self.clock.now_s)

    def send(self, sent: Sequence[Sent]) -> list[bool]:
        """Send batches at once; returns which are repeats, to both or to neither."""
        expected = [self.oracle.add(each.batch, each.points) for each in sent]
        for each in sent:
            self.oracle.note_held(each.batch, each.held)
        assert append(self.engine, *sent) == expected
        return expected

    def reopen(self) -> None:
        """Close the engine and open it again, if that keeps its data."""
        if self.engine.persists:
            self.engine.reopen()
            self.oracle.reopened()

    def compare(self, selection: Selection | None = None) -> Answer:
        """Read and compare; without a selection all there is, one row a series."""
        if selection is None:
            edges_s = (self.now_s - 100 * DAY_S, self.now_s + DAY_S)
            selection = Selection(edges_s, SeriesKey._fields)
        answer = ask(self.engine, selection)
        check(self.oracle, selection, answer, self.engine.tiers, self.clock.now_s)
        return answer

    def compare_accounting(self) -> None:
        """Compare the accounting of every service, and see that the engine is well."""
        assert accounting_in(self.engine) == self.oracle.accounting()
        health = self.engine.store.health()
        assert (health.trouble, dict(health.damage)) == ("", {})


def ask(engine: Engine, selection: Selection) -> Answer:
    """Return what an engine answers, and fail if it is not of the form that was promised."""
    return _answer(engine.store.read(selection))


def _answer(rows: Rows) -> Answer:
    columns = rows.columns
    group, t, buckets = rows.group.tolist(), rows.t.tolist(), columns.buckets.tolist()
    assert len(set(rows.groups)) == len(rows.groups)
    order = list(zip(group, t, strict=True))
    assert order == sorted(set(order)), "rows go by group and step, each once"
    indexes, counts = columns.indexes.tolist(), columns.counts.tolist()
    assert len(indexes) == len(counts) == sum(buckets)
    sums = {name: columns.value(name).tolist() for name in SUMS}
    most, requests = columns.value("max_us").tolist(), columns.value("requests").tolist()
    times = quantiles_us(columns, QUANTILES).tolist()
    statuses = columns.statuses or no_statuses(len(order))
    pairs = zip(statuses.codes.tolist(), statuses.counts.tolist(), strict=True)
    assert len(statuses.sizes) == len(order)
    answer: dict[tuple[tuple[str, ...], int], Row] = {}
    end = 0
    for place, (number, start_s) in enumerate(order):
        begin, end = end, end + buckets[place]
        codes = list(islice(pairs, int(statuses.sizes[place])))
        assert codes == sorted(dict(codes).items())
        assert min((count for _, count in codes), default=1) > 0
        assert indexes[begin:end] == sorted(set(indexes[begin:end]))
        row = Row(sketch=Sketch(dict(zip(indexes[begin:end], counts[begin:end], strict=True))))
        row.sketch.max_us, row.points = most[place], 1
        row.statuses.update(dict(codes))
        row.sums.update({name: column[place] for name, column in sums.items() if column[place]})
        assert requests[place] == row.sketch.count
        assert min(counts[begin:end], default=1) > 0
        assert times[place] == [row.sketch.quantile_us(q) for q in QUANTILES]
        answer[rows.groups[number], start_s] = row
    assert not list(pairs)
    return Answer(answer, rows.resolution_s)


def accounting_in(engine: Engine) -> dict[tuple[str, str], KnownAccounting]:
    """Return the accounting of every service that an engine has."""
    return {
        (each.environment, each.service): KnownAccounting(
            each.counted,
            each.sent,
            each.held,
            each.agent_lost,
            {reason: count for reason, count in each.dropped.items() if count},
            each.requests,
            each.backgrounds,
        )
        for each in engine.store.accounting()
    }
