"""One frame of `trimtab top` as a JSON object, for scripts; no I/O."""

from dataclasses import asdict
from typing import Any

from trimtab_collector.top.columns import VIEWS
from trimtab_collector.top.state import TopState

__all__ = ["as_json"]


def as_json(state: TopState, address: str) -> dict[str, Any]:
    """Return what was read: rows as they are filtered and sorted, keys in camelCase."""
    read = state.read
    if read is None:
        raise ValueError("expected a state that has taken an answer")
    rows = {view: [_camel(asdict(row)) for row in state.rows_of(view)] for view in VIEWS}
    overall = _camel(asdict(read.overall))
    return {
        "collector": address,
        "from": overall.pop("fromText"),
        "to": overall.pop("toText"),
        "seconds": read.seconds,
        "resolution": overall.pop("resolutionS"),
        "environment": state.environment,
        "service": state.service,
        "filter": state.filter,
        "overall": overall,
        **rows,
        "servicesLeftOut": read.services_left_out,
        "routesLeftOut": read.routes_left_out,
        "alerts": [_camel(asdict(alert)) for alert in read.alerts],
        "alertsLeftOut": read.alerts_left_out,
    }


def _camel(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with the names that the API gives them."""
    found = {}
    for name, value in fields.items():
        first, *others = name.split("_")
        found[first + "".join(map(str.capitalize, others))] = value
    return found
