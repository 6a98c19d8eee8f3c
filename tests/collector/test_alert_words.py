"""What `trimtab alert` prints."""

import pytest

from trimtab_collector.alerts.cli import _told, _value

FOUND = {
    "from": "a", "to": "b", "step": 60, "series": 3, "firingSeconds": 600.0, "messages": {},
    "messagesPerWeek": 1.0, "alerts": [], "alertsLeftOut": 0, "notes": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("count", "says"),
    [(0, "fires 0 times,"), (1, "fires once,"), (2, "fires 2 times,")],
)
def test_a_preview_counts_as_people_do(
    capsys: pytest.CaptureFixture[str], count: int, says: str
) -> None:
    _told("slow", {**FOUND, "fired": count, "messagesTotal": count})
    told = capsys.readouterr().out
    assert says in told
    assert ("1 message," if count == 1 else f"{count} messages,") in told


@pytest.mark.parametrize(
    ("value", "unit", "says"),
    [(1340.0, "ms", "1.34 s (line 1 s)"), (1000.2, "ms", "1.0002 s (line 1 s)"),
     (None, "ms", "unknown")],
)  # fmt: skip
def test_an_alert_shows_its_value_as_a_mail_does(value: float | None, unit: str, says: str) -> None:
    assert _value({"value": value, "threshold": 1000.0, "unit": unit}) == says
