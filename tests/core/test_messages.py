"""Messages: each class comes back from its frame, and what breaks its form is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
CHARACTERS = st.characters(exclude_categories=["Cs"])
NAMES = st.text(CHARACTERS, min_size=1, max_size=128).map(clean_name)
EMPTY_TOO = st.just("") | NAMES
DROPS = st.dictionaries(NAMES, COUNTS, max_size=16)
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
    COUNTS,
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
        st.dictionaries(NAMES, st.floats(allow_nan=False), max_size=20),
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
        ["gauges", 1, 2, {}, {"cpu": "much"}],
        ["gauges", 1, 2, {}, {"cpu": True}],
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
