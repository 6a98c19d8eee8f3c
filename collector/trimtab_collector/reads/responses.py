"""Response times of everything, by class of status, by service and by version."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trimtab_collector.contract.figures import Stats
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.contract.responses import ResponseTime, ServiceStats, VersionStats
from trimtab_collector.reads.figures import group_of
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.columns import WINDOW_S

__all__ = ["response_time"]

_SERVICE: Final = ("environment", "service")
_VERSION: Final = (*_SERVICE, "version")


def response_time(reader: StoreReader, parameters: Parameters) -> ResponseTime:
    """Return figures over everything chosen, by class of status, by service and by version."""
    time_range = reader.ranges.latest(parameters)
    overall, resolution_s = reader.overall(time_range)
    return ResponseTime(
        **time_range.resolved(resolution_s),
        step=1 if time_range.selection.live else WINDOW_S,
        overall=Stats(**overall),
        by_status_class={
            name[0]: Stats(**row) for name, row in _named(reader, time_range, ("status_class",))
        },
        by_service=[
            ServiceStats(**group_of(_SERVICE, name), **row)
            for name, row in _named(reader, time_range, _SERVICE)
        ],
        by_version=[
            VersionStats(**group_of(_VERSION, name), **row)
            for name, row in _named(reader, time_range, _VERSION)
        ],
    )


def _named(
    reader: StoreReader, time_range: TimeRange, by: Sequence[str]
) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Return the figures of each group by name, in the order of names."""
    figures = reader.figures(time_range, by)
    return sorted(zip(figures.names, figures.dicts(), strict=True), key=lambda row: row[0])
