"""Where the time of requests went, and the processes that served them."""

from trimtab_collector.contract.body import RangeBody
from trimtab_collector.contract.gauges import ProcessGauges

__all__ = ["Application"]


class Application(RangeBody, kw_only=True):
    """The requests of the range and the processes that serve them."""

    requests: int
    requests_per_second: float
    error_rate: float | None
    status_codes: dict[str, int]
    response_time: dict[str, float | None]
    #: of a request, mean ms in queries, calls and caches
    database_time: float | None
    external_time: float | None
    cache_time: float | None
    queries_per_request: float | None
    instances: list[ProcessGauges]
