"""Rows in a batch: each costs itself, and what is packed is within what is unpacked."""

import struct
import sys
import tracemalloc
from math import inf
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from trimtab_core.batches import (
    VERSION,
    Point,
    columns_of,
    decode,
    values_of,
)
from trimtab_core.columns import MAX_COUNT, MAX_VALUE
from trimtab_core.errors import BatchError
from trimtab_core.measures import COUNTER, HISTOGRAM, Delta, MeasureKey
from trimtab_core.names import clean_name
from trimtab_core.rows import EventRow, MeasureRow, pack_rows, unpack_rows

KEY = MeasureKey("work", HISTOGRAM, "s", (("what", "a"),))
ROW = MeasureRow("test", "shop", "host#0", KEY, Delta(1, 1.0, 1.0, 1.0, 1.0, {700: 1}))
EVENT = EventRow("test", "shop", "host#0", {"kind": "request", "at_us": 1})
GOOD: dict[str, Any] = {
    "v": VERSION, "agent": "a", "boot": bytes(8), "seq": 1, "window_s": 10, "step_s": 10,
    "closed_us": 5, "series": b"\x90", "points": 0, "columns": [], "processes": [],
    "gauges": [], "live": False,
}  # fmt: skip
PROCESS = [bytes(8), "e", "s", "i", [[0, 1]], 1, {}]


def test_columns_are_as_narrow_as_their_largest_value_and_zeros_are_left_out() -> None:
    columns = columns_of([(0, Point(errors=255, sum_us=256, bytes=2**32)), (1, Point(sum_us=1))])
    assert {name: column.kind for name, column in columns.items()} == {
        "series": "B", "errors": "B", "sum_us": "H", "bytes": "Q",
    }  # fmt: skip


def test_sums_that_no_collector_takes_stay_at_the_largest_that_it_does() -> None:
    # What 3,000 bodies of the largest size come to, in KiB, is over 2**53 bytes.
    point = Point(bytes=3000 * (2**32 - 1) * 1024, max_us=2**40, buckets={1: 2**40})
    columns = columns_of([(0, point)])
    for name, largest in (("bytes", MAX_VALUE), ("max_us", MAX_COUNT), ("counts", MAX_COUNT)):
        assert list(values_of(columns[name])) == [largest]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("processes", PROCESS[:6]),
        ("processes", [b"", *PROCESS[1:]]),
        ("processes", [*PROCESS[:4], [[0, -1]], 1, {}]),
        ("processes", [*PROCESS[:4], [0, 1], 1, {}]),
        ("processes", [*PROCESS[:4], [[2**53, 1]], 1, {}]),
        ("processes", [*PROCESS[:4], [], 2**63 - 1, {}]),
        ("processes", [*PROCESS[:6], {"full": "many"}]),
        ("processes", 7),
        ("gauges", ["", "", "", "", 1.0]),
        ("gauges", ["", "", "", "cpu", "much"]),
        ("gauges", ["", "", "", "cpu", float("nan")]),
        ("gauges", None),
    ],
    ids=repr,
)
def test_a_row_of_a_header_that_is_malformed_costs_itself(name: str, row: Any) -> None:
    good = {"processes": PROCESS, "gauges": ["", "", "host", "cpu", 1.0]}
    header = msgpack.packb({**GOOD, name: [good[name], row, good[name]]})
    batch = decode(zstandard.compress(struct.pack("<I", len(header)) + header))
    assert len(getattr(batch, name)) == 2
    assert len(batch.malformed) == 1


@pytest.mark.parametrize("bad", [7, [], ["test"], [*["a"] * 3, 7], ["a" * 257, "b", "c", {}]])
def test_a_row_of_measures_or_events_that_is_malformed_costs_itself(bad: Any) -> None:
    measure = [*ROW[:3], *KEY.row(), *ROW.delta.row()]
    event = [*EVENT[:3], EVENT.event]
    malformed: list[str] = []
    packed = msgpack.packb([[measure, bad, measure], [bad, event]])
    measures, events = unpack_rows(packed, malformed)
    assert (measures, events, len(malformed)) == ([ROW, ROW], [EVENT], 2)


@pytest.mark.parametrize("what", [b"\x90", b"\x80", b"\x91\xc0"], ids=["lists", "maps", "nils"])
def test_a_few_hundred_bytes_that_unpack_to_a_megabyte_of_lists_are_refused(what: bytes) -> None:
    count = 2**20 // len(what) - 20
    header = msgpack.Packer().pack_array_header(2) + b"\xdd" + struct.pack(">I", 50_000)
    body = (header + what * count)[: 2**20]
    deep = b"\x92" + (b"\xdc\x03\xe8" + what * 1000) * (count // 1100)
    for packed in (body, deep):
        tracemalloc.start()
        with pytest.raises(BatchError):
            unpack_rows(packed)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 24 * 2**20


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64).map(clean_name)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
DELTAS = st.builds(
    Delta,
    st.integers(1, 2**53 - 1), NUMBERS, NUMBERS, NUMBERS, NUMBERS,
    st.dictionaries(st.integers(0, 3040), st.integers(1, 2**53 - 1), max_size=4),
)  # fmt: skip


@given(st.lists(DELTAS, min_size=1, max_size=50))
def test_whatever_is_added_up_can_be_sent_and_is_taken(deltas: list[Delta]) -> None:
    whole = Delta()
    for delta in deltas:
        whole.merge(Delta.of_row(delta.row()))
    assert -inf < whole.sum < inf
    assert Delta.of_row(whole.row()).row() == whole.row()


def test_counts_and_sums_stay_at_their_largest() -> None:
    delta = Delta()
    for _ in range(1100):
        delta.merge(Delta(2**53 - 1, 1.7e308, 0.0, 1.0, 1.0, {5: 2**53 - 1}))
    assert delta.row() == [2**53 - 1, sys.float_info.max, 0.0, 1.0, 1.0, [5, 2**53 - 1]]
    for _ in range(3):
        delta.merge(Delta(1, -1.7e308, 0.0, 1.0, 1.0))
    assert -inf < delta.sum < 0


@given(st.lists(st.lists(TEXTS, max_size=16), max_size=8), st.integers(4_000, 100_000))
def test_rows_of_any_size_are_packed_so_that_they_are_unpacked(
    texts: list[list[str]], most: int
) -> None:
    pairs = [tuple((text, text) for text in some) for some in texts]
    rows = [ROW._replace(key=MeasureKey("n", COUNTER, "1", tuple(sorted(some)))) for some in pairs]
    events = [EVENT._replace(event={**EVENT.event, "texts": some}) for some in texts]
    parts = [unpack_rows(each) for each in pack_rows(rows, events, most)]
    assert [row for measures, _ in parts for row in measures] == rows
    assert [row for _, some in parts for row in some] == events


def test_many_small_rows_are_cut_by_their_number_and_by_their_lists() -> None:
    rows = [ROW] * 12_000
    lists = EVENT._replace(event={**EVENT.event, "lists": [[]] * 400})
    packed = pack_rows(rows, [lists] * 300)
    assert len(packed) > 3
    parts = [unpack_rows(each) for each in packed]
    assert sum(len(measures) for measures, _ in parts) == len(rows)
    assert sum(len(events) for _, events in parts) == 300
