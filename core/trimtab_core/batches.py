"""Batches, agent to collector: zstd of a msgpack header and little-endian columns.

Unpacked layout: u32 little-endian length of the header, the header, then the columns back to back
in the order the header lists them. A batch is self-contained: its series travel in it as one packed
binary, which a collector may recognise by its digest.
Every column is as wide as its largest value needs (B, H, I or Q of the struct module) and is left
out if all its values are zero. The column `buckets` says how many entries of `indexes` and `counts`
are the sketch of each point. The first index is absolute, each other one is the distance to the
index before it. The count of a point is the sum of its `counts`. `statuses` says likewise how many
entries of `status_codes` and `status_counts` are those of each point.

Decoding is bounded: compressed and unpacked size, window of the compressor, one zstd frame only,
number of points, length of every column. Size claims in the zstd frame are not trusted.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

import msgpack
import zstandard

from trimtab_core.columns import (
    BUCKET_COLUMNS,
    ITEM_SIZES,
    POINT_COLUMNS,
    STATUS_COLUMNS,
    Column,
    Point,
    columns_of,
    total_of,
    values_of,
)
from trimtab_core.decompression import decompressed
from trimtab_core.errors import BatchError, TooLargeError
from trimtab_core.fields import MALFORMED, MAX_COUNT, name_of, sound, whole
from trimtab_core.gaugeowners import gauge_owner, is_of_app
from trimtab_core.names import clean_name
from trimtab_core.unpacking import unpacked

__all__ = [
    "BUCKET_COLUMNS",
    "CLOCK_HEADER",
    "HELD_HEADER",
    "MAX_BATCH",
    "MAX_CONTAINERS",
    "MAX_HEADER",
    "MAX_ITEMS",
    "MAX_POINTS",
    "MAX_RANGES",
    "POINT_COLUMNS",
    "VERSION",
    "Batch",
    "Column",
    "GaugeRow",
    "Point",
    "ProcessAccounting",
    "SentAt",
    "SeriesKey",
    "columns_of",
    "decode",
    "decode_series",
    "encode",
    "pack_series",
    "packed_size",
    "values_of",
]

VERSION: Final = 2
#: Names of columns in version 1, which journals and spools may still hold, and their names now.
_RENAMED: Final = {"slots": "indexes"}
_OF_POINTS: Final = frozenset((*POINT_COLUMNS, STATUS_COLUMNS[0]))
#: HTTP header of a sent batch: the agent's clocks at that moment (`SentAt`). They tell the
#: collector how far its clock and the agent's are apart, so that it dates windows by its own.
CLOCK_HEADER: Final = "x-trimtab-clock"
#: HTTP header of a sent batch: number of records in the other batches that the agent holds.
HELD_HEADER: Final = "x-trimtab-held"
#: Largest batch in bytes, both packed and unpacked.
MAX_BATCH: Final = 4 * 1024 * 1024
#: Most points in a batch; a window of more series travels as several batches.
MAX_POINTS: Final = 4096
#: Most ranges of record numbers in a batch, of all processes together; agents make up to 15,000.
MAX_RANGES: Final = 16_384
#: Bytes of a header; lists and maps in it, and entries of one of them.
MAX_HEADER: Final = 2 * 1024 * 1024
MAX_CONTAINERS: Final = 50_000
MAX_ITEMS: Final = 20_000
_MAX_TEXT: Final = 4096
_LENGTH: Final = struct.Struct("<I")
_text: Final = partial(name_of, most=256)


class SeriesKey(NamedTuple):
    """Identifies a series; status_class is `2xx` and so on."""

    environment: str
    service: str
    version: str
    instance: str
    route: str
    method: str
    status_class: str


class ProcessAccounting(NamedTuple):
    """The numbered records of an app process that a batch covers, and what the process dropped."""

    process: bytes
    environment: str
    service: str
    instance: str
    #: (first, count) of records counted in this batch
    ranges: Sequence[tuple[int, int]]
    #: records the process had sent when the window ended: the number of the next one
    sent: int
    dropped: Mapping[str, int]


class GaugeRow(NamedTuple):
    """A gauge at the end of the window; the host's have no environment and no service."""

    environment: str
    service: str
    instance: str
    name: str
    value: float


class SentAt(NamedTuple):
    """The clocks of an agent when it sends: seconds since 1970, and monotonic seconds.

    `boot` is the process whose monotonic clock it is. The age of a batch that the same process
    closed is the difference of the two monotonic times, even if the wall clock has jumped.
    """

    wall_s: float
    mono_s: float = 0.0
    boot: bytes = b""

    def header(self) -> str:
        """Return the value of CLOCK_HEADER."""
        return f"{self.wall_s:.3f} {self.mono_s:.3f} {self.boot.hex()}".rstrip()

    @classmethod
    def of_header(cls, text: str) -> "SentAt | None":
        """Return the clocks in a header, None if malformed; an older agent sends one number."""
        try:
            wall, *rest = text.split()
            mono, boot = rest if len(rest) == 2 else ("0", "")
            found = cls(float(wall), float(mono), bytes.fromhex(boot))
        except ValueError:
            return None
        return found if 0 <= found.wall_s < 2**32 and 0 <= found.mono_s < 2**40 else None


@dataclass(frozen=True, slots=True)
class Batch:
    """One window of one agent. (agent, boot, seq) identifies it, so that a repeat is harmless."""

    agent: str
    boot: bytes
    seq: int
    #: start of the window, epoch seconds, a multiple of step_s
    window_s: int
    step_s: int
    #: wall clock of the agent when the window was closed
    closed_us: int
    #: msgpack list of SeriesKey rows, decoded by `decode_series`
    series: bytes = b"\x90"
    points: int = 0
    columns: Mapping[str, Column] = field(default_factory=dict)
    processes: Sequence[ProcessAccounting] = ()
    gauges: Sequence[GaugeRow] = ()
    #: a live summary, which is shown and not stored
    live: bool = False
    #: monotonic clock of the agent process when the window was closed, 0 if unknown
    closed_mono_us: int = 0
    #: measures and events of the apps (`trimtab_core.rows`)
    rows: bytes = b""
    #: why processes and gauges were left out when it was decoded; does not travel
    malformed: Sequence[str] = field(default=(), compare=False)


def pack_series(keys: Iterable[SeriesKey]) -> bytes:
    """Return the series binary of a batch."""
    packed: bytes = msgpack.packb([list(key) for key in keys])
    return packed


def packed_size(rows: Sequence[GaugeRow] | Sequence[ProcessAccounting]) -> int:
    """Return the bytes that gauges or accounting take in the header of a batch."""
    return len(msgpack.packb(rows))


def encode(batch: Batch, level: int = 3) -> bytes:
    """Return the bytes of a batch; raises TooLargeError over MAX_BATCH unpacked."""
    listed = [[name, column.kind, len(column.data)] for name, column in batch.columns.items()]
    header = msgpack.packb(
        {
            "v": VERSION,
            "agent": batch.agent,
            "boot": batch.boot,
            "seq": batch.seq,
            "window_s": batch.window_s,
            "step_s": batch.step_s,
            "closed_us": batch.closed_us,
            "closed_mono_us": batch.closed_mono_us,
            "series": batch.series,
            "points": batch.points,
            "columns": listed,
            "processes": [
                [*process[:4], list(map(list, process.ranges)), process.sent, dict(process.dropped)]
                for process in batch.processes
            ],
            "gauges": [list(gauge) for gauge in batch.gauges],
            "live": batch.live,
            **({"rows": batch.rows} if batch.rows else {}),
        }
    )
    body = b"".join(
        chain((_LENGTH.pack(len(header)), header), (c.data for c in batch.columns.values()))
    )
    if len(header) > MAX_HEADER:
        raise TooLargeError(f"a header holds at most {MAX_HEADER} bytes, this has {len(header)}")
    if len(body) > MAX_BATCH:
        raise TooLargeError(f"a batch holds at most {MAX_BATCH} bytes, this one has {len(body)}")
    return zstandard.ZstdCompressor(level=level).compress(body)


def decode(data: bytes) -> Batch:
    """Return the batch in data; raises TooLargeError over a limit, BatchError for any other fault.

    The lengths of columns are checked against the numbers of points and buckets, values are not. A
    process or gauge that is malformed costs itself: it is left out, and `malformed` says why. So is
    a gauge of a service under a name that belongs to somebody else (`gaugeowners.py`).
    """
    body = decompressed(data, MAX_BATCH)
    if len(body) < 4:
        raise BatchError(f"expected a header length of 4 bytes, got {len(body)} bytes in all")
    (length,) = _LENGTH.unpack_from(body)
    if length > MAX_HEADER:
        raise TooLargeError(f"a header holds at most {MAX_HEADER} bytes, this one claims {length}")
    header = _unpack(body[4 : 4 + length])
    try:
        return _batch(header, body, 4 + length)
    except MALFORMED as error:
        raise BatchError(f"expected a well-formed batch header, got {error!r:.200}") from error


def decode_series(data: bytes) -> list[SeriesKey]:
    """Return the series of a batch; raises BatchError if the binary is malformed."""
    rows, keys = _unpack(data), []
    if not isinstance(rows, list) or len(rows) > MAX_POINTS:
        raise BatchError(f"expected a list of at most {MAX_POINTS} series")
    for place, row in enumerate(rows):
        texts = isinstance(row, list) and len(row) == len(SeriesKey._fields)
        if not texts or any(not isinstance(part, str) or len(part) > 256 for part in row):
            raise BatchError(f"expected a series of 7 texts, got something else in row {place}")
        keys.append(SeriesKey(*map(clean_name, row)))
    return keys


def _unpack(data: bytes) -> Any:
    return unpacked(
        data,
        containers=MAX_CONTAINERS,
        items=MAX_ITEMS,
        text=_MAX_TEXT,
        binary=MAX_HEADER,
    )


def _batch(header: Any, body: bytes, offset: int) -> Batch:
    if header["v"] not in (1, VERSION):
        raise BatchError(f"expected a batch of version {VERSION}, got {header['v']!r:.20}")
    points = _natural(header["points"], MAX_POINTS)
    columns: dict[str, Column] = {}
    size = len(body)
    for name, kind, length in header["columns"]:
        name = _RENAMED.get(name, name)
        if name in columns:
            raise ValueError(f"expected column {name!r:.40} once, got it twice")
        is_length = type(length) is int and 0 <= length <= size - offset
        if kind not in ITEM_SIZES or not is_length:
            raise ValueError(f"column {name!r:.40} has no valid type or length")
        columns[name] = Column(kind, body[offset : offset + length])
        offset += length
    if offset != size:
        raise ValueError(f"{size - offset} bytes behind the last column")
    _check_lengths(columns, points)
    malformed: list[str] = []
    processes = sound(header["processes"], _accounting, malformed)
    if sum(len(process.ranges) for process in processes) > MAX_RANGES:
        raise ValueError(f"expected at most {MAX_RANGES} ranges of records in a batch, got more")
    boot = header["boot"]
    if not isinstance(boot, bytes) or len(boot) != 8:
        raise ValueError("boot is 8 bytes")
    step_s = _natural(header["step_s"], 3600)
    window_s = _natural(header["window_s"], 1 << 40)
    if not step_s or window_s % step_s:
        raise ValueError(f"window_s {window_s} is no multiple of step_s {step_s}")
    return Batch(
        agent=_text(header["agent"]),
        boot=boot,
        seq=_natural(header["seq"]),
        window_s=window_s,
        step_s=step_s,
        closed_us=_natural(header["closed_us"]),
        closed_mono_us=_natural(header.get("closed_mono_us", 0)),
        series=_binary(header["series"]),
        points=points,
        columns=columns,
        processes=processes,
        gauges=sound(header["gauges"], _gauge, malformed),
        live=bool(header["live"]),
        rows=_binary(header.get("rows", header.get("inside", b""))),
        malformed=malformed,
    )


def _check_lengths(columns: Mapping[str, Column], points: int) -> None:
    for name, (kind, data) in columns.items():
        if len(data) != points * ITEM_SIZES[kind] and name in _OF_POINTS:
            raise ValueError(f"column {name} has {len(data)} bytes for {points} points")
    # Without indexes all durations are below one microsecond; counts are never zero.
    for sizes, values, counts in (("buckets", *BUCKET_COLUMNS), STATUS_COLUMNS):
        total = total_of(columns[sizes]) if sizes in columns else 0
        for name in (values, counts):
            column = columns.get(name)
            if column is None and (name == values or not total):
                continue
            length = len(column.data) // ITEM_SIZES[column.kind] if column else 0
            if length != total or (column and len(column.data) % ITEM_SIZES[column.kind]):
                raise ValueError(f"column {name} has {length} entries for {total} {sizes}")


def _accounting(row: Any) -> ProcessAccounting:
    process, environment, service, instance, ranges, sent, dropped = row
    if not isinstance(process, bytes) or len(process) != 8:
        raise ValueError("process is 8 bytes")
    return ProcessAccounting(
        process,
        _text(environment),
        _text(service),
        _text(instance),
        [_range(first, count) for first, count in ranges],
        _natural(sent),
        {_text(reason): _natural(count) for reason, count in dropped.items()},
    )


def _range(first: Any, count: Any) -> tuple[int, int]:
    return _natural(first), _natural(count, MAX_COUNT - first)


def _gauge(row: Any) -> GaugeRow:
    environment, service, instance, name, value = row
    if type(value) not in (int, float) or value - value != 0:
        raise ValueError(f"a gauge is a finite number, got {value!r:.40}")
    name = _text(name)
    if service and not is_of_app(name):
        raise ValueError(f"no service has {name!r:.80}, a gauge of the {gauge_owner(name)}")
    return GaugeRow(
        _text(environment, empty=True),
        _text(service, empty=True),
        _text(instance, empty=True),
        name,
        float(value),
    )


def _binary(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("expected one binary")
    return value


def _natural(value: Any, most: int = MAX_COUNT) -> int:
    return whole(value, 0, most)
