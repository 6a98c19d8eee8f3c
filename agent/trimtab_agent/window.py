"""Makes batches of a closed window, cut between instances.

All series of an instance and the accounting of its processes travel in one batch. So a batch that
is lost on the way takes its records and the claim on them with it, and what is missing shows as a
gap. Only an instance with too many series or processes for one batch is cut itself.

Each part of a batch has bounds of its own, in items and in bytes as they are packed. Together they
are within those of a batch, so that what an app names or says a lot of costs nobody else anything.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Final, TypeVar

from trimtab_agent.aggregator import Window
from trimtab_agent.app import App
from trimtab_agent.names import NamesInUse
from trimtab_core.batches import (
    MAX_POINTS,
    Batch,
    GaugeRow,
    Point,
    ProcessAccounting,
    SeriesKey,
    columns_of,
    pack_series,
    packed_size,
)

__all__ = ["SLICE", "accounting_of", "batches_of", "gauges_of", "parted"]

#: Points per batch, unless one instance has more: 512 take about 4 ms, then the event loop turns.
SLICE: Final = 512
#: Lists and maps that the accounting in one batch is made of, ranges of records among them: the
#: collector takes 16,384 ranges.
_MOST_CLAIMS: Final = 15_000
#: Gauges in one batch, and processes: the collector reads lists of up to 20,000.
_MOST_GAUGES: Final = 5_000
#: Bytes of the series, the accounting and the gauges in one batch. With the rows, of which there
#: are up to 768 KiB, they are the header, which has up to 2 MiB.
_MOST_SERIES_BYTES: Final = 512 * 1024
_MOST_CLAIM_BYTES: Final = 320 * 1024
_MOST_GAUGE_BYTES: Final = 320 * 1024
#: Bytes of the columns, which with the header have up to 4 MiB; of a point, and of one of its
#: buckets or status codes, at most.
_MOST_COLUMN_BYTES: Final = 1536 * 1024
_POINT_BYTES: Final = 192
_ENTRY_BYTES: Final = 8

_Rows = list[tuple[SeriesKey, Point]]
_Part = tuple[Sequence[tuple[SeriesKey, Point]], Sequence[ProcessAccounting]]
_T = TypeVar("_T")


def batches_of(
    window: Window,
    *,
    agent: str,
    boot: bytes,
    first_seq: int,
    step_s: int,
    closed_mono_us: int,
    accounting: Sequence[ProcessAccounting],
    gauges: Sequence[GaugeRow],
    packed_rows: Iterable[bytes] = (),
    live: bool = False,
) -> Iterator[tuple[Batch, int]]:
    """Yield the batches of a window, at least one, with the number of requests in each.

    Their closing time is by the wall clock as it was when the window was opened, even if that clock
    has jumped since: the monotonic clock tells how long ago that was.
    """
    closed_us = closed_mono_us + window.offset_us
    # Gauges, measures and events go along with the points; what is left over in further batches.
    parts = zip_longest(
        _parts(window, accounting),
        _pieces(gauges, _MOST_GAUGES, _gauges_fit),
        packed_rows,
    )
    for index, (part, some_gauges, packed) in enumerate(parts):
        rows, covered = part or ([], [])
        points = [(at, point) for at, (_, point) in enumerate(rows)]
        yield (
            Batch(
                agent=agent,
                boot=boot,
                seq=first_seq + index,
                window_s=window.start_s,
                step_s=step_s,
                closed_us=closed_us,
                closed_mono_us=closed_mono_us,
                series=pack_series(key for key, _ in rows),
                points=len(points),
                columns=columns_of(points),
                processes=covered,
                gauges=some_gauges or (),
                live=live,
                rows=packed or b"",
            ),
            sum(sum(point.buckets.values()) for _, point in rows),
        )


def parted(batch: Batch) -> list[Batch]:
    """Return a batch as several with less in each, for one that cannot be encoded as it is.

    Empty for one with a single thing in it, or with points, whose accounting belongs to them.
    """
    kinds = []
    if batch.points or batch.processes:
        kinds.append(replace(batch, gauges=(), rows=b""))
    if batch.gauges:
        kinds.append(replace(_bare(batch), gauges=batch.gauges))
    if batch.rows:
        kinds.append(replace(_bare(batch), rows=batch.rows))
    if len(kinds) > 1:
        return kinds
    if len(batch.gauges) > 1:
        return [replace(batch, gauges=some) for some in _halves(batch.gauges)]
    if not batch.points and len(batch.processes) > 1:
        return [replace(batch, processes=some) for some in _halves(batch.processes)]
    return []


def _bare(batch: Batch) -> Batch:
    return replace(batch, series=b"\x90", points=0, columns={}, processes=(), gauges=(), rows=b"")


def _halves(rows: Sequence[_T]) -> list[Sequence[_T]]:
    middle = len(rows) // 2
    return [some for some in (rows[:middle], rows[middle:]) if some]


def _parts(window: Window, accounting: Sequence[ProcessAccounting]) -> Iterator[_Part]:
    instances: dict[tuple[str, str, str], tuple[_Rows, list[ProcessAccounting]]] = {}
    for key, point in sorted(window.points.items()):
        place = (key.environment, key.service, key.instance)
        instances.setdefault(place, ([], []))[0].append((key, point))
    for process in accounting:
        place = (process.environment, process.service, process.instance)
        instances.setdefault(place, ([], []))[1].append(process)
    rows: _Rows = []
    covered: list[ProcessAccounting] = []
    claims = 0
    for own_rows, own_accounts in instances.values():
        own_claims = _claims(own_accounts)
        is_full = len(rows) + len(own_rows) > SLICE or claims + own_claims > _MOST_CLAIMS
        if is_full and (rows or covered):
            yield from _bounded(rows, covered)
            rows, covered, claims = [], [], 0
        rows += own_rows
        covered += own_accounts
        claims += own_claims
    yield from _bounded(rows, covered)


def _bounded(rows: _Rows, covered: list[ProcessAccounting]) -> Iterator[_Part]:
    """Yield rows and accounting of one instance or several in parts that a batch has room for."""
    for some, piece in zip_longest(
        _pieces(rows, MAX_POINTS, _rows_fit), _pieces(covered, _MOST_GAUGES, _accounting_fits)
    ):
        yield some or [], piece or []


def _pieces(
    rows: Sequence[_T], most: int, fits: Callable[[Sequence[_T]], bool]
) -> Iterator[Sequence[_T]]:
    """Yield rows in order, in pieces of up to so many that fit; one by one at worst."""
    for at in range(0, len(rows), most):
        yield from _fitting(rows[at : at + most], fits)


def _fitting(rows: Sequence[_T], fits: Callable[[Sequence[_T]], bool]) -> Iterator[Sequence[_T]]:
    if len(rows) < 2 or fits(rows):
        yield rows
        return
    for half in _halves(rows):
        yield from _fitting(half, fits)


def _rows_fit(rows: Sequence[tuple[SeriesKey, Point]]) -> bool:
    entries = sum(len(point.buckets) + len(point.statuses) for _, point in rows)
    return (
        _POINT_BYTES * len(rows) + _ENTRY_BYTES * entries <= _MOST_COLUMN_BYTES
        and len(pack_series(key for key, _ in rows)) <= _MOST_SERIES_BYTES
    )


def _gauges_fit(gauges: Sequence[GaugeRow]) -> bool:
    return packed_size(gauges) <= _MOST_GAUGE_BYTES


def _accounting_fits(processes: Sequence[ProcessAccounting]) -> bool:
    if _claims(processes) > _MOST_CLAIMS:
        return False
    return packed_size(processes) <= _MOST_CLAIM_BYTES


def _claims(processes: Sequence[ProcessAccounting]) -> int:
    """Return how many lists and maps accounting is made of."""
    return sum(3 + len(process.ranges) for process in processes)


def accounting_of(
    window: Window,
    apps: Mapping[bytes, App],
    open_ranges: Mapping[bytes, int],
    processes: Iterable[bytes] | None = None,
) -> list[ProcessAccounting]:
    """Return the accounting of processes at the close of a window, else of all that are known."""
    return [
        apps[process].accounting(window.ranges.get(process, []), open_ranges.get(process))
        for process in (apps if processes is None else processes)
        if process in apps
    ]


def gauges_of(
    apps: Mapping[bytes, App],
    host: str,
    host_gauges: Mapping[str, float],
    names: NamesInUse,
    probed: Sequence[GaugeRow] = (),
) -> list[GaugeRow]:
    """Return the latest gauges of the connected apps, of the host, and of what is probed.

    Gauges of apps over their bound of names are left out: they have no sum.
    """
    gauges = [GaugeRow("", "", host, name, value) for name, value in host_gauges.items()]
    gauges += probed
    for app in apps.values():
        if app.connected:
            hello = app.hello
            gauges += [
                GaugeRow(hello.environment, hello.service, app.instance, name, value)
                for name, value in app.gauges.items()
                if names.take((app.instance, name, app.owner.service), app.owner)
            ]
    return gauges
