"""The seam between the collector and the engine that keeps its data.

All that anyone outside `storage` may ask or tell stands here. An engine merges; percentiles are
computed above it, from merged sketches, so that every engine answers the same bits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from trimtab_collector.storage.columns import Array, Columns
from trimtab_core.batches import Batch
from trimtab_core.errors import TrimtabError
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow

__all__ = [
    "Admit",
    "EventSelection",
    "GaugeRows",
    "GaugeSelection",
    "Health",
    "LatestGauge",
    "Listener",
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
]

#: Looks at the services that a batch writes for; raises to refuse it.
Admit = Callable[[Iterable[tuple[str, str]]], None]


class Numbered(NamedTuple):
    """The points of a batch under the numbers that the store knows its series by."""

    columns: Columns
    #: for each series of the batch the place of its service in `services`
    service: Array
    #: (environment, service)
    services: tuple[tuple[str, str], ...]
    #: the engine's own: what the numbers are from
    origin: object = None


class UnavailableError(TrimtabError):
    """The store cannot take this now; the same thing may be tried again after retry_after_s."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooMuchError(TrimtabError):
    """A read would take more memory or time than is allowed; the text says how to ask for less."""


@dataclass(frozen=True, slots=True)
class Received:
    """A batch that was checked and is ready to be kept."""

    batch: Batch
    #: as it came
    raw: bytes
    numbered: Numbered
    #: start of the stored window, by our clock
    window_s: int
    received_us: int
    #: when its gauges were taken, by our clock, epoch seconds
    read_s: float
    #: (environment, service) -> requests and background records of this batch
    totals: Mapping[tuple[str, str], tuple[int, int]]
    measures: Sequence[MeasureRow] = ()
    events: Sequence[EventRow] = ()

    @property
    def columns(self) -> Columns:
        """Its points."""
        return self.numbered.columns


@dataclass(frozen=True, slots=True)
class Selection:
    """What a read asks for: points by step and by fields of their series.

    Step i is [edges_s[i], edges_s[i + 1]), epoch seconds, ascending; two edges are one step. A
    point belongs to the step that its window starts in. group_by names fields of SeriesKey, and so
    does `where`, with the text that each must have.
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
        """End of the range, not in it."""
        return self.edges_s[-1]


class Rows(NamedTuple):
    """What a read found: a row for each group and step that holds something, in that order."""

    groups: list[tuple[str, ...]]
    #: place of each row's group in `groups`
    group: Array
    #: start of each row's step, epoch seconds
    t: Array
    columns: Columns
    #: the widest windows that were read, seconds: steps are as exact as that
    resolution_s: int = 10


@dataclass(frozen=True, slots=True)
class GaugeSelection:
    """What a read of the history of gauges asks for.

    Steps are those of `Selection`. A reading belongs to the window that it ends. group_by names
    fields of GaugeKey, the name always among them; `where` has any of the others.
    """

    edges_s: tuple[int, ...]
    #: exact names of gauges, None for all
    names: tuple[str, ...] | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    group_by: tuple[str, ...] = ("agent", "environment", "service", "instance", "name")

    def __post_init__(self) -> None:
        """Raise ValueError for groups that would add up gauges of different names."""
        if "name" not in self.group_by or "name" in self.where:
            raise ValueError("expected name in group_by and in no filter: it goes into names")


@dataclass(frozen=True, slots=True, eq=False)
class GaugeRows:
    """What a read of gauges found: a row for each group and step with gauges, in that order."""

    groups: list[tuple[str, ...]]
    #: place of each row's group in `groups`
    group: Array
    #: start of each row's step, epoch seconds
    t: Array
    #: gauges, and float64: their mean, the smallest, the largest
    count: Array
    mean: Array
    min: Array
    max: Array
    #: the last reading; NaN where a row has several gauges
    last: Array
    #: the sum over the row's gauges of the mean of each
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
    of different name, kind or unit are never added up; those that differ in nothing else but a
    field or attribute that is left out of group_by and attributes are.
    """

    edges_s: tuple[int, ...]
    #: exact names; one that ends with `*` stands for all that begin so
    names: tuple[str, ...]
    #: texts of environment, service, instance
    where: Mapping[str, str] = field(default_factory=dict)
    #: of environment, service, instance
    group_by: tuple[str, ...] = ("environment", "service", "instance")
    #: names of attributes that tell measures apart, None for all
    attributes: tuple[str, ...] | None = None


class MeasurePart(NamedTuple):
    """What was added to the measures of one group within one step of a read.

    Fields that are not grouped by are empty, attributes that are not are absent. `last` of several
    gauges is that of the row that came last.
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

    counted + held + agent_lost = sent; dropped came before numbering.
    """

    environment: str
    service: str
    counted: int = 0
    sent: int = 0
    #: of what has not arrived, so many lie with agents that say so, at the most
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
    """How the store does; a text in `trouble` says why it takes nothing."""

    trouble: str
    batches: int
    duplicates: int
    journal_batches: int
    journal_bytes: int
    waiting_bytes: int
    #: tier -> files and their bytes
    tiers: Mapping[str, tuple[int, int]]
    #: why batches are not merged into tiers, empty when they are; and who merges them
    compaction: str
    worker: int | None
    #: file -> what is wrong with it
    damage: Mapping[str, str]
    series: int
    recent_bytes: int


#: Called with new batches once they are durable and in every read; see `Store.on_commit`.
Listener = Callable[[Sequence[Received]], None]


class Store(Protocol):
    """Keeps batches and answers reads; one engine a folder.

    Methods that read may take long and belong to any thread but the loop's, unless they say
    otherwise.
    """

    # ------------------------------------------------ life

    def start(self) -> None:
        """Start the engine's own helpers: what merges, drops and tidies up. Once, loop only."""

    def close(self) -> None:
        """Stop the helpers, finish what was taken, then let go of the data."""

    # ------------------------------------------------ writing

    def number(self, batch: Batch, window_s: int, admit: Admit) -> Numbered:
        """Return the checked points of a batch that is to be kept under window_s.

        Names that are new get a number with it, but only when `admit` lets their services pass and
        the whole batch is well-formed. Any thread; a quick look-up for a batch whose series came
        before. Raises BatchError, and whatever admit raises.
        """

    async def append(self, received: Received) -> bool:
        """Keep a batch and return once it is durable; True when it was here before.

        Loop only. Raises UnavailableError when it cannot be kept now: nothing of it is.
        """

    def show(self, received: Received) -> None:
        """Take a live summary: readable at once, never stored. Loop only."""

    def note_held(self, batch: Batch, held: int) -> None:
        """Take how many records an agent holds besides a batch; loop only."""

    def on_commit(self, listener: Listener) -> None:
        """Call a listener with each group of new batches, in the order of their commits.

        It is called from a thread of the engine, before the batches are acknowledged, and must be
        quick: it wakes what works elsewhere. An exception of it is logged and harms nobody. After a
        crash, batches that were durable are not told again. Before `start` only.
        """

    # ------------------------------------------------ reading

    def read(self, selection: Selection) -> Rows:
        """Return merged points; raises TooMuchError before it reads too much."""

    def read_gauges(self, selection: GaugeSelection) -> GaugeRows:
        """Return what gauges came to over time; raises TooMuchError."""

    def read_measures(self, selection: MeasureSelection) -> list[MeasurePart]:
        """Return what was added to measures, by group and then step; raises TooMuchError."""

    def read_events(self, selection: EventSelection) -> list[EventRow]:
        """Return the latest events of a kind, the latest first."""

    def latest_gauges(self, now_s: float) -> list[LatestGauge]:
        """Return the latest value of every gauge that is not stale. Any thread, quick."""

    def arrived(
        self, start_s: int, end_s: int, gap_s: int, *, live: bool = False
    ) -> tuple[int, int] | None:
        """Return start and end of the latest run of windows that arrived within [start_s, end_s).

        A run has no hole wider than gap_s. None when nothing lies there, or only what memory has
        let go of. Any thread, quick.
        """

    def accounting(self) -> list[ServiceAccounting]:
        """Return what became of the records of every service. Any thread."""

    def health(self) -> Health:
        """Return how the store does. Any thread, never waits for a commit."""

    # ------------------------------------------------ upkeep

    def compact(self, now_s: float) -> int:
        """Merge what is due and drop what is too old, here and now; returns the batches merged.

        What the helpers of `start` do by themselves; for tests and tools.
        """
