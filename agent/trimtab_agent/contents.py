"""What is written of a closed window, and whose each part of it is. Loop only."""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from trimtab_agent.aggregator import Window
from trimtab_agent.app import App, other_series
from trimtab_agent.peers import NOBODY, Holder, Sharer, owner_of
from trimtab_agent.tables import Own
from trimtab_core.batches import GaugeRow, Point, ProcessAccounting, SeriesKey
from trimtab_core.measures import Delta
from trimtab_core.rows import MeasureRow, PackedEvent, packed_rows

__all__ = ["NO_ONE", "Contents", "OwnedRows"]

#: Bytes of rows that are packed at once: wide histograms take some 60 ms.
_PACKED_AT_ONCE: Final = 384 * 1024
#: Bytes in a batch, approximately: of a point, a measure, the accounting of a process, a gauge; and
#: of one bucket or range.
_ROW_BYTES: Final = 100
_ENTRY_BYTES: Final = 4

#: Stands for everybody who is not kept apart.
NO_ONE: Final = ("", False, (-1, "", ""))

_Placed = SeriesKey | ProcessAccounting | GaugeRow
_T = TypeVar("_T")


class OwnedRows:
    """Measures and events with their owners; packed when they are asked for, once each."""

    def __init__(
        self,
        named: Sequence[tuple[Sharer, dict[Own, Delta]]] = (),
        others: Mapping[Sharer, dict[Own, Delta]] | None = None,
        events: Sequence[tuple[Holder, PackedEvent]] = (),
    ) -> None:
        self._others = dict(others or {})
        self._named = [(owner, deltas, self._others.pop(owner, {})) for owner, deltas in named]
        self._named += [(owner, deltas, {}) for owner, deltas in self._others.items()]
        self._events = events

    def __iter__(self) -> Iterator[bytes]:
        """Yield all rows as binaries, each of which takes up to some 50 ms to pack."""
        return self.packed(lambda holder: True)

    def packed(
        self, wanted: Callable[[Holder], bool], most_bytes: int = _PACKED_AT_ONCE
    ) -> Iterator[bytes]:
        """Yield the rows of some as binaries of up to so many bytes, or of one row each."""
        named = (each for each in self._named if wanted(each[0].holder))
        rows = (row for each in named for row in _rows(*each))
        events = (event for holder, event in self._events if wanted(holder))
        return packed_rows(rows, events, min(most_bytes, _PACKED_AT_ONCE))

    def sizes(self) -> Counter[Holder]:
        """Return how many bytes each has, approximately."""
        sizes: Counter[Holder] = Counter()
        for owner, *tables in self._named:
            for deltas in tables:
                buckets = sum(len(delta.buckets) for delta in deltas.values())
                sizes[owner.holder] += _ROW_BYTES * len(deltas) + _ENTRY_BYTES * buckets
        for holder, event in self._events:
            sizes[holder] += len(event.data)
        return sizes


@dataclass(frozen=True, slots=True)
class Contents:
    """A window and what goes along with it; apps are those whose it is."""

    window: Window
    rows: OwnedRows
    accounting: Sequence[ProcessAccounting] = ()
    gauges: Sequence[GaugeRow] = ()
    #: some of the rows only
    wanted: Callable[[Holder], bool] = field(default=lambda holder: True)

    def packed_rows(self, most_bytes: int) -> Iterator[bytes]:
        """Yield the rows as binaries of up to so many bytes, or of one row each."""
        return self.rows.packed(self.wanted, most_bytes)

    def sizes(self, apps: Iterable[App]) -> Counter[Holder]:
        """Return how many bytes each has in it, approximately."""
        owners = _Owners(apps)
        sizes = self.rows.sizes()
        for key, point in self.window.points.items():
            sizes[owners.of(key)] += _size_of(point)
        for process in self.accounting:
            sizes[owners.of(process)] += _ROW_BYTES + _ENTRY_BYTES * len(process.ranges)
        for gauge in self.gauges:
            sizes[owners.of(gauge)] += _ROW_BYTES + len(gauge.name)
        return sizes

    def parted(self, apart: Container[Holder], apps: Iterable[App]) -> dict[Holder, "Contents"]:
        """Return what each of some has; what is of all the others is under NO_ONE, first."""
        owners = _Owners(apps)

        def part_of(row: _Placed) -> Holder:
            holder = owners.of(row)
            return holder if holder in apart else NO_ONE

        points: defaultdict[Holder, dict[SeriesKey, Point]] = defaultdict(dict)
        for key, point in self.window.points.items():
            points[part_of(key)][key] = point
        accounting = _grouped(self.accounting, part_of)
        gauges = _grouped(self.gauges, part_of)
        holders = [holder for holder in self.rows.sizes() if holder in apart]
        parts = {}
        for holder in dict.fromkeys([NO_ONE, *points, *accounting, *gauges, *holders]):
            is_wanted = (lambda each: each not in apart) if holder == NO_ONE else holder.__eq__
            parts[holder] = Contents(
                self._with(points[holder]),
                self.rows,
                accounting[holder],
                gauges[holder],
                is_wanted,
            )
        return parts

    def fitted(self, most_bytes: int) -> tuple["Contents", "Contents"]:
        """Return the requests in about so many bytes, and then the rest.

        All requests are in them, with their accounting: the largest series become `other`.
        """
        points: dict[SeriesKey, Point] = {}
        size = 0
        ranked = sorted(self.window.points.items(), key=lambda item: _size_of(item[1]))
        folded: defaultdict[SeriesKey, Point] = defaultdict(Point)
        for key, point in ranked:
            size += _size_of(point)
            if size <= most_bytes:
                points[key] = point
            else:
                folded[other_series(key)].merge(point)
        for key, point in folded.items():
            if key in points:
                point.merge(points[key])
            points[key] = point
        requests = Contents(self._with(points), OwnedRows(), self.accounting)
        rest = Contents(self._with({}), self.rows, (), self.gauges, self.wanted)
        return requests, rest

    def _with(self, points: dict[SeriesKey, Point]) -> Window:
        window = Window(self.window.start_s)
        window.offset_us, window.points = self.window.offset_us, points
        return window


def _size_of(point: Point) -> int:
    return _ROW_BYTES + _ENTRY_BYTES * (len(point.buckets) + len(point.statuses))


class _Owners:
    """Who sends as an instance of a service."""

    def __init__(self, apps: Iterable[App]) -> None:
        self._of = {
            (app.hello.environment, app.hello.service, app.instance): app.owner.holder
            for app in apps
        }

    def of(self, row: _Placed) -> Holder:
        found = self._of.get((row.environment, row.service, row.instance))
        return found or owner_of(NOBODY, row.environment, row.service).holder


def _grouped(rows: Iterable[_T], key: Callable[[_T], Holder]) -> defaultdict[Holder, list[_T]]:
    groups: defaultdict[Holder, list[_T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _rows(
    owner: Sharer, deltas: dict[Own, Delta], others: dict[Own, Delta]
) -> Iterator[MeasureRow]:
    environment, service = owner.service
    for (instance, key), delta in deltas.items():
        # A measure without attributes is its own `other`.
        if others and (more := others.pop((instance, key), None)) is not None:
            delta.merge(more)
        yield MeasureRow(environment, service, instance, key, delta)
    for (instance, key), delta in others.items():
        yield MeasureRow(environment, service, instance, key, delta)
