"""What queries read from: merged rows as figures, and the latest gauges."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from trimtab_collector.contract.bodies import HostGauges
from trimtab_collector.contract.params import Params
from trimtab_collector.reads.figures import Figures, no_requests
from trimtab_collector.reads.ranges import View
from trimtab_collector.storage.store import LatestGauge, Rows, ServiceAccounting, Store

__all__ = ["PROBED", "Source", "frame_of", "group_of", "hosts_of", "instances_of"]


#: beginnings of the names of what agents look at, beside their hosts
PROBED: Final = ("redis:", "postgresql:", "queue:", "http:")


class Source:
    """One store, read; from reading threads."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store = store
        self._clock = clock

    def rows(self, view: View, by: Sequence[str] = ()) -> Rows:
        """Return merged points of each group and step; raises TooMuchError."""
        return self.store.read(replace(view.selection, group_by=tuple(by)))

    def figures(self, view: View, by: Sequence[str] = ()) -> Figures:
        """Return the figures of each group and step that holds something."""
        rows = self.rows(view, (*by, "status_class"))
        return Figures(rows, view.seconds_of, view.threshold_us)

    def overall(self, view: View) -> tuple[Mapping[str, Any], int]:
        """Return the figures of everything chosen, and the resolution of the read."""
        figures = self.figures(view)
        found = figures.dicts()
        return found[0] if found else no_requests(), figures.rows.resolution_s

    def named(
        self, view: View, by: Sequence[str]
    ) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
        """Return the figures of each group by name, in its order."""
        figures = self.figures(view, by)
        return sorted(zip(figures.names, figures.dicts(), strict=True), key=lambda row: row[0])

    def accounts(
        self, params: Params, found: Iterable[tuple[str, ...]]
    ) -> Sequence[ServiceAccounting]:
        """Return the accounts of services chosen; one that is only live yet has an empty one."""
        accounts = {(row.environment, row.service): row for row in self.store.accounting()}
        for name in found:
            accounts.setdefault((name[0], name[1]), ServiceAccounting(name[0], name[1]))
        return [
            row
            for _, row in sorted(accounts.items())
            if params.chooses(environment=row.environment, service=row.service)
        ]

    def gauges(self, params: Params) -> list[LatestGauge]:
        """Return fresh gauges of what was chosen; a host's own are in every choice of service.

        An instance chooses the gauges of its host too.
        """
        instance = params.where.get("instance")
        return [
            row
            for row in self.store.latest_gauges(self._clock())
            if (
                params.chooses(
                    environment=row.environment, service=row.service, instance=row.instance
                )
                if row.service
                else instance is None or row.instance in ("", instance, instance.rpartition("#")[0])
            )
        ]

    def sums(self, params: Params, name: str) -> dict[tuple[str, str], int]:
        """Return the sum of a reading over the processes of each service."""
        sums: dict[tuple[str, str], int] = {}
        for row in self.gauges(params):
            if row.name == name and row.service:
                service = (row.environment, row.service)
                sums[service] = sums.get(service, 0) + int(row.value)
        return sums


def frame_of(view: View, resolution_s: int) -> dict[str, Any]:
    """Return the fields that say what an answer is about."""
    return {"from_": view.from_text, "to": view.to_text, "resolution": resolution_s}


def group_of(fields: Sequence[str], name: Sequence[str]) -> dict[str, Any]:
    """Return the fields that say which group a row is of."""
    return dict(zip(fields, name, strict=True))


def instances_of(gauges: Iterable[LatestGauge]) -> list[dict[str, Any]]:
    """Return the gauges of each process."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in gauges:
        if row.service:
            name = (row.environment, row.service, row.instance)
            found.setdefault(name, {})[row.name] = row.value
    return [
        {"environment": name[0], "service": name[1], "instance": name[2], "gauges": values}
        for name, values in sorted(found.items())
    ]


def hosts_of(gauges: Iterable[LatestGauge]) -> list[HostGauges]:
    """Return the gauges of each host, one for each agent on it."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in gauges:
        if not row.service and not row.instance.startswith(PROBED):
            found.setdefault((row.instance, row.agent), {})[row.name] = row.value
    return [
        HostGauges(host=host, agent=agent, gauges=values)
        for (host, agent), values in sorted(found.items())
    ]
