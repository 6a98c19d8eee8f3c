"""Numbers as people read them, the same in mails and in reports."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_collector.contract.languages import LANGUAGES
from trimtab_collector.contract.quantities import QUANTITIES, number

ENGLISH = QUANTITIES["en"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.4126, "ms", "0.413 ms"), (412.3, "ms", "412 ms"), (1340.0, "ms", "1.34 s"),
        (12_345.0, "ms", "12.3 s"), (130_000.0, "ms", "2 min 10 s"), (300_000.0, "ms", "5 min"),
        (0.0031, "s", "3.1 ms"), (90.0, "s", "1 min 30 s"), (None, "ms", "\N{EN DASH}"),
        (0.0531, "ratio", "5.31 %"), (0.9995, "ratio", "99.95 %"), (0.99994, "ratio", "99.994 %"),
        (0.999999, "ratio", "99.999 %"), (1.0, "ratio", "100 %"), (0.0, "ratio", "0 %"),
        (999.0, "bytes", "999 B"), (32 * 2**20, "bytes", "32 MiB"), (10e6, "bytes/s", "10 MB/s"),
        (1284.0, "1/s", "1,284/s"), (12_400.0, "", "12,400"), (3.0, "widgets", "3 widgets"),
        (float("nan"), "", "?"), (1e-9, "", "0"),
    ],
)  # fmt: skip
def test_figures_are_shown_with_the_digits_that_count(
    value: float | None, unit: str, text: str
) -> None:
    assert ENGLISH.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1340.0, "ms", "1.34초"), (130_000.0, "ms", "2분 10초"), (32 * 2**20, "bytes", "32MiB"),
        (0.9995, "ratio", "99.95%"), (12.0, "1/s", "초당 12건"), (1e6, "bytes/s", "초당 1MB"),
    ],
)  # fmt: skip
def test_korean_has_its_own_units(value: float, unit: str, text: str) -> None:
    assert QUANTITIES["ko"].quantity(value, unit) == text


def test_every_language_has_quantities() -> None:
    assert set(QUANTITIES) == set(LANGUAGES)
    assert QUANTITIES["ko"]._units.keys() == ENGLISH._units.keys()


@given(st.floats(0, 1, exclude_max=True))
def test_less_than_all_is_never_shown_as_all(share: float) -> None:
    assert ENGLISH.percent(share) != "100 %"


def test_a_value_and_its_line_never_look_the_same_unless_they_are() -> None:
    assert ENGLISH.pair(5000.3, 5000.0, "ms") == ("5.0003 s", "5 s")
    assert ENGLISH.pair(120_400.0, 120_000.0, "ms") == ("120.4 s", "2 min")
    assert ENGLISH.pair(0.90004, 0.9, "ratio") == ("90.004 %", "90 %")
    assert ENGLISH.pair(5000.0, 5000.0, "ms") == ("5 s", "5 s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-3, "0 s"), (5, "5 s"), (90, "1 min 30 s"), (119, "1 min 59 s"), (720, "12 min"),
     (3600, "1 h"), (3599.9, "1 h"), (5400, "1 h 30 min"), (7200, "2 h"), (12_000, "3 h 20 min"),
     (187_200, "2 d 4 h"), (200_000, "2 d 8 h")],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert ENGLISH.duration(seconds) == text


def test_numbers_and_changes_read_well() -> None:
    assert [number(value) for value in (0, 0.000123, 99.96, 1234567)] == [
        "0", "0.000123", "100", "1,234,567"
    ]  # fmt: skip
    assert [ENGLISH.change(value) for value in (0.116, -0.5, 0.0001, None)] == [
        "+12 %", "\N{MINUS SIGN}50 %", "0 %", "\N{EN DASH}"
    ]  # fmt: skip


@pytest.mark.parametrize("unit", ["", "ms", "s", "ratio", "bytes", "bytes/s", "1/s", "cats"])
@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 1e22, inf, nan])
def test_figures_without_measure_are_written_and_short(value: float, unit: str) -> None:
    for digits in (3, 7):
        assert len(ENGLISH.quantity(value, unit, digits)) < 40
    assert len(ENGLISH.duration(value)) < 40
