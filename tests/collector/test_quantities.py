"""Numbers as people read them, the same in mails and in reports."""

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.quantitycases import KINDS, cases
from trimtab_collector.contract.languages import LANGUAGES
from trimtab_collector.contract.quantities import QUANTITIES, number

ENGLISH = QUANTITIES["en"]


def said(language: str, kind: str, case: dict[str, Any]) -> str:
    """Return what is written of a case."""
    shown, value = QUANTITIES[language], case["value"]
    if kind == "written":
        return shown.quantity(value, case["unit"])
    if kind == "beside":
        return shown.beside(value, case["line"], case["unit"])
    return shown.change(value) if kind == "change" else shown.duration(value)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_quantities_are_written_as_the_cases_say_that_the_page_is_held_to(
    kind: str, language: str
) -> None:
    found = [(case, said(language, kind, case)) for case in cases(kind)]
    assert [each for each in found if each[1] != each[0][language]] == []


def test_every_language_has_quantities() -> None:
    assert set(QUANTITIES) == set(LANGUAGES)
    assert QUANTITIES["ko"]._units.keys() == ENGLISH._units.keys()


@given(st.floats(0, 1, exclude_max=True))
def test_less_than_all_is_never_shown_as_all(share: float) -> None:
    assert ENGLISH.percent(share) != "100 %"


def test_a_value_and_its_line_never_look_the_same_unless_they_are() -> None:
    assert ENGLISH.quantity(float("nan"), "") == "?"
    assert ENGLISH.pair(5000.3, 5000.0, "ms") == ("5.0003 s", "5 s")
    assert ENGLISH.pair(120_400.0, 120_000.0, "ms") == ("120.4 s", "2 min")
    assert ENGLISH.pair(0.90004, 0.9, "ratio") == ("90.004 %", "90 %")
    assert ENGLISH.pair(5000.0, 5000.0, "ms") == ("5 s", "5 s")


def test_numbers_read_well() -> None:
    assert [number(value) for value in (0, 0.000123, 99.96, 1234567)] == [
        "0", "0.000123", "100", "1,234,567"
    ]  # fmt: skip


@pytest.mark.parametrize("unit", ["", "ms", "s", "ratio", "bytes", "bytes/s", "1/s", "cats"])
@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 1e22, inf, nan])
def test_figures_without_measure_are_written_and_short(value: float, unit: str) -> None:
    for digits in (3, 7):
        assert len(ENGLISH.quantity(value, unit, digits)) < 40
    assert len(ENGLISH.duration(value)) < 40
