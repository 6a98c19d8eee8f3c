"""What `trimtab alert` prints."""

import pytest

from trimtab_collector.alerts.cli import _told

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
