"""What every read has: a store, the ranges of it, merged rows as figures, the latest gauges."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.health import HealthPart
from trimtab_collector.contract.marks import MarkBody
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.figures import Figures, no_requests
from trimtab_collector.reads.ranges import Ranges, TimeRange
from trimtab_collector.storage.store import LatestGauge, Rows, Store

__all__ = ["Intake", "StoreReader"]


class Intake(Protocol):
    """What is known of the requests of agents; any thread."""

    @property
    def refused(self) -> Mapping[str, int]:
        """Refused requests by code."""

    @property
    def rows_refused(self) -> int:
        """Malformed rows in batches that were taken."""

    def skewed(self) -> Mapping[str, float]:
        """Return agents whose clock is off, and by how many seconds it is ahead."""


class _NoIntake:
    """No agent ever spoke here."""

    refused: Mapping[str, int] = {}
    rows_refused = 0

    def skewed(self) -> Mapping[str, float]:
        """Return no agent."""
        return {}


class StoreReader:
    """Reads one store; from reading threads."""

    def __init__(
        self,
        store: Store,
        looked: Callable[[], None] = lambda: None,
        intake: Intake | None = None,
    ) -> None:
        """Call looked, from a reading thread, when somebody looks at what happens now."""
        self.store = store
        self.intake = intake or _NoIntake()
        #: fields of `/health` that parts beside the store fill in, for a caller
        self.parts: dict[str, Callable[[Caller], HealthPart]] = {}
        #: what happened in a range, for those who show steps of it
        self.marks: Callable[[Parameters, float, float], list[MarkBody]] = lambda *_: []
        self.ranges = Ranges(store, looked)

    def rows(self, time_range: TimeRange, by: Sequence[str] = ()) -> Rows:
        """Return merged points of each group and step; raises TooMuchError."""
        return self.store.read(replace(time_range.selection, group_by=tuple(by)))

    def figures(self, time_range: TimeRange, by: Sequence[str] = ()) -> Figures:
        """Return the figures of each group and step that holds something."""
        return self.shown(time_range, self.rows(time_range, (*by, "status_class")))

    def shown(self, time_range: TimeRange, rows: Rows) -> Figures:
        """Return the figures of rows of a range, whose last field is the status class."""
        return Figures(rows, time_range.seconds_of, time_range.threshold_us)

    def overall(self, time_range: TimeRange) -> tuple[Mapping[str, Any], int]:
        """Return the figures of everything chosen, and the resolution of the read."""
        figures = self.figures(time_range)
        found = figures.dicts()
        return found[0] if found else no_requests(), figures.rows.resolution_s

    def gauges(self, parameters: Parameters) -> list[LatestGauge]:
        """Return fresh gauges of what was chosen.

        Host gauges match every service filter; an instance filter also selects its host.
        """
        instance = parameters.where.get("instance")
        return [
            row
            for row in self.store.latest_gauges(parameters.now_s)
            if (
                parameters.chooses(
                    environment=row.environment, service=row.service, instance=row.instance
                )
                if row.service
                else instance is None or row.instance in ("", instance, instance.rpartition("#")[0])
            )
        ]
