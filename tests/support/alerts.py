"""Alerts as tests tell of them, and the history of a place where there were none."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from trimtab_collector.contract.alerts import AlertBody

__all__ = ["NoAlerts", "an_alert"]

_ALERT = AlertBody(
    id="1",
    incident="incident-1",
    rule_id="errorRate",
    rule_name="errors",
    type="critical",
    severity="warning",
    state="firing",
    metric="errorRate",
    operator="gt",
    threshold=0.1,
    warning=None,
    critical=None,
    value=0.5,
    worst=1.0,
    over=60,
    unit="ratio",
    environment="test",
    service="shop",
    route="/",
    instance="",
    version="",
    labels={},
    since="2026-10-27T08:00:00.000Z",
    severity_since="2026-10-27T08:00:00.000Z",
    fired_at="2026-10-27T08:00:00.000Z",
    recovered_at=None,
    resolved_at=None,
    last_data="2026-10-27T09:00:00.000Z",
    acknowledged_by=None,
    acknowledged_at=None,
    held=None,
    title="shop fails",
    message="shop fails",
)


def an_alert(number: str = "1", **more: Any) -> AlertBody:
    """Return an alert of a service that fires, with an id."""
    if "since" in more:
        more.setdefault("severity_since", more["since"])
    return replace(_ALERT, id=number, **more)


class NoAlerts:
    """No alert ever fired."""

    def between(
        self, from_s: float, to_s: float, environment: str = "", service: str = ""
    ) -> Sequence[AlertBody]:
        """Return no alert."""
        return ()

    def open(self, environment: str = "", service: str = "") -> Sequence[AlertBody]:
        """Return no alert."""
        return ()
