"""A cause is logged once a minute, causes take bounded memory, and lines cannot be forged."""

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_core.logs import MAX_CAUSES, PlainFormatter, RateLimited, Seldom, plain, veiled

LOGGER = logging.getLogger("trimtab.test_logs")


def test_a_cause_is_logged_once_a_minute_and_says_how_often_it_came_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = 1000.0
    limited = RateLimited(LOGGER, clock=lambda: now_s)
    for _ in range(3):
        limited.warning("disk", "the disk is full")
    now_s += 60
    limited.warning("disk", "the disk is full")
    assert [record.getMessage() for record in caplog.records] == [
        "the disk is full",
        "the disk is full (and 2 times before)",
    ]


def test_over_the_bound_the_cause_logged_least_recently_is_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = 1000.0
    limited = RateLimited(LOGGER, clock=lambda: now_s)
    for number in range(MAX_CAUSES + 1):
        limited.warning(str(number), "cause %s", number)
    limited.warning(str(MAX_CAUSES), "cause %s", MAX_CAUSES)
    assert len(caplog.records) == MAX_CAUSES + 1
    limited.warning("0", "cause 0 again")  # it was forgotten, so it is said once more
    assert caplog.records[-1].getMessage() == "cause 0 again"


@given(st.text())
def test_a_plain_text_is_one_line_without_controls_and_can_be_encoded(text: str) -> None:
    found = plain(text)
    found.encode()
    assert len(found.splitlines()) <= 1
    assert not any(ord(each) < 0x20 or 0x7F <= ord(each) <= 0x9F for each in found)
    assert not any("\u202a" <= each <= "\u202e" or "\u2066" <= each <= "\u2069" for each in found)
    assert plain(found) == found


def test_ordinary_texts_stay_as_they_are() -> None:
    for text in ("GET /items/{id} 200", "주문이 느립니다", "größer ✓ 日本", r"C:\new\table"):
        assert plain(text) == text
        assert veiled(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key ttk_0123456789ab_" + "a" * 64, "key ttk_..."),
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer ..."),
        ("a eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln b", "a eyJ... b"),
        ("postgresql://shop:pa55@db:5432/x", "postgresql://shop:...@db:5432/x"),
        ("http://127.0.0.1:8620/a@b", "http://127.0.0.1:8620/a@b"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str, shown: str) -> None:
    assert veiled(text) == shown


def test_a_forged_line_stands_indented_below_the_true_one() -> None:
    try:
        raise ValueError("x\n2026-01-01 00:00:00,000 INFO trimtab all is well")
    except ValueError:
        record = LOGGER.makeRecord("n", 40, "f", 1, "agent=%s", ("a\nb",), sys.exc_info())
    first, *others = PlainFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first == "ERROR agent=a\\nb"
    assert len(others) > 3
    assert all(line.startswith("    ") for line in others)


def test_a_message_is_let_through_once_a_minute_whatever_is_filled_in() -> None:
    now_s = 1000.0
    seldom = Seldom(clock=lambda: now_s)

    def passes(message: str) -> bool:
        return bool(seldom.filter(LOGGER.makeRecord("n", 40, "f", 1, message, (), None)))

    assert [passes("bad %s"), passes("bad %s"), passes("worse")] == [True, False, True]
    now_s += 60
    assert passes("bad %s")


def test_configuring_again_changes_the_level_and_keeps_the_handlers_of_others() -> None:
    code = (
        "import logging; from trimtab_core.logs import configure; configure('info');"
        "logging.getLogger().addHandler(logging.NullHandler()); configure('warning');"
        "logging.info('no'); logging.warning('a\\nb');"
        "print(len(logging.getLogger().handlers))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("WARNING root a\\nb\n")
