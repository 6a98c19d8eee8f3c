"""Where the time of requests went, and the processes that serve them."""

from trimtab_collector.contract.application import Application
from trimtab_collector.contract.figures import TIMES
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.latest import instances_of
from trimtab_collector.reads.reader import StoreReader

__all__ = ["application"]


def application(reader: StoreReader, parameters: Parameters) -> Application:
    """Return the requests of a range, where their time went, and the processes."""
    time_range = reader.ranges.stored(parameters)
    figures, _ = reader.overall(time_range)
    columns = reader.rows(time_range).columns
    requests = figures["requests"]

    def mean(name: str, divisor: float = 1) -> float | None:
        return float(columns.value(name).sum()) / divisor / requests if requests else None

    return Application(
        **time_range.fields(),
        requests=requests,
        requests_per_second=figures["requests_per_second"],
        error_rate=figures["error_rate"],
        status_codes=figures["status_codes"],
        response_time={name: figures[name] for name in TIMES},
        database_time=mean("db_us", 1000),
        external_time=mean("external_us", 1000),
        cache_time=mean("cache_us", 1000),
        queries_per_request=mean("db_calls"),
        instances=instances_of(reader.gauges(parameters)),
    )
