"""Services: their requests in the range, and what became of their records."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from trimtab_collector.contract.figures import RANKED
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.contract.services import (
    SERVICES_BY,
    SERVICES_LIMIT,
    Accounting,
    ServiceRow,
    Services,
)
from trimtab_collector.reads.digits import whole_of
from trimtab_collector.reads.figures import no_requests, ranked
from trimtab_collector.reads.latest import ACTIVE, EVENT_STREAMS, UPTIME, WEB_SOCKETS
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import GaugeSelection, LatestGauge, ServiceAccounting

__all__ = ["accounting_of", "services"]

#: fields that gauges of processes have
_OWNED: Final = frozenset({"environment", "service", "instance"})


def services(reader: StoreReader, parameters: Parameters) -> Services:
    """Return every service, with its requests in the range and what became of its records."""
    time_range = reader.ranges.latest(parameters)
    by = ("environment", "service")
    figures = reader.figures(time_range, by)
    found = dict(zip(figures.names, figures.dicts(), strict=True))
    parts = reader.rows(time_range, (*by, "version", "instance"))
    gauges = reader.gauges(parameters)
    idle = _without_requests(reader, time_range, gauges)
    rows = _accounting(reader, parameters, {*found, *(each[:2] for each in idle)})
    if parameters[SERVICES_BY] != "name":
        order = ranked(figures, RANKED[parameters[SERVICES_BY]], np.arange(len(figures)))
        place = {figures.names[row]: at for at, row in enumerate(order.tolist())}
        rows.sort(key=lambda row: place.get((row.environment, row.service), len(place)))
    limit = parameters[SERVICES_LIMIT]
    shown = {(row.environment, row.service) for row in rows[:limit]}
    named = [(name[:2], name) for name in parts.groups if name[:2] in shown]
    versions = _by_service((service, name[2]) for service, name in named)
    instances = _by_service(
        [*((service, name[3]) for service, name in named), *((each[:2], each[2]) for each in idle)]
    )
    in_flight = _sums(gauges, ACTIVE)
    sockets = _sums(gauges, WEB_SOCKETS)
    streams = _sums(gauges, EVENT_STREAMS)
    answer = []
    for row in rows[:limit]:
        name = (row.environment, row.service)
        answer.append(
            ServiceRow(
                environment=row.environment,
                service=row.service,
                versions=sorted(versions.get(name, ())),
                instances=sorted(instances.get(name, ())),
                in_flight=in_flight.get(name),
                open_web_sockets=sockets.get(name),
                open_event_streams=streams.get(name),
                accounting=accounting_of(row),
                **found.get(name, no_requests()),
            )
        )
    return Services(
        **time_range.resolved(figures.rows.resolution_s),
        services=answer,
        services_left_out=max(0, len(rows) - limit),
    )


def _without_requests(
    reader: StoreReader, time_range: TimeRange, gauges: Iterable[LatestGauge]
) -> set[tuple[str, str, str]]:
    """Return environment, service and instance of what had gauges in the range.

    Processes that serve no request have these alone. Nothing where requests were chosen by what
    gauges do not have.
    """
    where = time_range.parameters.where
    if not where.keys() <= _OWNED:
        return set()
    selection = time_range.selection
    start_s = selection.start_s - selection.start_s % WINDOW_S
    named = ("environment", "service", "instance")
    rows = reader.store.read_gauges(
        GaugeSelection((start_s, selection.end_s), (UPTIME,), where, (*named, "name"))
    )
    found = {(name[0], name[1], name[2]) for name in rows.groups}
    if time_range.parameters.to_s >= time_range.parameters.now_s - WINDOW_S:
        # Those of the last seconds are still on their way into the history.
        found |= {(row.environment, row.service, row.instance) for row in gauges if row.service}
    return found


def _accounting(
    reader: StoreReader, parameters: Parameters, found: Iterable[tuple[str, ...]]
) -> list[ServiceAccounting]:
    """Return the accounting of services chosen; of one that is only live yet it is empty."""
    accounting = {(row.environment, row.service): row for row in reader.store.accounting()}
    for name in found:
        accounting.setdefault((name[0], name[1]), ServiceAccounting(name[0], name[1]))
    return [
        row
        for _, row in sorted(accounting.items())
        if parameters.chooses(environment=row.environment, service=row.service)
    ]


def accounting_of(row: ServiceAccounting) -> Accounting:
    """Return what became of the records of a service, as answers have it."""
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


def _by_service(pairs: Iterable[tuple[tuple[str, ...], str]]) -> dict[tuple[str, ...], set[str]]:
    """Return the names of each service, without empty ones."""
    found: dict[tuple[str, ...], set[str]] = {}
    for service, name in pairs:
        if name:
            found.setdefault(service, set()).add(name)
    return found


def _sums(gauges: Iterable[LatestGauge], name: str) -> dict[tuple[str, str], int]:
    """Return the sum of a gauge over the processes of each service."""
    sums: dict[tuple[str, str], int] = {}
    for row in gauges:
        if row.name == name and row.service:
            service = (row.environment, row.service)
            sums[service] = sums.get(service, 0) + whole_of(row.value)
    return sums
