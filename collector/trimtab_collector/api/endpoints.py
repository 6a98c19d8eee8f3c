"""The table of endpoints: paths, computation, bodies, parameters, role.

The table makes the routes, the checks of parameters and roles, and the OpenAPI document. To add an
endpoint, write its body in `contract/`, its computation in `reads/`, and one row here.
"""

import functools
from importlib import metadata
from typing import Final

import msgspec

from trimtab_collector.api.endpoint import BASE, ApiEndpoint, summary_of
from trimtab_collector.api.finding import FINDING
from trimtab_collector.api.judging import JUDGING
from trimtab_collector.api.notifying import NOTIFYING
from trimtab_collector.api.openapi import document
from trimtab_collector.api.people import PEOPLE
from trimtab_collector.api.reporting import REPORTING
from trimtab_collector.contract.advice import Advice
from trimtab_collector.contract.analysis import Analysis
from trimtab_collector.contract.application import Application
from trimtab_collector.contract.caches import CacheReads
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.calls import CALLS_BY
from trimtab_collector.contract.comparison import COMPARISON, Comparison
from trimtab_collector.contract.current import Current, MetricsNow
from trimtab_collector.contract.custom import METRICS, NAME, Custom
from trimtab_collector.contract.databases import QUERY, Database, SlowQueries
from trimtab_collector.contract.explanation import EXPLAINED, Explanation
from trimtab_collector.contract.external import External
from trimtab_collector.contract.gauges import GAUGE_FILTERS, NAMES, SERIES, GaugeHistory
from trimtab_collector.contract.gauges import GROUP_BY as GAUGES_BY
from trimtab_collector.contract.health import CollectorHealth
from trimtab_collector.contract.heatmap import BUCKETS, FINEST, Heatmap
from trimtab_collector.contract.history import (
    BACK,
    EMPTY,
    GROUP_BY,
    GROUPS,
    PERIOD,
    GroupedHistory,
    History,
)
from trimtab_collector.contract.index import ApiIndex, IndexEntry
from trimtab_collector.contract.languages import LANG
from trimtab_collector.contract.measures import (
    ATTRIBUTES,
    MEASURE_GROUPS,
    MEASURE_SERIES,
    MEASURES,
    MEASURES_BY,
    MeasureHistory,
)
from trimtab_collector.contract.parameters import (
    APDEX,
    LIMIT,
    OWNERS,
    RANGE,
    REQUESTS,
    ROUTE,
    STEP,
    TZ,
    Parameters,
)
from trimtab_collector.contract.queues import Queues
from trimtab_collector.contract.requests import BY as CAPTURED_BY
from trimtab_collector.contract.requests import (
    KEPT,
    MAX_DURATION,
    MIN_DURATION,
    REASON,
    TRACE,
    SlowRequest,
    SlowRequests,
)
from trimtab_collector.contract.responses import ResponseTime
from trimtab_collector.contract.routes import KIND, LATENCY_BY, ROUTES_BY, Latency, RouteList
from trimtab_collector.contract.services import SERVICES_BY, SERVICES_LIMIT, Services
from trimtab_collector.contract.statuscodes import CODE, StatusCodes
from trimtab_collector.contract.statuscodes import GROUP_BY as CODES_BY
from trimtab_collector.contract.statuscodes import GROUPS as CODE_GROUPS
from trimtab_collector.contract.system import MemoryGauges, SystemGauges
from trimtab_collector.reads.advice import advice
from trimtab_collector.reads.analysis import analysis
from trimtab_collector.reads.application import application
from trimtab_collector.reads.caches import cache
from trimtab_collector.reads.comparison import comparison
from trimtab_collector.reads.current import current, snapshot
from trimtab_collector.reads.custom import custom
from trimtab_collector.reads.databases import database, slow_queries
from trimtab_collector.reads.explain import explain
from trimtab_collector.reads.external import external
from trimtab_collector.reads.gauges import gauges
from trimtab_collector.reads.health import health
from trimtab_collector.reads.heatmap import heatmap
from trimtab_collector.reads.history import history
from trimtab_collector.reads.measured import measures
from trimtab_collector.reads.queues import queues
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.requests import kept_request, slow_requests
from trimtab_collector.reads.responses import response_time
from trimtab_collector.reads.routes import latency, routes
from trimtab_collector.reads.services import services
from trimtab_collector.reads.statuscodes import status_codes
from trimtab_collector.reads.system import memory, system

__all__ = ["ENDPOINTS"]

_REQUESTS: Final = (*REQUESTS, *RANGE)
_OWNERS: Final = (*OWNERS, *RANGE)
_ROUTE: Final = (*OWNERS, ROUTE, *RANGE)
_HOUR_S: Final = 3600
_NOW_S: Final = 10


def _openapi(_reader: StoreReader, _parameters: Parameters) -> msgspec.Raw:
    """Return this API as an OpenAPI 3.1 document."""
    return _document()


def _index(_reader: StoreReader, _parameters: Parameters) -> ApiIndex:
    """Return every path of this API, and where its OpenAPI document is."""
    return ApiIndex(
        name="trimtab",
        version=metadata.version("trimtab"),
        document=f"{BASE}/openapi.json",
        endpoints=[
            IndexEntry(
                method=each.method,
                path=BASE + path.removesuffix("/"),
                role=each.role.value,
                summary=summary_of(each),
            )
            for each in ENDPOINTS
            for path in each.paths
        ],
    )


@functools.cache
def _document() -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(document(ENDPOINTS)))


def _below_metrics(name: str) -> tuple[str, str]:
    """Return both paths of a group of metrics."""
    return f"/{name}", f"/metrics/{name}"


# fmt: off
ENDPOINTS: Final = (
    # The only path that may end in a slash, or not.
    ApiEndpoint(("/",), _index, (ApiIndex,), role=Role.ANYONE),
    ApiEndpoint(("/health",), health, (CollectorHealth,), role=Role.ANYONE),
    ApiEndpoint(("/openapi.json",), _openapi, (), role=Role.ANYONE),
    ApiEndpoint(("/services",), services, (Services,),
             (*_REQUESTS, SERVICES_BY, SERVICES_LIMIT, APDEX)),
    ApiEndpoint(("/routes",), routes, (RouteList,), (*_REQUESTS, KIND, ROUTES_BY, LIMIT, APDEX)),
    ApiEndpoint(("/routes/latency",), latency, (Latency,), (*_REQUESTS, LATENCY_BY, LIMIT, STEP)),
    ApiEndpoint(("/response-time",), response_time, (ResponseTime,), (*_REQUESTS, APDEX)),
    ApiEndpoint(("/status-codes",), status_codes, (StatusCodes,),
             (*_REQUESTS, CODE, CODES_BY, CODE_GROUPS, STEP)),
    ApiEndpoint(("/heatmap",), heatmap, (Heatmap,), (*_REQUESTS, FINEST, BUCKETS, STEP), _HOUR_S),
    ApiEndpoint(("/compare",), comparison, (Comparison,), (*_REQUESTS, *COMPARISON, LIMIT, APDEX),
             _HOUR_S),
    ApiEndpoint(("/explain",), explain, (Explanation,), (*_REQUESTS, *EXPLAINED, LANG), _HOUR_S),
    ApiEndpoint(("/metrics",), snapshot, (MetricsNow,), (*_OWNERS, APDEX), _NOW_S),
    ApiEndpoint(("/metrics/current",), current, (Current,), _OWNERS, _NOW_S),
    ApiEndpoint(("/metrics/history",), history, (History, GroupedHistory),
             (*_REQUESTS, PERIOD, GROUP_BY, GROUPS, STEP, EMPTY, APDEX), BACK),
    ApiEndpoint(("/gauges",), gauges, (GaugeHistory,),
             (*GAUGE_FILTERS, *RANGE, NAMES, GAUGES_BY, SERIES, STEP), _HOUR_S),
    ApiEndpoint(("/measures",), measures, (MeasureHistory,),
             (*_OWNERS, MEASURES, ATTRIBUTES, MEASURE_GROUPS, MEASURES_BY, MEASURE_SERIES, STEP),
             _HOUR_S),
    ApiEndpoint(_below_metrics("application"), application, (Application,), (*_ROUTE, APDEX)),
    ApiEndpoint(_below_metrics("database"), database, (Database,), (*_OWNERS, CALLS_BY, LIMIT)),
    ApiEndpoint(_below_metrics("cache"), cache, (CacheReads,), _OWNERS),
    ApiEndpoint(_below_metrics("external"), external, (External,), (*_OWNERS, CALLS_BY, LIMIT)),
    ApiEndpoint(_below_metrics("queues"), queues, (Queues,), (*_OWNERS, CALLS_BY, LIMIT)),
    ApiEndpoint(_below_metrics("custom"), custom, (Custom,), (*_OWNERS, NAME, METRICS)),
    ApiEndpoint(_below_metrics("system"), system, (SystemGauges,), _OWNERS),
    ApiEndpoint(_below_metrics("memory"), memory, (MemoryGauges,), _OWNERS),
    ApiEndpoint(("/slow-queries",), slow_queries, (SlowQueries,),
             (*_ROUTE, QUERY, TRACE, CALLS_BY, LIMIT)),
    ApiEndpoint(("/slow-requests",), slow_requests, (SlowRequests,),
             (*_REQUESTS, CODE, MIN_DURATION, MAX_DURATION, TRACE, REASON, CAPTURED_BY, LIMIT)),
    ApiEndpoint(("/slow-requests/{id}",), kept_request, (SlowRequest,), (KEPT, TZ)),
    *FINDING,
    *JUDGING,
    *REPORTING,
    *PEOPLE,
    ApiEndpoint(("/analysis",), analysis, (Analysis,), (*_OWNERS, LIMIT, LANG)),
    ApiEndpoint(("/advice",), advice, (Advice,), (*_OWNERS, LIMIT, LANG), _HOUR_S),
    *NOTIFYING,
)
# fmt: on
