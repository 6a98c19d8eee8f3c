"""Batches: every column, process and gauge comes back, and a hostile one is refused in bounds."""

import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from trimtab_core.batches import (
    MAX_BATCH,
    MAX_POINTS,
    POINT_COLUMNS,
    VERSION,
    Batch,
    Column,
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
from trimtab_core.columns import MAX_COUNT, MAX_VALUE, STATUS_COLUMNS
from trimtab_core.errors import BatchError, TooLargeError
from trimtab_core.names import clean_name

BUDGET = 64 * 1024 * 1024
COUNTS = st.integers(0, 2**53)
#: of two such numbers the sum is a count
HALVES = st.integers(0, 2**52)
WIDTHS = st.one_of(
    st.just(0), st.integers(0, 255), st.integers(0, 2**16), st.integers(0, MAX_VALUE)
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).map(clean_name)
POINTS = st.builds(
    Point,
    **dict.fromkeys(POINT_COLUMNS[1:-1], WIDTHS) | {"max_us": st.integers(0, MAX_COUNT)},
    buckets=st.dictionaries(st.integers(0, 1027), st.integers(1, MAX_COUNT), max_size=8),
    statuses=st.dictionaries(st.integers(0, 599), st.integers(1, MAX_COUNT), max_size=4),
)
PROCESSES = st.builds(
    ProcessAccounting,
    st.binary(min_size=8, max_size=8),
    NAMES, NAMES, NAMES,
    st.lists(st.tuples(HALVES, HALVES), max_size=4),
    COUNTS,
    st.dictionaries(NAMES, COUNTS, max_size=3),
)  # fmt: skip
GAUGES = st.builds(
    GaugeRow,
    *[st.just("") | NAMES] * 3,
    name=NAMES,
    value=st.floats(allow_nan=False, allow_infinity=False),
)
KEYS = st.builds(SeriesKey, *[st.just("") | NAMES] * 7)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Batch, list[tuple[int, Point]]]:
    keys = draw(st.lists(KEYS, min_size=1, max_size=5, unique=True))
    points = draw(st.lists(st.tuples(st.integers(0, len(keys) - 1), POINTS), max_size=6))
    step_s = draw(st.sampled_from((1, 10, 60)))
    batch = Batch(
        agent=draw(NAMES),
        boot=draw(st.binary(min_size=8, max_size=8)),
        seq=draw(COUNTS),
        window_s=draw(st.integers(0, 2**32)) * step_s,
        step_s=step_s,
        closed_us=draw(COUNTS),
        series=pack_series(keys),
        points=len(points),
        columns=columns_of(points),
        processes=draw(st.lists(PROCESSES, max_size=3)),
        gauges=draw(st.lists(GAUGES, max_size=5)),
        live=draw(st.booleans()),
    )
    return batch, points


def points_of(batch: Batch) -> list[tuple[int, Point]]:
    """Read the points back out of the columns, with nothing but their description."""

    def column(name: str, length: int) -> list[int]:
        return list(values_of(batch.columns[name])) if name in batch.columns else [0] * length

    rows = {name: column(name, batch.points) for name in POINT_COLUMNS}
    total = sum(rows["buckets"])
    steps, counts = iter(column("indexes", total)), iter(column("counts", total))
    sizes, codes, code_counts = STATUS_COLUMNS
    rows[sizes] = column(sizes, batch.points)
    pairs = zip(column(codes, sum(rows[sizes])), column(code_counts, sum(rows[sizes])), strict=True)
    found = []
    for row in range(batch.points):
        bucket, buckets = 0, {}
        for _ in range(rows["buckets"][row]):
            bucket += next(steps)
            buckets[bucket] = next(counts)
        fields = {name: rows[name][row] for name in POINT_COLUMNS[1:-1]}
        statuses = dict(islice(pairs, rows[sizes][row]))
        found.append((rows["series"][row], Point(**fields, buckets=buckets, statuses=statuses)))
    return found


@given(batches())
def test_a_batch_comes_back_with_all_its_points(made: tuple[Batch, list[Any]]) -> None:
    batch, points = made
    assert decode(encode(batch)) == batch
    assert points_of(decode(encode(batch))) == points


@given(st.lists(KEYS, max_size=30))
def test_series_come_back_in_order(keys: list[SeriesKey]) -> None:
    assert decode_series(pack_series(keys)) == keys


def test_a_full_batch_of_4096_points_fits() -> None:
    points = [
        (n, Point(1, 10**6, 10**5, buckets=dict.fromkeys(range(500, 520), 7)))
        for n in range(MAX_POINTS)
    ]
    keys = [
        SeriesKey("prod", "shop", "1.0", "host#0", f"/{n}", "GET", "2xx") for n in range(MAX_POINTS)
    ]
    batch = Batch("a", bytes(8), 1, 10, 10, 5, pack_series(keys), MAX_POINTS, columns_of(points))
    assert points_of(decode(encode(batch))) == points
    assert len(decode_series(batch.series)) == MAX_POINTS


def test_a_batch_over_the_limit_is_not_made() -> None:
    columns = {"tomorrow": Column("B", bytes(MAX_BATCH))}
    with pytest.raises(TooLargeError, match="holds at most 4194304 bytes"):
        encode(Batch("a", bytes(8), 1, 10, 10, 5, columns=columns))


@given(st.binary(max_size=400))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(BatchError):
        decode(data)


@given(batches(), st.data())
def test_a_batch_with_a_wrong_byte_is_refused_or_well_formed(
    made: tuple[Batch, list[Any]], data: st.DataObject
) -> None:
    body = bytearray(zstandard.decompress(encode(made[0])))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(zstandard.compress(bytes(body)))
        decode_series(found.series)
    except BatchError:
        return
    check_well_formed(found)


def check_well_formed(batch: Batch) -> None:
    """Check all that whoever takes a decoded batch may rely on."""
    assert 0 < len(batch.agent) <= 256
    assert len(batch.boot) == 8
    assert 0 < batch.step_s <= 3600
    assert batch.window_s % batch.step_s == 0
    assert 0 <= batch.points <= MAX_POINTS
    for number in (batch.seq, batch.window_s, batch.closed_us, batch.closed_mono_us):
        assert 0 <= number < 2**63
    values = {name: values_of(column) for name, column in batch.columns.items()}
    for name in values.keys() & set(POINT_COLUMNS):
        assert len(values[name]) == batch.points
    total = sum(values.get("buckets", ()))
    assert len(values.get("counts", ())) == total
    assert len(values.get("indexes", ())) in (0, total)
    sizes, codes, code_counts = (values.get(name, ()) for name in STATUS_COLUMNS)
    assert len(sizes) in (0, batch.points)
    assert len(code_counts) == sum(sizes)
    assert len(codes) in (0, sum(sizes))
    for process in batch.processes:
        assert len(process.process) == 8
        for text in (process.environment, process.service, process.instance, *process.dropped):
            assert 0 < len(text) <= 256
        numbers = [process.sent, *process.dropped.values(), *sum(process.ranges, ())]
        assert all(0 <= number < 2**63 for number in numbers)
    for gauge in batch.gauges:
        assert 0 < len(gauge.name) <= 256
        assert isinstance(gauge.value, float)
    # It can be handed on, and is the same there. Bytes, as a gauge may be no number.
    again = encode(batch)
    assert encode(decode(again)) == again


@given(batches(), st.data())
def test_a_batch_that_was_cut_is_refused(
    made: tuple[Batch, list[Any]], data: st.DataObject
) -> None:
    whole = encode(made[0])
    with pytest.raises(BatchError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


# ---------------------------------------------------------------- with intent

GOOD: dict[str, Any] = {
    "v": VERSION, "agent": "a", "boot": bytes(8), "seq": 1, "window_s": 10, "step_s": 10,
    "closed_us": 5, "series": b"\x90", "points": 0, "columns": [], "processes": [],
    "gauges": [], "live": False,
}  # fmt: skip
PROCESS = [bytes(8), "e", "s", "i", [[0, 1]], 1, {}]
DEEP = b"\x91" * 1000 + b"\xc0"


def packed(changes: dict[str, Any], columns: bytes = b"", *, length: int | None = None) -> bytes:
    header = msgpack.packb({**GOOD, **changes})
    size = len(header) if length is None else length
    return zstandard.compress(struct.pack("<I", size) + header + columns)


def raw(header: bytes) -> bytes:
    return zstandard.compress(struct.pack("<I", len(header)) + header)


def with_series_column(data: bytes) -> dict[str, Any]:
    return {"points": 2, "columns": [["series", "H", len(data)]]}


def test_a_batch_of_version_1_is_read_under_the_names_of_today() -> None:
    columns = [["buckets", "B", 1], ["slots", "H", 2], ["counts", "B", 1]]
    older = {"v": 1, "points": 1, "columns": columns, "inside": b"\x92\x90\x90"}
    batch = decode(packed(older, b"\x01" + struct.pack("<H", 700) + b"\x05"))
    assert list(values_of(batch.columns["indexes"])) == [700]
    assert "slots" not in batch.columns
    assert batch.rows == b"\x92\x90\x90"


@pytest.mark.parametrize(
    "data",
    [
        packed({"v": VERSION + 1}),
        packed({"agent": ""}),
        packed({"agent": "a" * 257}),
        packed({"boot": bytes(7)}),
        packed({"boot": "8 letter"}),
        packed({"seq": -1}),
        packed({"seq": True}),
        packed({"step_s": 0}),
        packed({"window_s": 11}),
        packed({"series": []}),
        packed({"points": MAX_POINTS + 1}),
        packed({"columns": None}),
        packed({"columns": [["series", "d", 8]]}, bytes(8)),
        packed({"columns": [["series", "B"]]}),
        packed({"columns": [[["series"], "B", 0]]}),
        packed({"columns": [["series", "B", 0], ["series", "B", 0]]}),
        packed({"columns": [["series", "B", 2**40]]}),
        packed({"columns": [["series", "B", -1]]}),
        packed(with_series_column(bytes(3)), bytes(3)),
        packed(with_series_column(bytes(4)), bytes(5)),
        packed(with_series_column(bytes(4)), bytes(3)),
        packed({"points": 1, "columns": [["buckets", "B", 1]]}, b"\x02"),
        packed({"points": 1, "columns": [["buckets", "B", 1], ["counts", "B", 1]]}, b"\x02\x01"),
        packed({"points": 1, "columns": [["buckets", "B", 1], ["counts", "H", 3]]}, b"\x01abc"),
        packed({"columns": [["counts", "B", 1]]}, b"\x01"),
        packed({"points": 1, "columns": [["buckets", "Q", 8]]}, b"\xff" * 8),
        packed({"processes": None}),
        packed({"gauges": 1}),
        packed({}, length=3),
        packed({}, length=2**20),
        packed({}, length=2**32 - 1),
        raw(b"\x90"),
        raw(b"\xc0"),
        raw(b""),
        raw(msgpack.packb({key: value for key, value in GOOD.items() if key != "seq"})),
        raw(b"\x81\xa1v" + b"\x91" * 100_000 + b"\xc0"),
        raw(b"\x81\xa1v" + DEEP),
        raw(msgpack.packb(GOOD).replace(b"\xa6points\x00", b"\xa6points" + DEEP)),
        raw(b"\x81\xd4\x01\x00\x00"),
        zstandard.compress(b"abc"),
        zstandard.compress(b""),
        b"",
        encode(Batch("a", bytes(8), 1, 10, 10, 5)) * 2,
        encode(Batch("a", bytes(8), 1, 10, 10, 5)) + b"tail",
    ],
)  # fmt: skip
def test_a_batch_without_its_form_is_refused(data: bytes) -> None:
    with pytest.raises(BatchError):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\xc0", b"\x91\xc0", b"\x91\x90", b"\x91" + DEEP, msgpack.packb([["a"] * 6]),
        msgpack.packb([["a"] * 6 + [1]]), msgpack.packb([["a" * 257] * 7]),
        msgpack.packb([["a"] * 7] * (MAX_POINTS + 1)),
    ],
)  # fmt: skip
def test_series_without_their_form_are_refused(data: bytes) -> None:
    with pytest.raises(BatchError):
        decode_series(data)


def test_an_unknown_column_is_a_newer_agents_and_kept() -> None:
    data = packed({"columns": [["tomorrow", "B", 3]]}, b"abc")
    assert decode(data).columns == {"tomorrow": Column("B", b"abc")}


# ---------------------------------------------------------------- bombs


def zeros(size: int, **parameters: Any) -> bytes:
    """Zeros, compressed; size need not fit in memory at once."""
    made = zstandard.ZstdCompressionParameters.from_level(3, **parameters)
    compressor = zstandard.ZstdCompressor(compression_params=made).compressobj(
        size=size if parameters.get("write_content_size") else -1
    )
    block = bytes(1 << 20)
    parts = [compressor.compress(block) for _ in range(size >> 20)]
    return b"".join([*parts, compressor.flush()])


def nodes(each: bytes) -> bytes:
    """A header of as many empty containers as its limit lets through."""
    inner = b"\xdc" + struct.pack(">H", 20_000) + each * 20_000
    return raw(b"\xdc" + struct.pack(">H", 100) + inner * 100)


BOMBS: dict[str, Callable[[], bytes]] = {
    "2 GB that say so": lambda: zeros(1 << 31, write_content_size=True),
    "2 GB that do not say so": lambda: zeros(1 << 31, write_content_size=False),
    "a frame that lies about its size": lambda: _lying(zeros(1 << 30, write_content_size=True)),
    "a window of 128 MB": lambda: zeros(1 << 28, write_content_size=False, window_log=27),
    "many frames": lambda: zeros(3 << 20, write_content_size=True) * 500,
    "2 million lists": lambda: nodes(b"\x90"),
    "2 million maps": lambda: nodes(b"\x80"),
    "a series of 2 million lists": lambda: packed({"series": _series_bomb()}),
    "over the limit before it is unpacked": lambda: bytes(MAX_BATCH + 1),
}


def _series_bomb() -> bytes:
    return b"\xdd" + struct.pack(">I", 2_000_000) + b"\x90" * 2_000_000


def _lying(frame: bytes) -> bytes:
    # Frame header: magic, descriptor, window descriptor or content size; state a size of 16 bytes.
    parameters = zstandard.get_frame_parameters(frame)
    size = zstandard.frame_header_size(frame)
    assert parameters.content_size == 1 << 30
    head = bytearray(frame[:size])
    head[-4:] = struct.pack("<I", 16)
    return bytes(head) + frame[size:]


#: Decodes what it is given and says how far its memory rose, C libraries included, in bytes.
CHILD = """
import resource, sys
from trimtab_core.batches import decode, decode_series
from trimtab_core.errors import BatchError
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_series(decode(data).series)
except BatchError:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_64_mb(name: str) -> None:
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, input=BOMBS[name](), capture_output=True, check=True, timeout=60)
    assert int(done.stdout) < BUDGET
