"""Services: their requests in the range, and what became of their records."""

from collections.abc import Iterable, Sequence

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.contract.services import Accounting, ServiceRow, Services
from trimtab_collector.reads.figures import no_requests
from trimtab_collector.reads.latest import ACTIVE, EVENT_STREAMS, WEB_SOCKETS
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import LatestGauge, ServiceAccounting

__all__ = ["services"]


def services(reader: StoreReader, parameters: Parameters) -> Services:
    """Return every service, with its requests in the range and what became of its records."""
    time_range = reader.ranges.latest(parameters)
    by = ("environment", "service")
    figures = reader.figures(time_range, by)
    found = dict(zip(figures.names, figures.dicts(), strict=True))
    parts = reader.rows(time_range, (*by, "version", "instance"))
    names = [parts.groups[place] for place in parts.group]
    gauges = reader.gauges(parameters)
    in_flight = _sums(gauges, ACTIVE)
    sockets = _sums(gauges, WEB_SOCKETS)
    streams = _sums(gauges, EVENT_STREAMS)
    answer = []
    for row in _accounting(reader, parameters, found):
        name = (row.environment, row.service)
        mine = [part for part in names if part[:2] == name]
        answer.append(
            ServiceRow(
                environment=row.environment,
                service=row.service,
                versions=sorted({part[2] for part in mine if part[2]}),
                instances=sorted({part[3] for part in mine if part[3]}),
                in_flight=in_flight.get(name),
                open_web_sockets=sockets.get(name),
                open_event_streams=streams.get(name),
                accounting=_shown(row),
                **found.get(name, no_requests()),
            )
        )
    return Services(**time_range.resolved(figures.rows.resolution_s), services=answer)


def _accounting(
    reader: StoreReader, parameters: Parameters, found: Iterable[tuple[str, ...]]
) -> Sequence[ServiceAccounting]:
    """Return the accounting of services chosen; of one that is only live yet it is empty."""
    accounting = {(row.environment, row.service): row for row in reader.store.accounting()}
    for name in found:
        accounting.setdefault((name[0], name[1]), ServiceAccounting(name[0], name[1]))
    return [
        row
        for _, row in sorted(accounting.items())
        if parameters.chooses(environment=row.environment, service=row.service)
    ]


def _shown(row: ServiceAccounting) -> Accounting:
    return Accounting(
        counted=row.counted,
        sent=row.sent,
        held=row.held,
        agent_lost=row.agent_lost,
        dropped=row.dropped,
        requests=row.requests,
        backgrounds=row.backgrounds,
        connections=row.connections,
    )


def _sums(gauges: Iterable[LatestGauge], name: str) -> dict[tuple[str, str], int]:
    """Return the sum of a gauge over the processes of each service."""
    sums: dict[tuple[str, str], int] = {}
    for row in gauges:
        if row.name == name and row.service:
            service = (row.environment, row.service)
            sums[service] = sums.get(service, 0) + int(row.value)
    return sums
