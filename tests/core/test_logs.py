"""A cause is logged once a minute, and causes without number take no memory without bound."""

import logging

import pytest

from trimtab_core.logs import MAX_CAUSES, RateLimited

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
