"""Durations are read in one way, wherever they stand."""

from datetime import UTC

import pytest

from trimtab_collector.contract.alertconfigs import duration_s
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.kinds import Moment
from trimtab_collector.contract.parameters import FROM

NOW_S = 1_700_006_400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2w", 14 * 86_400),
        ("1w2d", 9 * 86_400),
    ],
)
def test_a_range_and_an_alert_take_the_same_durations(text: str, seconds: int) -> None:
    assert FROM.read(f"-{text}", Moment(NOW_S, UTC)) == NOW_S - seconds
    assert duration_s("for", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", "5y", "\u0665m", "0.5s", "13w", "1m" * 6]
)
def test_what_is_no_duration_of_whole_seconds_up_to_90_days_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="expected seconds or a duration such as"):
        duration_s("for", text)
