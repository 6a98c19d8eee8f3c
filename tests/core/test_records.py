"""The sample record: what is packed comes back, and what does not fit is clamped and said so."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_core.records import (
    FLAG_CLAMPED,
    FLAG_KIB,
    MAX_U16,
    MAX_U32,
    METHOD_IDS,
    METHODS,
    OTHER_METHOD,
    RECORD_SIZE,
    Record,
    pack,
    unpack,
)

U16, U32 = st.integers(0, MAX_U16), st.integers(0, MAX_U32)
FITTING = st.builds(
    Record,
    route=U16,
    method=st.integers(0, 255),
    flags=st.integers(0, 255),
    status=U16,
    **dict.fromkeys(
        ("duration_us", "ttfb_us", "queue_us", "bytes", "db_us", "external_us", "cache_us"), U32
    ),
    **dict.fromkeys(("db_calls", "external_calls", "cache_hits", "cache_misses", "kind"), U16),
)
ANY: st.SearchStrategy[Any] = st.integers(-(2**70), 2**70)
QUANTITIES = Record._fields[4:]
LIMITS = {name: MAX_U32 if index < 7 else MAX_U16 for index, name in enumerate(QUANTITIES)}


@given(FITTING)
def test_a_record_that_fits_comes_back_the_same(record: Record) -> None:
    packed = pack(record)
    assert len(packed) == RECORD_SIZE == 48
    assert unpack(packed) == record


@given(st.lists(FITTING, min_size=1, max_size=20))
def test_records_lie_back_to_back(records: list[Record]) -> None:
    data = b"".join(map(pack, records))
    assert [unpack(data, at) for at in range(0, len(data), RECORD_SIZE)] == records


@given(st.fixed_dictionaries({name: ANY for name in QUANTITIES if name != "bytes"}), U32)
def test_a_quantity_out_of_range_stands_at_its_limit_and_the_record_says_so(
    quantities: dict[str, int], size: int
) -> None:
    got = unpack(pack(Record(1, 1, 0, 200, bytes=size, **quantities)))
    clamped = {name: min(max(value, 0), LIMITS[name]) for name, value in quantities.items()}
    assert {name: getattr(got, name) for name in clamped} == clamped
    assert bool(got.flags & FLAG_CLAMPED) == (clamped != quantities)
    assert got.bytes == size


@given(st.integers(MAX_U32 + 1, MAX_U32 * 1024))
def test_a_size_above_four_gib_is_counted_in_kib_rounded_up(size: int) -> None:
    got = unpack(pack(Record(1, 1, 0, 200, 5, bytes=size)))
    assert got.flags & FLAG_KIB
    assert not got.flags & FLAG_CLAMPED
    assert size <= got.bytes * 1024 < size + 1024


def test_a_size_beyond_four_tib_is_clamped_and_still_in_kib() -> None:
    got = unpack(pack(Record(1, 1, 0, 200, 5, bytes=2**52)))
    assert got.bytes == MAX_U32
    assert got.flags & (FLAG_KIB | FLAG_CLAMPED) == FLAG_KIB | FLAG_CLAMPED


#: Offset and type of each field, as the module's table has them.
TABLE = {
    "route": (0, "H"), "method": (2, "B"), "flags": (3, "B"), "status": (4, "H"),
    "kind": (6, "H"),
    "duration_us": (8, "I"), "bytes": (12, "I"), "ttfb_us": (16, "I"), "queue_us": (20, "I"),
    "db_us": (24, "I"), "external_us": (28, "I"), "cache_us": (32, "I"), "db_calls": (40, "H"),
    "external_calls": (42, "H"), "cache_hits": (44, "H"), "cache_misses": (46, "H"),
}  # fmt: skip


@given(FITTING)
def test_the_layout_is_the_one_of_the_table(record: Record) -> None:
    packed = pack(record)
    found = {
        name: struct.unpack_from("<" + kind, packed, at)[0] for name, (at, kind) in TABLE.items()
    }
    assert found == record._asdict()
    assert packed[36:40] == bytes(4)


def test_half_a_record_is_refused() -> None:
    with pytest.raises(struct.error):
        unpack(bytes(47))


def test_unknown_methods_share_the_first_id() -> None:
    assert METHODS[0] == OTHER_METHOD
    assert OTHER_METHOD not in METHOD_IDS
    assert {METHODS[index] for index in METHOD_IDS.values()} == set(METHODS[1:])
