"""Steps of a range: over clock changes, in zones of half an hour, and within their limits."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_collector.contract.kinds import LONGEST_STEP_S, SHORTEST_STEP_S, read_step
from trimtab_collector.reads.steps import MOST, auto_s, edges_of
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import TooMuchError

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
#: zones whose clocks change at midnight, by half an hour, across the date line, or never
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Scoresbysund",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Seoul",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
TIMES = st.integers(1_230_000_000, 1_900_000_000)


def at(text: str, zone: ZoneInfo) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


def hours(edges: tuple[int, ...]) -> list[float]:
    return [(end - start) / 3600 for start, end in itertools.pairwise(edges)]


def test_days_have_23_and_25_hours_when_clocks_change() -> None:
    spring = edges_of(at("2026-03-28T10:00", BERLIN), at("2026-03-30T10:00", BERLIN), "day", BERLIN)
    assert hours(spring) == [24, 23, 24]
    autumn = edges_of(at("2026-10-24T10:00", BERLIN), at("2026-10-26T10:00", BERLIN), "day", BERLIN)
    assert hours(autumn) == [24, 25, 24]
    assert spring[0] == at("2026-03-28T00:00", BERLIN)
    assert spring[-1] == at("2026-03-31T00:00", BERLIN)


def test_weeks_begin_on_monday_and_one_with_a_change_has_an_hour_less() -> None:
    edges = edges_of(at("2026-03-25T10:00", BERLIN), at("2026-04-01T10:00", BERLIN), "week", BERLIN)
    assert hours(edges) == [167, 168]
    assert datetime.fromtimestamp(edges[0], BERLIN).isoformat() == "2026-03-23T00:00:00+01:00"


def test_months_begin_on_the_first() -> None:
    edges = edges_of(
        at("2024-01-31T10:00", BERLIN), at("2024-04-02T10:00", BERLIN), "month", BERLIN
    )
    assert [datetime.fromtimestamp(edge, BERLIN).date() for edge in edges] == [
        date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1), date(2024, 4, 1), date(2024, 5, 1)
    ]  # fmt: skip
    assert hours(edges) == [31 * 24, 29 * 24, 31 * 24 - 1, 30 * 24]


def test_a_day_whose_midnight_is_left_out_begins_with_its_first_second() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    edges = edges_of(at("2018-11-03T10:00", zone), at("2018-11-04T10:00", zone), "day", zone)
    assert hours(edges) == [24, 23]
    assert datetime.fromtimestamp(edges[1], zone).isoformat() == "2018-11-04T01:00:00-02:00"


def test_a_day_that_was_left_out_is_no_step() -> None:
    zone = ZoneInfo("Pacific/Apia")
    edges = edges_of(at("2011-12-29T10:00", zone), at("2011-12-31T10:00", zone), "day", zone)
    assert hours(edges) == [24, 24]
    assert datetime.fromtimestamp(edges[1], zone).date() == date(2011, 12, 31)


def test_hours_and_days_of_seconds_begin_with_those_of_the_zone() -> None:
    noon = at("2026-11-20T12:10", KOLKATA)
    edges = edges_of(noon, noon + 3600, 3600, KOLKATA)
    assert [datetime.fromtimestamp(edge, KOLKATA).strftime("%H:%M") for edge in edges] == [
        "12:00", "13:00", "14:00"
    ]  # fmt: skip
    assert edges_of(noon, noon + 1, 86_400, KOLKATA)[0] == at("2026-11-20T00:00", KOLKATA)
    assert edges_of(noon, noon + 1, 3600, UTC)[0] % 3600 == 0


def test_a_range_on_edges_is_not_widened() -> None:
    assert edges_of(1_700_000_000, 1_700_000_020, 10, UTC) == (
        1_700_000_000, 1_700_000_010, 1_700_000_020
    )  # fmt: skip
    assert edges_of(1_700_000_000.5, 1_700_000_010.5, 10, UTC)[-1] == 1_700_000_020


def test_nothing_lies_before_1970() -> None:
    for step in (3600, "day", "week", "month"):
        edges = edges_of(0, 90_000, step, ZoneInfo("America/New_York"))
        assert edges[0] == 0
        assert list(edges) == sorted(set(edges))


def test_too_many_steps_are_refused_before_they_are_made() -> None:
    assert len(edges_of(0, 10 * MOST, 10, UTC)) == MOST + 1
    with pytest.raises(TooMuchError, match="at most 20000 steps in the range, got 3456000"):
        edges_of(0, 400 * 86_400, 10, UTC, MOST)
    with pytest.raises(TooMuchError, match="longer step"):
        edges_of(0, 400 * 86_400, "day", UTC, 399)


@pytest.mark.parametrize(
    ("text", "step"),
    [("10", 10), ("90", 90), ("86400", 86_400), ("minute", 60), ("hour", 3600), ("day", "day"),
     (str(LONGEST_STEP_S), LONGEST_STEP_S), (str(LONGEST_STEP_S + 10), None), ("0", None),
     ("15", None), ("-10", None), ("1e3", None), ("", None), ("\u0661\u0660", None),
     ("9" * 5_000, None), ("year", None)],
)  # fmt: skip
def test_a_step_is_seconds_or_a_word(text: str, step: int | str | None) -> None:
    assert read_step(text) == step


def test_edges_of_the_shortest_step_are_edges_of_windows() -> None:
    assert SHORTEST_STEP_S % WINDOW_S == 0
    assert read_step(str(SHORTEST_STEP_S)) == SHORTEST_STEP_S


def test_a_step_is_chosen_so_that_there_are_not_too_many() -> None:
    assert auto_s(3600, 120) == 30
    assert auto_s(86_400, 120) == 900
    assert auto_s(1, 120) == 10
    assert auto_s(400 * 86_400, 10) == 7 * 86_400


@given(st.sampled_from(ZONES), TIMES, st.integers(1, 90 * 86_400), st.sampled_from(["day", "week"]))
def test_calendar_steps_hold_the_range_and_change_where_the_date_does(
    name: str, start_s: int, length_s: int, word: str
) -> None:
    zone = ZoneInfo(name)
    edges = edges_of(start_s, start_s + length_s, word, zone)
    assert edges[0] <= start_s < edges[1]
    assert edges[-2] < start_s + length_s <= edges[-1]
    assert list(edges) == sorted(set(edges))
    for edge in edges:
        before, after = (datetime.fromtimestamp(edge - back, zone) for back in (1, 0))
        assert before.date() < after.date()
        assert edge % 10 == 0
        if word == "week" and after.date() - before.date() == timedelta(days=1):
            assert after.weekday() == 0


@given(st.sampled_from(ZONES), TIMES, st.integers(1, 10**6), st.integers(1, 10_000))
def test_steps_of_seconds_hold_the_range_and_are_equal(
    name: str, start_s: int, length_s: int, tens: int
) -> None:
    edges = edges_of(start_s, start_s + length_s, 10 * tens, ZoneInfo(name), 10**6)
    assert edges[0] <= start_s < edges[1]
    assert edges[-2] < start_s + length_s <= edges[-1]
    assert {end - start for start, end in itertools.pairwise(edges)} == {10 * tens}
    assert edges[0] % 10 == 0
