"""Makes batches of a closed window, cut between instances.

All series of an instance and the accounting of its processes travel in one batch. So a batch that
is lost on the way takes its records and the claim on them with it, and what is missing shows as a
gap. Only an instance with too many series or processes for one batch is cut itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from trimtab_agent.aggregator import Window
from trimtab_agent.app import App
from trimtab_core.batches import (
    MAX_POINTS,
    Batch,
    GaugeRow,
    Point,
    ProcessAccounting,
    SeriesKey,
    columns_of,
    pack_series,
)

__all__ = ["SLICE", "accounting_of", "batches_of", "gauges_of"]

#: Points per batch, unless one instance has more: 512 take about 4 ms, then the event loop turns.
SLICE: Final = 512
#: Processes, and ranges of their records, in one batch.
_MOST_CLAIMS: Final = 10_000
#: Gauges in one batch; the collector reads lists of up to 20,000.
_MOST_GAUGES: Final = 5_000
#: Bytes of the series in one batch: they are part of the header, which has up to 2 MiB.
_MOST_SERIES_BYTES: Final = 2**20

_Rows = list[tuple[SeriesKey, Point]]
_Part = tuple[_Rows, list[ProcessAccounting]]


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
    packed_rows: Sequence[bytes] = (),
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
        (gauges[at : at + _MOST_GAUGES] for at in range(0, len(gauges), _MOST_GAUGES)),
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


def _parts(window: Window, accounting: Sequence[ProcessAccounting]) -> Iterator[_Part]:
    instances: dict[tuple[str, str, str], _Part] = {}
    for key, point in sorted(window.points.items()):
        place = (key.environment, key.service, key.instance)
        instances.setdefault(place, ([], []))[0].append((key, point))
    for process in accounting:
        place = (process.environment, process.service, process.instance)
        instances.setdefault(place, ([], []))[1].append(process)
    rows: _Rows = []
    covered: list[ProcessAccounting] = []
    for own_rows, own_accounts in instances.values():
        is_full = len(rows) + len(own_rows) > SLICE
        if (rows or covered) and (is_full or _claims(covered + own_accounts) > _MOST_CLAIMS):
            yield from _bounded(rows, covered)
            rows, covered = [], []
        rows += own_rows
        covered += own_accounts
    yield from _bounded(rows, covered)


def _bounded(rows: _Rows, covered: list[ProcessAccounting]) -> Iterator[_Part]:
    """Yield rows and accounting of one instance or several in parts that a batch has room for."""
    most = MAX_POINTS
    if len(rows) > SLICE:
        size = len(pack_series(key for key, _ in rows))
        # Lengths of names differ little within an instance; half the header is room enough.
        most = min(most, max(SLICE, len(rows) * _MOST_SERIES_BYTES // size))
    pieces: list[list[ProcessAccounting]] = [[]]
    for process in covered:
        if pieces[-1] and _claims([*pieces[-1], process]) > _MOST_CLAIMS:
            pieces.append([])
        pieces[-1].append(process)
    starts = range(0, len(rows), most)
    for start, piece in zip_longest(starts, pieces):
        yield [] if start is None else rows[start : start + most], piece or []


def _claims(processes: Sequence[ProcessAccounting]) -> int:
    return sum(1 + len(process.ranges) for process in processes)


def accounting_of(
    window: Window, apps: Mapping[bytes, App], open_ranges: Mapping[bytes, int]
) -> list[ProcessAccounting]:
    """Return the accounting of all known processes at the close of a window."""
    return [
        app.accounting(window.ranges.get(process, []), open_ranges.get(process))
        for process, app in apps.items()
    ]


def gauges_of(
    apps: Mapping[bytes, App],
    host: str,
    host_gauges: Mapping[str, float],
    probed: Sequence[GaugeRow] = (),
) -> list[GaugeRow]:
    """Return the latest gauges of the connected apps, of the host, and of what is probed."""
    gauges = [GaugeRow("", "", host, name, value) for name, value in host_gauges.items()]
    gauges += probed
    for app in apps.values():
        if app.connected:
            hello = app.hello
            gauges += [
                GaugeRow(hello.environment, hello.service, app.instance, name, value)
                for name, value in app.gauges.items()
            ]
    return gauges
