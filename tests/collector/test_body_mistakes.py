"""What a body is refused with: the field, what was expected in words, and what came."""

from typing import Any

import msgspec
import pytest

from trimtab_collector.contract.alertconfigs import NewAlertConfig, NewThresholds
from trimtab_collector.contract.kpis import KpiTargets
from trimtab_collector.contract.mistakes import mistake
from trimtab_collector.contract.people import Credentials, UserChange
from trimtab_collector.contract.slos import SloSettings

SLO = {"name": "shop answers", "target": 0.99}


def said(kind: type[Any], value: object) -> str:
    """Return the sentence for a value that is not of a type."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(value), type=kind)
    return mistake(caught.value, value, kind)


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (
            SloSettings,
            SLO | {"target": 99.9},
            "target: expected a share from 0.5 to below 1, such as 0.999, got 99.9",
        ),
        (
            SloSettings,
            SLO | {"objective": "speed"},
            'objective: expected one of errors, latency, got "speed"',
        ),
        (SloSettings, SLO | {"windowDay": 7}, "windowDay: unknown; did you mean windowDays?"),
        (
            SloSettings,
            {"name": "x"},
            "target: expected a share from 0.5 to below 1, such as 0.999, got none",
        ),
        (
            SloSettings,
            SLO | {"windowDays": 91},
            "windowDays: expected a whole number from 1 to 90, got 91",
        ),
        (SloSettings, SLO | {"name": ""}, 'name: expected a text of 1 to 100 characters, got ""'),
        (SloSettings, [], "body: expected an object, got a list of 0"),
        (
            UserChange,
            {"role": "king"},
            'role: expected one of admin, planner or null, got "king"',
        ),
        (
            NewAlertConfig,
            {"metric": "p99", "for": [1]},
            "for: expected a whole number or a text, got a list of 1",
        ),
        (
            NewThresholds,
            {"thresholds": {"p99": {"warn": 1}}},
            "thresholds[...].warn: unknown; did you mean warning?",
        ),
        (
            NewThresholds,
            {"thresholds": {"p99": {"warning": "1"}}},
            "thresholds[...].warning: expected a number or null, got a text",
        ),
        (KpiTargets, {"kpis": [1]}, "kpis[0]: expected an object, got 1"),
    ],
)
def test_a_value_of_another_type_is_refused_in_words(
    kind: type[Any], value: object, sentence: str
) -> None:
    assert said(kind, value) == sentence


def test_an_unknown_field_that_is_near_nothing_lists_what_there_is() -> None:
    sentence = said(NewThresholds, {"zzz": 1})
    assert sentence == "zzz: unknown; expected some of thresholds"


@pytest.mark.parametrize("wrong", ["s3cret" * 100, ["s3cret"], {"s3cret": 1}])
def test_a_secret_is_never_shown(wrong: object) -> None:
    sentence = said(Credentials, {"name": "ada", "password": wrong})
    assert sentence.startswith("password: expected a text of up to 256 characters, got ")
    assert "s3cret" not in sentence
    assert "s3cret" not in said(Credentials, "s3cret")
