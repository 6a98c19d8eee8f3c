"""What `trimtab top` shows, as plain values read from answers of the API; no I/O.

Answers may come from a collector of another version: what is missing or of another kind is None,
and an answer without its list is refused. Names are untrusted here; drawing makes them harmless.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

__all__ = [
    "AnswerError",
    "TopAlert",
    "TopHost",
    "TopOverall",
    "TopRoute",
    "TopRow",
    "TopService",
    "alerts_in",
    "hosts_in",
    "overall_in",
    "routes_in",
    "services_in",
]


class AnswerError(ValueError):
    """An answer lacks what every collector answers; the text names it."""


@dataclass(frozen=True, slots=True)
class TopOverall:
    """Requests of everything selected: times in ms, the share of errors from 0 to 1."""

    from_text: str = ""
    to_text: str = ""
    #: 1 for one-second summaries, else the width of stored windows in seconds
    resolution_s: float | None = None
    requests_per_second: float | None = None
    error_rate: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    apdex: float | None = None


@dataclass(frozen=True, slots=True)
class TopService:
    """One service of one environment."""

    environment: str
    service: str
    requests_per_second: float | None
    error_rate: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    in_flight: float | None
    #: open WebSockets and event streams
    open_connections: float | None
    instances: int

    @property
    def name(self) -> str:
        """What the filter looks in."""
        return f"{self.service} {self.environment}"

    @property
    def identity(self) -> tuple[str, ...]:
        """What it is known by from one refresh to the next."""
        return ("service", self.environment, self.service)


@dataclass(frozen=True, slots=True)
class TopRoute:
    """One route template and method of a service."""

    environment: str
    service: str
    route: str
    method: str
    requests_per_second: float | None
    error_rate: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    #: ms of all its requests in the range
    total_time: float | None
    #: its share of the time of all routes that were answered, 0 to 1
    time_share: float | None

    @property
    def name(self) -> str:
        """What the filter looks in."""
        return f"{self.method} {self.route} {self.service} {self.environment}"

    @property
    def identity(self) -> tuple[str, ...]:
        """What it is known by from one refresh to the next."""
        return ("route", self.environment, self.service, self.route, self.method)


@dataclass(frozen=True, slots=True)
class TopHost:
    """One host, as one agent on it reads it: shares from 0 to 1, rates in bytes per second."""

    host: str
    agent: str
    cpu: float | None
    load: float | None
    memory: float | None
    memory_bytes: float | None
    disk: float | None
    disk_read: float | None
    disk_write: float | None
    network_in: float | None
    network_out: float | None

    @property
    def name(self) -> str:
        """What the filter looks in."""
        return f"{self.host} {self.agent}"

    @property
    def identity(self) -> tuple[str, ...]:
        """What it is known by from one refresh to the next."""
        return ("host", self.host, self.agent)


TopRow = TopService | TopRoute | TopHost


@dataclass(frozen=True, slots=True)
class TopAlert:
    """An alert that is not over."""

    id: str
    severity: str
    #: pending, firing or keeping
    state: str
    #: whether it fires and no silence is on it: only then it marks a row
    told: bool
    title: str
    since: str
    environment: str
    service: str
    route: str
    method: str
    instance: str
    agent: str
    acknowledged: bool

    def concerns(self, row: TopRow) -> bool:
        """Return whether it is told of a row, or of something of which the row is the whole."""
        if not self.told:
            return False
        if isinstance(row, TopHost):
            return not self.service and (
                row.host in (self.instance, self.agent)
                or (bool(self.agent) and row.agent == self.agent)
            )
        if self.service != row.service or self.environment not in ("", row.environment):
            return False
        return isinstance(row, TopService) or (
            self.route == row.route and self.method in ("", row.method)
        )


def overall_in(data: Any) -> TopOverall:
    """Read the answer of /response-time."""
    found = data.get("overall") if isinstance(data, Mapping) else None
    if not isinstance(found, Mapping):
        raise AnswerError("'overall' of /response-time")
    return TopOverall(
        from_text=_text(data, "from"),
        to_text=_text(data, "to"),
        resolution_s=_number(data, "resolution"),
        requests_per_second=_number(found, "requestsPerSecond"),
        error_rate=_number(found, "errorRate"),
        p50=_number(found, "p50"),
        p95=_number(found, "p95"),
        p99=_number(found, "p99"),
        apdex=_number(found, "apdex"),
    )


def services_in(data: Any) -> tuple[list[TopService], int]:
    """Read the answer of /services: the rows, and how many were left out."""
    rows = [
        TopService(
            environment=_text(row, "environment"),
            service=_text(row, "service"),
            requests_per_second=_number(row, "requestsPerSecond"),
            error_rate=_number(row, "errorRate"),
            p50=_number(row, "p50"),
            p95=_number(row, "p95"),
            p99=_number(row, "p99"),
            in_flight=_number(row, "inFlight"),
            open_connections=_sum(_number(row, "openWebSockets"), _number(row, "openEventStreams")),
            instances=len(row["instances"]) if isinstance(row.get("instances"), list) else 0,
        )
        for row in _rows(data, "services")
    ]
    return rows, _left_out(data, "servicesLeftOut")


def routes_in(data: Any) -> tuple[list[TopRoute], int]:
    """Read the answer of /routes: the rows, and how many were left out."""
    found = _rows(data, "routes")
    whole = sum(_number(row, "totalTime") or 0.0 for row in found)
    rows = [
        TopRoute(
            environment=_text(row, "environment"),
            service=_text(row, "service"),
            route=_text(row, "route"),
            method=_text(row, "method"),
            requests_per_second=_number(row, "requestsPerSecond"),
            error_rate=_number(row, "errorRate"),
            p50=_number(row, "p50"),
            p95=_number(row, "p95"),
            p99=_number(row, "p99"),
            total_time=(spent := _number(row, "totalTime")),
            time_share=spent / whole if spent is not None and whole else None,
        )
        for row in found
    ]
    return rows, _left_out(data, "routesLeftOut")


def hosts_in(data: Any) -> list[TopHost]:
    """Read the answer of /system."""
    rows = []
    for row in _rows(data, "hosts"):
        gauges = row.get("gauges")
        gauges = gauges if isinstance(gauges, Mapping) else {}
        use = row.get("use")
        use = use if isinstance(use, Mapping) else {}
        rows.append(
            TopHost(
                host=_text(row, "host"),
                agent=_text(row, "agent"),
                cpu=_number(use, "cpu"),
                load=_number(gauges, "system.cpu.load_1m"),
                memory=_number(use, "memory"),
                memory_bytes=_number(gauges, "system.memory.usage"),
                disk=_number(use, "disk"),
                disk_read=_number(gauges, "system.disk.read.rate"),
                disk_write=_number(gauges, "system.disk.write.rate"),
                network_in=_number(gauges, "system.network.receive.rate"),
                network_out=_number(gauges, "system.network.transmit.rate"),
            )
        )
    return rows


def alerts_in(data: Any) -> tuple[list[TopAlert], int]:
    """Read the answer of /alerts: the rows, and how many were left out."""
    rows = []
    for row in _rows(data, "alerts"):
        labels = row.get("labels")
        labels = labels if isinstance(labels, Mapping) else {}
        rows.append(
            TopAlert(
                id=_text(row, "id"),
                severity=_text(row, "severity"),
                state=_text(row, "state"),
                told=row.get("told") is True,
                title=_text(row, "title"),
                since=_text(row, "since"),
                environment=_text(row, "environment"),
                service=_text(row, "service"),
                route=_text(row, "route"),
                method=_text(labels, "method"),
                instance=_text(row, "instance"),
                agent=_text(labels, "agent"),
                acknowledged=bool(row.get("acknowledgedBy")),
            )
        )
    return rows, _left_out(data, "alertsLeftOut")


def _rows(data: Any, name: str) -> Sequence[Mapping[str, Any]]:
    rows = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(rows, list):
        raise AnswerError(f"the list {name!r}")
    return [row for row in rows if isinstance(row, Mapping)]


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isfinite(value) else None


def _left_out(data: Mapping[str, Any], name: str) -> int:
    return int(_number(data, name) or 0)


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
