"""The seam between the collector and the engine that keeps its data.

Everything that anyone outside `storage` may ask or tell an engine is here. An engine merges points;
percentiles are computed above it, from merged sketches, so that every engine answers the same bits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from trimtab_collector.storage.columns import Array, Columns
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.batches import Batch, SeriesKey
from trimtab_core.errors import TrimtabError
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow

__all__ = [
    "Admit",
    "CommitListener",
    "EventSelection",
    "GaugeRows",
    "GaugeSelection",
    "Health",
    "LatestGauge",
    "MeasurePart",
    "MeasureSelection",
    "Numbered",
    "Received",
    "Rows",
    "Selection",
    "ServiceAccounting",
    "Store",
    "TooMuchError",
    "UnavailableError",
    "UnstorableError",
]

#: Checks the services that a batch writes for; raises to refuse the batch.
Admit = Callable[[Iterable[tuple[str, str]]], None]


class Numbered(NamedTuple):
    """The points of a batch, with the store's numbers for its series."""

    columns: Columns
    #: for each series of the batch, the place of its service in `services`
    service: Array
    #: (environment, service)
    services: tuple[tuple[str, str], ...]
    #: private to the engine: where the numbers come from
    origin: object = None


class UnavailableError(TrimtabError):
    """The store cannot accept this now; try the same again after retry_after_s."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnstorableError(TrimtabError):
    """A batch that the store will never take, however often it is sent; the text says why."""


class TooMuchError(TrimtabError):
    """A read would take more memory or time than allowed; the text says how to ask for less."""


@dataclass(frozen=True, slots=True)
class Received:
    """A batch that was checked and is ready to be stored."""

    batch: Batch
    #: the bytes as they arrived
    raw: bytes
    numbered: Numbered
    #: start of the stored window, by our clock
    window_s: int
    received_us: int
    #: when its gauges were read, by our clock, epoch seconds
    read_s: float
    #: (environment, service) -> requests and background records of this batch
    totals: Mapping[tuple[str, str], tuple[int, int]]
    measures: Sequence[MeasureRow] = ()
    events: Sequence[EventRow] = ()
    #: id of the key that brought it: bounded tables share their places among keys, and a repeat is
    #: one of the same key
    key: str = ""

    @property
    def columns(self) -> Columns:
        """Its points."""
        return self.numbered.columns


@dataclass(frozen=True, slots=True)
class Selection:
    """What a read asks for: points by step and by fields of their series.

    Step i is [edges_s[i], edges_s[i + 1]), epoch seconds, ascending; two edges make one step. A
    point belongs to the step in which its window starts. group_by names fields of SeriesKey, and
    `where` has the text that some of them must have.
    """

    edges_s: tuple[int, ...]
    group_by: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    #: read 1-second summaries instead of the stored windows
    live: bool = False

    @property
    def start_s(self) -> int:
        """Start of the range."""
        return self.edges_s[0]

    @property
    def end_s(self) -> int:
        """End of the range, exclusive."""
        return self.edges_s[-1]


class Rows(NamedTuple):
    """The result of a read: a row for each group and step with points, in that order."""

    groups: list[tuple[str, ...]]
    #: place of each row's group in `groups`
    group: Array
    #: start of each row's step, epoch seconds
    t: Array
    columns: Columns
    #: width of the widest windows that an edge cut, seconds: steps are that exact
    resolution_s: int = 10


@dataclass(frozen=True, slots=True)
class GaugeSelection:
    """What a read of the history of gauges asks for.

    Steps are those of `Selection`. A value belongs to the window at whose end it was read. group_by
    names fields of GaugeKey and always includes the name; `where` may have any of the others.
    """

    edges_s: tuple[int, ...]
    #: exact names of gauges, None for all
    names: tuple[str, ...] | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    group_by: tuple[str, ...] = ("agent", "environment", "service", "instance", "name")

    def __post_init__(self) -> None:
        """Raise ValueError for groups that would add up gauges with different names."""
        if "name" not in self.group_by or "name" in self.where:
            raise ValueError("expected name in group_by and in no filter: it goes into names")


@dataclass(frozen=True, slots=True, eq=False)
class GaugeRows:
    """The result of a read of gauges: a row for each group and step with values, in that order."""

    groups: list[tuple[str, ...]]
    #: place of each row's group in `groups`
    group: Array
    #: start of each row's step, epoch seconds
    t: Array
    #: number of values, and float64: their mean, the smallest, the largest
    count: Array
    mean: Array
    min: Array
    max: Array
    #: the last value; NaN where a row has several gauges
    last: Array
    #: the sum of the means of the row's gauges
    total: Array
    #: as in Rows
    resolution_s: int = 10


class LatestGauge(NamedTuple):
    """A gauge and when it was read; service and instance are empty for a host's own."""

    agent: str
    environment: str
    service: str
    instance: str
    name: str
    value: float
    #: epoch seconds by our clock
    read_s: float


@dataclass(frozen=True, slots=True)
class MeasureSelection:
    """What a read of measures asks for.

    Steps are those of `Selection`: a row belongs to the step in which its window starts. Measures
    with different name, kind or unit are never added up. Measures that differ only in fields or
    attributes not grouped by are added up.
    """

    edges_s: tuple[int, ...]
    #: exact names; one that ends with `*` stands for all names with that beginning
    names: tuple[str, ...]
    #: texts of environment, service, instance
    where: Mapping[str, str] = field(default_factory=dict)
    #: of environment, service, instance
    group_by: tuple[str, ...] = ("environment", "service", "instance")
    #: names of attributes that distinguish measures, None for all
    attributes: tuple[str, ...] | None = None


class MeasurePart(NamedTuple):
    """What was added to the measures of one group within one step of a read.

    Fields outside group_by are empty; attributes outside it are absent. `last` of several gauges is
    that of the latest row.
    """

    environment: str
    service: str
    instance: str
    key: MeasureKey
    #: place of the step
    step: int
    delta: Delta


@dataclass(frozen=True, slots=True)
class EventSelection:
    """What a read of events asks for: the latest of a kind, by the clock of the app.

    `where` names environment, service, instance or route.
    """

    start_s: int
    end_s: int
    kind: str
    where: Mapping[str, str] = field(default_factory=dict)
    limit: int = 100


@dataclass(slots=True)
class ServiceAccounting:
    """What became of every record of a service, over the life of the store.

    counted + held + agent_lost = sent; dropped records were never numbered.
    """

    environment: str
    service: str
    counted: int = 0
    sent: int = 0
    #: missing records that agents report as still on disk, at most
    held: int = 0
    agent_lost: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    backgrounds: int = 0

    @property
    def connections(self) -> int:
        """WebSocket connections and event streams that have ended."""
        return max(0, self.counted - self.requests - self.backgrounds)


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the store, as every engine has one; an engine's own figures are `details`."""

    #: why the store accepts nothing, else empty
    trouble: str
    #: new batches and repeats since the store was opened
    batches: int
    duplicates: int
    #: accepted and not yet durable
    waiting_bytes: int
    #: why compaction stands still, else empty
    compaction: str
    #: part of the data -> what is wrong with it
    damage: Mapping[str, str]
    #: series in memory
    series: int
    #: latest values of gauges that found no place, since the start
    gauges_left_out: int
    #: measures and events that were not stored beside their batch, since the start
    rows_left_out: int

    def details(self) -> Mapping[str, Any]:
        """Return what only this engine has to say, by the names that `/health` shows."""
        return {}


#: Called with new batches once they are durable and reads have them; see `Store.on_commit`.
CommitListener = Callable[[Sequence[Received]], None]


class Store(Protocol):
    """Keeps batches and answers reads; each engine has a folder.

    Methods that read may take long. Call them from any thread but the loop's, unless they say
    otherwise.
    """

    #: what was over a quota, by reason, key and agent
    over: SenderTally

    # ------------------------------------------------ life

    def start(self) -> None:
        """Start the engine's helpers, which merge and delete. Once, loop only."""

    def close(self) -> None:
        """Stop the helpers, commit what was accepted, then release the data."""

    # ------------------------------------------------ writing

    def number(self, batch: Batch, window_s: int, admit: Admit) -> Numbered:
        """Return the checked points of a batch that is to be stored under window_s.

        New series are numbered, but only if `admit` accepts their services and the whole batch is
        well-formed. Any thread; a quick look-up if the same series came before. Raises BatchError,
        and whatever admit raises.
        """

    async def append(self, received: Received) -> bool:
        """Store a batch and return once it is durable; True if it was here before.

        Loop only. Raises UnavailableError if it cannot be stored now, UnstorableError if it never
        can be; then nothing of it is.
        """

    def show(self, received: Received) -> None:
        """Accept a live summary: readable at once, never stored. Loop only."""

    def note_held(self, batch: Batch, held: int) -> None:
        """Note how many records an agent holds in addition to a batch; loop only."""

    def on_commit(self, listener: CommitListener) -> None:
        """Call a listener with each group of new batches, in the order of their commits.

        It is called in a thread of the engine, before the batches are acknowledged, and must be
        quick: its purpose is to wake work elsewhere. Exceptions are logged and ignored. Batches
        committed before a crash are not announced again. Before `start`.
        """

    # ------------------------------------------------ reading

    def read(self, selection: Selection) -> Rows:
        """Return merged points; raises TooMuchError before reading too much."""

    def read_gauges(self, selection: GaugeSelection) -> GaugeRows:
        """Return the history of gauges; raises TooMuchError."""

    def read_measures(self, selection: MeasureSelection) -> list[MeasurePart]:
        """Return what was added to measures, by group and then step; raises TooMuchError."""

    def read_events(self, selection: EventSelection) -> list[EventRow]:
        """Return the latest events of a kind, the latest first."""

    def latest_gauges(self, now_s: float) -> list[LatestGauge]:
        """Return the latest value of every gauge that was read recently. Any thread, quick."""

    def series_names(self) -> Sequence[SeriesKey]:
        """Return the series in memory, and those that sum them up. Any thread, quick."""

    def measure_names(self) -> Sequence[tuple[str, str, str, MeasureKey]]:
        """Return environment, service, instance and key of every measure. Any thread, quick."""

    def arrived(
        self, start_s: int, end_s: int, gap_s: int, *, live: bool = False
    ) -> tuple[int, int] | None:
        """Return start and end of the latest run of windows that arrived within [start_s, end_s).

        A run has no gap wider than gap_s. None if the head holds no window there. Any thread,
        quick.
        """

    def accounting(self) -> list[ServiceAccounting]:
        """Return what became of the records of every service. Any thread."""

    def health(self) -> Health:
        """Return the state of the store. Any thread, never waits for a commit."""

    # ------------------------------------------------ upkeep

    def compact(self, now_s: float) -> int:
        """Merge what is due and delete what is too old, now; returns the number of batches merged.

        The helpers of `start` do this without being asked; this is for tests and tools.
        """
