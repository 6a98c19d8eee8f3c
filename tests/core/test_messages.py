"""Messages: each class comes back from its frame, and what breaks its form is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_core.deltas import Deltas, Events
from trimtab_core.errors import FrameError
from trimtab_core.frames import FrameReader, encode
from trimtab_core.messages import (
    MAX_TEMPLATE,
    Bye,
    Gauges,
    Hello,
    Message,
    Routes,
    Samples,
    Welcome,
    parse,
)
from trimtab_core.names import clean_name

COUNTS = st.integers(0, 2**53)
HALF = st.integers(0, 2**52)
CHARACTERS = st.characters(exclude_categories=["Cs"])
NAMES = st.text(CHARACTERS, min_size=1, max_size=128).map(clean_name)
EMPTY_TOO = st.just("") | NAMES
DROPS = st.dictionaries(NAMES, COUNTS, max_size=16)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
HELLOS = st.builds(
    Hello,
    environment=NAMES,
    service=NAMES,
    version=EMPTY_TOO,
    host=NAMES,
    pid=COUNTS,
    process=st.binary(min_size=8, max_size=8),
    sent=COUNTS,
    worker=st.integers(-1, 65535),
    record_size=st.sampled_from((48, 56, 256)),
    protocol=COUNTS,
    facts=st.dictionaries(NAMES, EMPTY_TOO, max_size=32),
)
SAMPLES = st.builds(
    lambda size, n, first, dropped: Samples(5, 6, first, dropped, size, bytes(size * n)),
    st.sampled_from((48, 64, 256)),
    st.integers(0, 20),
    HALF,
    DROPS,
)
TEMPLATES = st.text(CHARACTERS, min_size=1, max_size=MAX_TEMPLATE).map(clean_name)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    HELLOS,
    SAMPLES,
    st.builds(Routes, st.dictionaries(st.integers(1, 65535), TEMPLATES, max_size=20)),
    st.builds(
        Gauges,
        COUNTS,
        COUNTS,
        DROPS,
        st.dictionaries(NAMES, FINITE, max_size=20),
    ),
    st.builds(Bye, COUNTS, DROPS),
    st.builds(Welcome, NAMES, st.integers(0, 65535), COUNTS),
)


@given(MESSAGES)
def test_a_message_comes_back_from_its_frame(message: Message) -> None:
    (frame,) = FrameReader().feed(encode(message.frame()))
    assert parse(frame) == message


def test_a_type_of_tomorrow_is_skipped() -> None:
    assert parse(["slow_query", {"any": "thing"}]) is None


def test_fields_behind_the_known_ones_are_a_newer_peers_and_ignored() -> None:
    samples = Samples(1, 2, 3, {}, 48, bytes(48))
    assert parse([*samples.frame(), "new"]) == samples


def test_a_template_that_is_too_long_is_cut_not_refused() -> None:
    assert parse(["routes", [[1, "/" * 5000]]]) == Routes({1: "/" * MAX_TEMPLATE})


HELLO = Hello("e", "s", "", "h", 1, bytes(8)).frame()[1]
_NO_SERVICE = {key: value for key, value in HELLO.items() if key != "service"}


@pytest.mark.parametrize(
    "broken",
    [
        ["hello"],
        ["hello", []],
        ["hello", _NO_SERVICE],
        ["hello", {**HELLO, "process": b"short"}],
        ["hello", {**HELLO, "process": "8 letter"}],
        ["hello", {**HELLO, "service": ""}],
        ["hello", {**HELLO, "service": "s" * 129}],
        ["hello", {**HELLO, "pid": -1}],
        ["hello", {**HELLO, "pid": True}],
        ["hello", {**HELLO, "sent": 1.0}],
        ["hello", {**HELLO, "sent": 2**63}],
        ["hello", {**HELLO, "record_size": 40}],
        ["hello", {**HELLO, "record_size": 50}],
        ["hello", {**HELLO, "record_size": 264}],
        ["hello", {**HELLO, "worker": -2}],
        ["hello", {**HELLO, "facts": [1]}],
        ["routes", [[0, "/"]]],
        ["routes", [[65536, "/"]]],
        ["routes", [[1, ""]]],
        ["routes", [[1]]],
        ["routes", 7],
        ["samples", 1, 2, 3],
        ["samples", 1, 2, 3, {}, 48, "text"],
        ["samples", 1, 2, 3, {}, 48, bytes(47)],
        ["samples", 1, 2, -3, {}, 48, bytes(48)],
        ["samples", 1, 2, 2**53 - 1, {}, 48, bytes(96)],
        ["samples", 1, 2, 3, [], 48, bytes(48)],
        ["samples", 1, 2, 3, {"full": -1}, 48, bytes(48)],
        ["samples", 1, 2, 3, {str(n): 1 for n in range(17)}, 48, bytes(48)],
        ["samples", 1, 2, 3, {}, 0, b""],
        ["samples", 1, 2, 2**53, {}, 48, bytes(48)],
        ["samples", 1, 2, 2**63 - 1, {}, 48, bytes(48)],
        ["gauges", 1, 2**53 + 1, {}, {}],
        ["events", 7, 0],
        ["deltas", 7],
        ["gauges", 1, 2, {}, {str(n): 1 for n in range(257)}],
        ["bye"],
        ["bye", 1],
        ["welcome", {"agent": "a", "worker": -1, "protocol": 1}],
    ],
    ids=repr,
)
def test_a_known_type_without_its_form_is_refused(broken: list[Any]) -> None:
    with pytest.raises(FrameError, match=f"well-formed {broken[0]!r}"):
        parse(broken)


@pytest.mark.parametrize("value", ["much", True, None, float("nan"), float("inf"), []], ids=repr)
def test_a_gauge_without_a_finite_number_costs_itself(value: Any) -> None:
    message = parse(["gauges", 1, 2, {}, {"cpu": value, "memory": 7}])
    assert isinstance(message, Gauges)
    assert (message.values, message.malformed) == ({"memory": 7.0}, 1)


@pytest.mark.parametrize(
    "row", [7, [1], [0, 1, 1.0, 1.0, 1.0, 1.0, []], [1, 2**53, 1.0, 1.0, 1.0, 1.0, []],
            [1, 1, float("inf"), 1.0, 1.0, 1.0, []], [1, 1, 1.0, 1.0, 1.0, 1.0, [3041, 1]]],
    ids=repr,
)  # fmt: skip
def test_a_delta_that_is_malformed_costs_itself(row: Any) -> None:
    good = [1, 1, 1.0, 1.0, 1.0, 1.0, []]
    message = parse(["deltas", [good, row, good], 1, 2, 3, 0])
    assert isinstance(message, Deltas)
    assert (len(message.deltas), message.malformed) == (2, 1)


EVENT: dict[Any, Any] = {"kind": "request", "at_us": 1, "status": 200, "spans": [["db", 1, 2, "q"]]}


@pytest.mark.parametrize(
    "event",
    [
        7,
        {},
        {**EVENT, 1: "a"},
        {**EVENT, b"a": "a"},
        {**EVENT, "a": b"a"},
        {**EVENT, "a": [{1: 2}]},
        {**EVENT, "a": [b"a"]},
        {**EVENT, "a": [[float("nan")]]},
        {**EVENT, "a": [[[[[1]]]]]},
        {**EVENT, "a": [[]] * 500},
        {**EVENT, "a": "a" * 32_768},
        {**EVENT, "a": "\x01" * 32_000},
        {**EVENT, "at_us": 2**63 - 1},
        {**EVENT, "status": float("nan")},
        {**EVENT, "status": -1},
        {**EVENT, "status": "200"},
        {**EVENT, "count": 2**64 - 1},
        {**EVENT, "trace": 7},
        {**EVENT, "spans": "none"},
        {**EVENT, "spans": [["db", 1, 2]]},
        {**EVENT, "spans": [["db", "1", 2, "q"]]},
        {**EVENT, "spans": [["db", 1, -2, "q"]]},
    ],
    ids=lambda event: repr(event)[:60],
)
def test_an_event_that_is_malformed_costs_itself(event: Any) -> None:
    (frame,) = FrameReader().feed(encode(["events", [EVENT, event, EVENT], 0]))
    message = parse(frame)
    assert isinstance(message, Events)
    assert (list(message.events), message.malformed) == ([EVENT, EVENT], 1)


def test_an_event_may_have_lists_of_numbers_and_texts() -> None:
    event = {**EVENT, "a": [1, 1.5, None, True, {"b": ["c"]}], "b": -7}
    message = parse(["events", [event], 0])
    assert isinstance(message, Events)
    assert list(message.events) == [event]
