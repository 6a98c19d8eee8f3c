"""Response times of everything, and of its parts."""

from trimtab_collector.contract.body import ResolvedBody
from trimtab_collector.contract.figures import Stats

__all__ = ["ResponseTime", "ServiceStats", "VersionStats"]


class ServiceStats(Stats, kw_only=True):
    """Figures of one service."""

    environment: str
    service: str


class VersionStats(ServiceStats, kw_only=True):
    """Figures of one version of a service."""

    version: str


class ResponseTime(ResolvedBody, kw_only=True):
    """Response times of all requests of the range, and of its parts."""

    step: int
    overall: Stats
    by_status_class: dict[str, Stats]
    by_service: list[ServiceStats]
    by_version: list[VersionStats]
