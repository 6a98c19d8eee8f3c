"""The seam between the collector and the engine that keeps its data.

An engine merges; percentiles are computed above it, from merged sketches, so that every engine
answers the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from trimtab_collector.storage.columns import Array, Columns
from trimtab_core.batches import Batch
from trimtab_core.errors import TrimtabError
from trimtab_core.rows import EventRow, MeasureRow

__all__ = [
    "GaugeRows",
    "GaugeSelection",
    "Health",
    "Received",
    "Rows",
    "Selection",
    "ServiceAccounting",
    "Store",
    "TooMuchError",
    "UnavailableError",
]


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
    columns: Columns
    #: start of the stored window, by our clock
    window_s: int
    received_us: int
    #: when its gauges were taken, by our clock, epoch seconds
    read_s: float
    #: (environment, service) -> requests and background records of this batch
    totals: Mapping[tuple[str, str], tuple[int, int]]
    measures: Sequence[MeasureRow] = ()
    events: Sequence[EventRow] = ()


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


class Store(Protocol):
    """Keeps batches and answers reads; one engine a file."""

    async def append(self, received: Received) -> bool:
        """Keep a batch and return once it is durable; True when it was here before.

        Loop only. Raises UnavailableError when it cannot be kept now: nothing of it is.
        """

    def note_held(self, batch: Batch, held: int) -> None:
        """Take how many records an agent holds besides a batch; loop only."""

    def read(self, selection: Selection) -> Rows:
        """Return merged points; from any thread, not from the loop (it may take long).

        Raises TooMuchError before it reads when the selection is too large.
        """

    def read_gauges(self, selection: GaugeSelection) -> GaugeRows:
        """Return what gauges came to over time; where and how as `read`."""

    def accounts(self) -> list[ServiceAccounting]:
        """Return the account of every service; from any thread."""

    def health(self) -> Health:
        """Return how the store does; from any thread, never waits for a commit."""

    def compact(self, now_s: float) -> int:
        """Merge what is due and drop what is too old; returns the batches merged. Any thread."""

    def close(self) -> None:
        """Finish what was taken, then let go of the data."""
