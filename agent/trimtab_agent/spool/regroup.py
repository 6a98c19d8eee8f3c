"""Batches made from batches: several merged into a coarser window, or one cut into halves.

Sums, counts and sketches are added. The accounting of app processes is united: all ranges, the
highest `sent`, the highest number dropped per reason. The latest value of a gauge counts. Nothing
is rounded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from trimtab_core.batches import (
    MAX_POINTS,
    Batch,
    GaugeRow,
    Point,
    ProcessAccounting,
    SeriesKey,
    columns_of,
    decode,
    decode_series,
    encode,
    pack_series,
    values_of,
)
from trimtab_core.columns import BUCKET_COLUMNS, POINT_COLUMNS, STATUS_COLUMNS
from trimtab_core.errors import BatchError, TooLargeError
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.rows import MAX_ROWS, EventRow, MeasureRow, pack_rows, unpack_rows

__all__ = ["halved", "is_only_of", "merged", "parted", "points_of"]

#: The collector reads headers of up to 50,000 lists and maps, and lists of up to 20,000 items.
_MOST_ROWS: Final = 15_000
_MOST_EVENTS: Final = 1000
#: Sequence numbers of an agent stay below this. The bits above it say which part of a batch it is.
_PART: Final = 1 << 40
_SUMS: Final = frozenset(POINT_COLUMNS[1:-1]) - {"max_us"}
_OTHERS: Final = frozenset(("series", "max_us", "buckets", *BUCKET_COLUMNS, *STATUS_COLUMNS))

_Rows = list[tuple[SeriesKey, Point]]
_Owned = SeriesKey | ProcessAccounting | GaugeRow | MeasureRow | EventRow
_Where = tuple[str, str, str]


def points_of(batch: Batch) -> _Rows:
    """Return the points of a batch; raises BatchError when they do not fit together."""
    keys = decode_series(batch.series)
    columns = {name: values_of(column) for name, column in batch.columns.items()}
    none = [0] * batch.points
    points = [Point() for _ in none]
    if unknown := set(columns) - _SUMS - _OTHERS:
        raise BatchError(f"expected known columns, got {sorted(unknown)}")
    for name in columns.keys() & (_SUMS | {"max_us"}):
        for point, value in zip(points, columns[name], strict=True):
            setattr(point, name, value)
    counts = columns.get("counts", ())
    steps = columns.get("indexes", [0] * len(counts))
    at = 0
    for point, buckets in zip(points, columns.get("buckets", none), strict=True):
        bucket = 0
        for place in range(at, at + buckets):
            bucket += steps[place]
            point.buckets[bucket] = point.buckets.get(bucket, 0) + counts[place]
        at += buckets
    _add_statuses(columns, points)
    try:
        return [
            (keys[index], point)
            for index, point in zip(columns.get("series", none), points, strict=True)
        ]
    except IndexError:
        raise BatchError(f"expected series below {len(keys)}, got more") from None


def _add_statuses(columns: Mapping[str, Sequence[int]], points: Sequence[Point]) -> None:
    sizes, codes, counts = (columns.get(name, ()) for name in STATUS_COLUMNS)
    pairs = zip(codes or [0] * len(counts), counts, strict=True)
    for point, size in zip(points, sizes or [0] * len(points), strict=True):
        for code, count in islice(pairs, size):
            point.statuses[code] = point.statuses.get(code, 0) + count


def merged(batches: Sequence[Batch], step_s: int) -> Batch:
    """Return the sum of batches of one agent and boot whose windows lie in one window of step_s.

    Its sequence number is the lowest of theirs. Raises BatchError when a batch is not well formed,
    TooLargeError when the sum is over the bounds of a batch.
    """
    batches = sorted(batches, key=lambda batch: (batch.window_s, batch.seq))
    points: dict[SeriesKey, Point] = {}
    for batch in batches:
        for key, point in points_of(batch):
            if key in points:
                points[key].merge(point)
            else:
                points[key] = point
    # Both clocks were read at one moment, and the collector compares them.
    last = max(batches, key=lambda batch: (batch.closed_mono_us, batch.closed_us))
    gauges = {gauge[:4]: gauge for batch in batches for gauge in batch.gauges}
    whole = replace(
        batches[0],
        seq=min(batch.seq for batch in batches),
        window_s=batches[0].window_s // step_s * step_s,
        step_s=step_s,
        closed_us=last.closed_us,
        closed_mono_us=last.closed_mono_us,
        processes=_united(process for batch in batches for process in batch.processes),
        gauges=list(gauges.values()),
        rows=_rows_of(batches),
    )
    return _bounded(_with(whole, sorted(points.items(), key=lambda row: (_where(row[0]), row[0]))))


def halved(payload: bytes, samples: int) -> list[tuple[bytes, int]] | None:
    """Return a packed batch as two, each with its number of requests.

    None for a batch of fewer than two points. If there are several instances, the cut is between
    two of them: a half that is lost takes the accounting of its processes with it, so what is
    missing shows as a gap. Within one instance each half claims as many records as it holds. It is
    unknown which ones, but accounting is about how many. The sequence numbers of the halves follow
    from that of the whole and from the place of the cut, so cutting again makes the same batches.
    """
    try:
        batch = decode(payload)
        rows = sorted(points_of(batch), key=lambda row: _where(row[0]))
        if len(rows) < 2:
            return None
        cut = _cut(rows)
        first, second = rows[:cut], rows[cut:]
        here = {_where(key) for key, _ in first}
        if here.isdisjoint(_where(key) for key, _ in second):
            ours, theirs = _by_place(batch.processes, here)
        else:
            ours, theirs = _by_count(batch.processes, _records(first), _records(rows))
        near: list[GaugeRow] = [gauge for gauge in batch.gauges if gauge[:3] in here]
        far = [gauge for gauge in batch.gauges if gauge[:3] not in here]
        packed, rest = _rows_halved(batch.rows)
        half = replace(batch, processes=ours, gauges=near, rows=packed)
        other = replace(batch, seq=batch.seq + cut * _PART, processes=theirs, gauges=far)
        parts = _with(half, first), _with(replace(other, rows=rest), second)
        count = sum(sum(point.buckets.values()) for _, point in first)
        return [
            (encode(parts[0]), min(count, samples)),
            (encode(parts[1]), max(samples - count, 0)),
        ]
    except (BatchError, TooLargeError, ValueError, OverflowError):
        return None


def parted(
    payload: bytes, samples: int, environment: str, service: str
) -> list[tuple[bytes, int]] | None:
    """Return a packed batch as one without a service and one of it alone, each with its requests.

    None for a batch that has nothing of it, or nothing else. The sequence numbers are as those of
    halves.
    """

    def is_its(row: _Owned) -> bool:
        return row.environment == environment and row.service == service

    try:
        batch = decode(payload)
        points = points_of(batch)
        measures, events = unpack_rows(batch.rows)
        parts: list[tuple[bytes, int]] = []
        for wanted in (False, True):
            rows = [row for row in points if is_its(row[0]) is wanted]
            processes = [row for row in batch.processes if is_its(row) is wanted]
            gauges = [row for row in batch.gauges if is_its(row) is wanted]
            packed = pack_rows(
                [row for row in measures if is_its(row) is wanted],
                [row for row in events if is_its(row) is wanted],
            )
            if not (rows or processes or gauges or packed):
                return None
            seq = batch.seq + (_PART * max(1, len(points) - len(rows)) if wanted else 0)
            part = replace(
                batch,
                seq=seq,
                processes=processes,
                gauges=gauges,
                rows=packed[0] if packed else b"",
            )
            count = sum(sum(point.buckets.values()) for _, point in rows)
            parts.append((encode(_with(part, rows)), min(count, samples)))
        (rest, _), (its, own) = parts
        return [(rest, samples - own), (its, own)]
    except (BatchError, TooLargeError, ValueError, OverflowError):
        return None


def is_only_of(payload: bytes, environment: str, service: str) -> bool:
    """Tell whether a packed batch has rows of one service, and none of any other."""
    try:
        batch = decode(payload)
        measures, events = unpack_rows(batch.rows)
        series = decode_series(batch.series)
    except (BatchError, TooLargeError, ValueError, OverflowError):
        return False
    rows: list[_Owned] = [*series, *batch.processes, *batch.gauges, *measures, *events]
    return {(row.environment, row.service) for row in rows} == {(environment, service)}


def _rows_of(batches: Sequence[Batch]) -> bytes:
    """Return the measures of batches in order, added up, and their events."""
    deltas: dict[tuple[str, str, str, MeasureKey], Delta] = {}
    events: list[EventRow] = []
    for batch in batches:
        measures, some = unpack_rows(batch.rows)
        events += some
        for row in measures:
            deltas.setdefault(row[:4], Delta()).merge(row.delta)
    rows = (MeasureRow(*whose, delta) for whose, delta in deltas.items())
    packed = pack_rows(rows, events[-_MOST_EVENTS:])
    if len(packed) > 1:
        raise TooLargeError(f"the rows of a batch hold at most {MAX_ROWS} bytes")
    return packed[0] if packed else b""


def _rows_halved(packed: bytes) -> tuple[bytes, bytes]:
    measures, events = unpack_rows(packed)
    cut, at = len(measures) // 2, len(events) // 2
    halves = (pack_rows(measures[:cut], events[:at]), pack_rows(measures[cut:], events[at:]))
    first, second = (half[0] if half else b"" for half in halves)
    return first, second


def _with(batch: Batch, rows: _Rows) -> Batch:
    try:
        columns = columns_of([(index, point) for index, (_, point) in enumerate(rows)])
    except OverflowError as error:
        raise TooLargeError("a sum of points is over 64 bits") from error
    series = pack_series(key for key, _ in rows)
    return replace(batch, series=series, points=len(rows), columns=columns)


def _bounded(batch: Batch) -> Batch:
    rows = batch.points + len(batch.gauges)
    rows += sum(3 + len(process.ranges) for process in batch.processes)
    if batch.points > MAX_POINTS or rows > _MOST_ROWS:
        raise TooLargeError(f"a batch holds at most {MAX_POINTS} points, {_MOST_ROWS} rows in all")
    return batch


def _where(row: SeriesKey | ProcessAccounting | GaugeRow) -> _Where:
    return row.environment, row.service, row.instance


def _united(processes: Iterable[ProcessAccounting]) -> list[ProcessAccounting]:
    united: dict[tuple[bytes, _Where], ProcessAccounting] = {}
    for process in processes:
        name = (process.process, _where(process))
        before = united.get(name)
        if before is None:
            united[name] = process
            continue
        dropped = dict(before.dropped)
        for reason, count in process.dropped.items():
            dropped[reason] = max(dropped.get(reason, 0), count)
        united[name] = process._replace(
            ranges=_joined([*before.ranges, *process.ranges]),
            sent=max(before.sent, process.sent),
            dropped=dropped,
        )
    return list(united.values())


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, count in sorted(ranges):
        if joined and first <= sum(joined[-1]):
            begin, length = joined[-1]
            joined[-1] = (begin, max(length, first + count - begin))
        else:
            joined.append((first, count))
    return joined


def _cut(rows: _Rows) -> int:
    """Return where to cut: between two instances as near to the middle as possible, or there."""
    middle = len(rows) // 2
    between = [
        index
        for index in range(1, len(rows))
        if _where(rows[index - 1][0]) != _where(rows[index][0])
    ]
    return min(between, key=lambda index: abs(index - middle), default=middle)


def _records(rows: _Rows) -> int:
    return sum(
        sum(point.buckets.values()) + point.backgrounds + point.websockets + point.event_streams
        for _, point in rows
    )


def _by_place(
    processes: Iterable[ProcessAccounting], here: set[_Where]
) -> tuple[list[ProcessAccounting], list[ProcessAccounting]]:
    processes = list(processes)
    return (
        [process for process in processes if _where(process) in here],
        [process for process in processes if _where(process) not in here],
    )


def _by_count(
    processes: Iterable[ProcessAccounting], part: int, whole: int
) -> tuple[list[ProcessAccounting], list[ProcessAccounting]]:
    """Share claims by number of records; what was sent and dropped goes with the second half."""
    processes = list(processes)
    claimed = sum(count for process in processes for _, count in process.ranges)
    share = claimed * part // max(whole, 1)
    ours: list[ProcessAccounting] = []
    theirs: list[ProcessAccounting] = []
    for process in processes:
        taken: list[tuple[int, int]] = []
        left: list[tuple[int, int]] = []
        for first, count in process.ranges:
            some = min(count, share)
            share -= some
            if some:
                taken.append((first, some))
            if count > some:
                left.append((first + some, count - some))
        if taken:
            end = max(first + count for first, count in taken)
            ours.append(process._replace(ranges=taken, sent=min(end, process.sent)))
        theirs.append(process._replace(ranges=left))
    return ours, theirs
