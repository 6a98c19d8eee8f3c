"""Frames: the same messages come out of a stream however it is cut; nothing else gets through."""

import gc
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_core.errors import BatchError, FrameError
from trimtab_core.frames import MAX_FRAME, FrameReader, encode
from trimtab_core.messages import Samples, parse
from trimtab_core.unpacking import MAX_MAP, unpacked

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False),
    st.text(max_size=20), st.binary(max_size=100),
)  # fmt: skip
BODIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
MESSAGES = st.builds(lambda kind, rest: [kind, *rest], st.text(), st.lists(BODIES, max_size=4))
BUDGET = 64 * 1024 * 1024


def framed(payload: bytes) -> bytes:
    """Return a frame around any payload."""
    return struct.pack(">I", len(payload)) + payload


def read(data: bytes) -> list[list[Any]]:
    return list(FrameReader().feed(data))


@given(st.lists(MESSAGES, max_size=6), st.data())
def test_messages_survive_any_split_of_the_stream(messages: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader, got = FrameReader(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += list(reader.feed(stream[start:stop]))
    assert got == messages
    assert reader.held == 0


@given(MESSAGES)
def test_messages_survive_a_stream_of_single_bytes(message: list[Any]) -> None:
    reader, got = FrameReader(), []
    for byte in encode(message):
        got += list(reader.feed(bytes([byte])))
    assert got == [message]


@given(MESSAGES, st.data())
def test_half_a_frame_is_kept_and_yields_nothing(message: list[Any], data: st.DataObject) -> None:
    whole = encode(message)
    stop = data.draw(st.integers(0, len(whole) - 1))
    reader = FrameReader()
    assert list(reader.feed(whole[:stop])) == []
    assert reader.held == stop
    assert list(reader.feed(whole[stop:])) == [message]


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_waits_for_more_and_never_ends_in_another_error(data: bytes) -> None:
    try:
        for message in read(data):
            parse(message)
    except FrameError:
        pass


@given(st.binary(min_size=1, max_size=300))
def test_a_garbled_payload_is_a_message_or_a_frame_error(payload: bytes) -> None:
    try:
        for message in read(framed(payload)):
            parse(message)
    except FrameError:
        pass


def test_the_largest_frame_passes_and_one_byte_more_does_not() -> None:
    room = MAX_FRAME - len(msgpack.packb(["x", b""])) - 3  # bin 32 has a head of 5, bin 8 of 2
    message = ["x", bytes(room)]
    assert read(encode(message)) == [message]
    with pytest.raises(FrameError, match="holds at most"):
        encode(["x", bytes(room + 1)])


DEEP = b"\x91" * 100_000 + b"\xc0"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xff\xff\xff", "claims 4294967295"),
        (struct.pack(">I", MAX_FRAME + 1), "claims 262145"),
        (b"\0\0\0\0", "empty one"),
        (framed(b"\xc1"), "expected msgpack"),
        (framed(b"\x92\xa1x"), "expected msgpack"),
        (framed(b"\x91\xa1xtail"), "expected msgpack"),
        (framed(b"\x90"), r"form \[type"),
        (framed(b"\x80"), r"form \[type"),
        (framed(b"\x91\x01"), r"form \[type"),
        (framed(b"\x91\xc4\x01x"), r"form \[type"),
        (framed(b"\x91\xa1\xff"), "UnicodeDecodeError"),
        (framed(b"\x92\xa1x" + DEEP), "StackError"),
        (framed(b"\x92\xa1x\xd4\x05\x00"), "expected msgpack"),
        (framed(b"\x92\xa1x\xc7\x40\x05" + bytes(64)), "expected msgpack"),
        (framed(b"\x92\xa1x\x81\x90\x01"), "expected msgpack"),
        (framed(b"\x92\xa1x\xdd\x7f\xff\xff\xff"), "expected msgpack"),
        (framed(b"\x92\xa1x\xdf\x7f\xff\xff\xff"), "expected msgpack"),
        (framed(b"\x92\xa1x\xc6\x7f\xff\xff\xff"), "expected msgpack"),
    ],
    ids=[
        "largest length", "one over the limit", "empty frame", "no msgpack", "truncated", "tail",
        "no type", "a map", "a number as type", "binary as type", "no UTF-8", "100,000 deep",
        "ext", "long ext", "list as key", "list of 2**31", "map of 2**31", "binary of 2**31",
    ],
)  # fmt: skip
def test_hostile_frames_are_refused_with_a_reason(data: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        read(data)


def bomb_of_lists() -> bytes:
    """The most empty lists that fit a frame: lists of 65,000 each."""
    part = b"\xdc" + struct.pack(">H", 65_000) + b"\x90" * 65_000
    return framed(b"\x95\xa1x" + part * 4)


def bomb_of_maps() -> bytes:
    part = b"\xdc" + struct.pack(">H", 65_000) + b"\x80" * 65_000
    return framed(b"\x95\xa1x" + part * 4)


def flat_bomb() -> bytes:
    return framed(b"\xdd" + struct.pack(">I", 200_001) + b"\xa1x" + b"\x90" * 200_000)


def in_hello(pid: bytes) -> bytes:
    head = msgpack.packb({"process": b"8 bytes!", "environment": "e", "service": "s",
                          "version": "", "host": "h"})  # fmt: skip
    return framed(b"\x92\xa5hello" + bytes([head[0] + 1]) + head[1:] + b"\xa3pid" + pid)


def peak_while(work: Callable[[], object]) -> int:
    """Return the most memory that Python held more than before, in bytes, during work."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bomb", [bomb_of_lists, bomb_of_maps, flat_bomb])
def test_a_bomb_in_a_frame_stays_within_64_mb(bomb: Callable[[], bytes]) -> None:
    data = bomb()
    assert len(data) <= MAX_FRAME + 4

    def hear() -> None:
        try:
            for message in read(data):
                parse(message)
        except FrameError:
            pass

    assert peak_while(hear) < BUDGET


def test_a_length_that_is_only_claimed_takes_no_memory() -> None:
    def hear() -> None:
        reader = FrameReader()
        assert list(reader.feed(struct.pack(">I", MAX_FRAME))) == []

    assert peak_while(hear) < 64 * 1024


def test_a_map_has_no_more_entries_than_may_collide() -> None:
    def of(entries: int) -> bytes:
        payload: bytes = msgpack.packb(["x", dict.fromkeys(range(entries), 0)])
        return struct.pack(">I", len(payload)) + payload

    assert len(list(FrameReader().feed(of(MAX_MAP)))) == 1
    with pytest.raises(FrameError):
        list(FrameReader().feed(of(MAX_MAP + 1)))
    with pytest.raises(BatchError):
        unpacked(of(MAX_MAP + 1)[4:], containers=10, items=1000, text=10)


@pytest.mark.parametrize(
    "pid",
    [b"\x91" * 900 + b"\xc0", b"\x91" * 1000 + b"\xc0", b"\x81\x01" * 900 + b"\xc0"],
    ids=["900 lists deep", "1,000 lists deep", "900 maps deep"],
)
def test_nesting_that_msgpack_still_takes_breaks_nothing_behind_it(pid: bytes) -> None:
    (message,) = read(in_hello(pid))
    with pytest.raises(FrameError):
        parse(message)


def test_a_broken_frame_does_not_cost_the_whole_ones_before_it() -> None:
    got = []
    reader = FrameReader()
    stream = encode(["a", 1]) + encode(["b", 2]) + framed(b"\xc1") + encode(["c", 3])

    def hear() -> None:
        for message in reader.feed(stream):
            got.append(message)  # noqa: PERF402 - what came before the error is the point

    with pytest.raises(FrameError):
        hear()
    assert got == [["a", 1], ["b", 2]]


def test_a_frame_of_4096_records_travels_whole() -> None:
    samples = Samples(1, 2, 3, {"buffer_full": 4}, 48, bytes(48 * 4096))
    (message,) = read(encode(samples.frame()))
    assert parse(message) == samples
