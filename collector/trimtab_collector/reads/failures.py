"""Which route most errors are in, and where its latest failed request failed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.events import events
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.routes import ROUTE_FIELDS

__all__ = ["MostErrors", "most_errors"]

_EVENTS: Final = 200


@dataclass(frozen=True, slots=True)
class MostErrors:
    """The route with most errors of a range."""

    environment: str
    service: str
    route: str
    method: str
    #: of all errors, 0 to 1
    share: float
    #: the exception of its latest failed request that was kept whole, and the line of the app in
    #: which it came up; "" where neither is known
    error: str = ""
    site: str = ""


def most_errors(
    reader: StoreReader, where: Mapping[str, str], from_s: float, to_s: float, now_s: float
) -> MostErrors | None:
    """Return the route with most errors, None where there was no error.

    where has fields of series. For reading threads; raises TooMuchError.
    """
    asked = Parameters(where, from_s, to_s, now_s, UTC, {}, {})
    time_range = reader.ranges.stored(asked, from_s, to_s)
    rows = reader.rows(time_range, ROUTE_FIELDS)
    errors = rows.columns.value("errors").tolist()
    whole = sum(errors)
    if not whole:
        return None
    worst = max(range(len(errors)), key=errors.__getitem__)
    name = environment, service, route, method = rows.groups[int(rows.group[worst])]
    share = errors[worst] / whole
    for row, event in events(reader, time_range, "request", _EVENTS):
        if event.get("reason") != "failed" or not event.get("error_site"):
            continue
        at = (row.environment, row.service, event.get("route"), event.get("method") or method)
        if at == name:
            site = str(event["error_site"])
            return MostErrors(*name, share, str(event.get("error") or ""), site)
    return MostErrors(environment, service, route, method, share)
