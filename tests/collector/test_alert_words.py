"""What `trimtab alert` prints."""

import pytest

from support.alerts import an_alert
from trimtab_collector.alerts.bodies import _sentence
from trimtab_collector.alerts.cli import _told, _value, _where

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


def test_a_place_is_named_from_the_widest_to_the_narrowest_whatever_the_rule() -> None:
    labels = {"route": "/", "zone": "b", "service": "shop", "environment": "live", "version": ""}
    assert _where(labels) == _where(dict(reversed(labels.items()))) == "live shop / b"
    assert _where({"service": ""}) == "everything"


def test_no_value_is_rounded_onto_the_line_that_it_crossed() -> None:
    alert = an_alert(metric="cacheHitRate", operator="lt", threshold=0.8, unit="ratio",
                     value=0.79994, worst=0.7999)  # fmt: skip
    assert "is 79.99 % since" in _sentence(alert)
    over = an_alert(metric="cacheHitRate", operator="lt", threshold=0.8, unit="ratio",
                    worst=0.7999, state="resolved")  # fmt: skip
    assert _sentence(over).endswith("the worst was 79.99 %")


@pytest.mark.parametrize(
    ("state", "value", "says"),
    [
        ("firing", 0.95, "cpuUsage is 95 % since A, fired B; over 90 % is critical"),
        ("firing", 0.869, "cpuUsage was over 90 %, now 86.9 %; since A, fired B"),
        ("keeping", 0.5, "cpuUsage was over 90 %, now 50 %, good since C"),
        ("resolved", 0.5, "cpuUsage was over 90 % from A to C and recovered"),
        ("pending", 0.95, "cpuUsage is 95 % since A; over 90 % is critical"),
    ],
)
def test_no_message_states_a_comparison_that_is_not_true_now(
    state: str, value: float, says: str
) -> None:
    alert = an_alert(
        metric="cpuUsage", threshold=0.9, unit="ratio", value=value, worst=None, state=state,
        severity="critical", since="A", fired_at=None if state == "pending" else "B",
        recovered_at="C",
    )  # fmt: skip
    assert _sentence(alert) == says
