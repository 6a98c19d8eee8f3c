"""Figures of merged rows, as the API shows them."""

from collections.abc import Iterable
from typing import Any, Final

from trimtab_collector.apdex import without_class
from trimtab_collector.api.bodies import Accounting, Stats
from trimtab_collector.storage.columns import quantiles_us
from trimtab_collector.storage.gauges import Reading
from trimtab_collector.storage.store import Rows, ServiceAccount

__all__ = [
    "TIMES",
    "accounting_of",
    "fields_of",
    "instances_of",
    "names_of",
    "no_requests",
    "stats_of",
]

_QUANTILES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)
_SHOWN: Final = (
    "requests", "errors", "sum_us", "max_us", "ttfb_us", "queue_us", "queued", "bytes",
    "websockets", "websocket_us", "event_streams", "event_stream_us",
)  # fmt: skip
#: fields of Stats that are response times
TIMES: Final = ("mean", "p50", "p90", "p95", "p99", "p999", "max")


def names_of(rows: Rows) -> list[tuple[str, ...]]:
    """Return the name of each row's group."""
    return [rows.groups[place] for place in rows.group]


def stats_of(rows: Rows, seconds: float, threshold_us: float) -> tuple[Rows, list[Stats]]:
    """Return rows without their last field, the status class, and the figures of each.

    seconds is what rates are over, threshold_us the one of Apdex.
    """
    rows, apdex = without_class(rows, threshold_us)
    columns = rows.columns
    quantiles = quantiles_us(columns, _QUANTILES) / 1000
    table = zip(*(columns.value(name).tolist() for name in _SHOWN), strict=True)
    answer = []
    for times, index, row in zip(quantiles.tolist(), apdex.tolist(), table, strict=True):
        requests, errors, total, most, ttfb, queue, queued, size, *connections = row
        kept = {"bytes": size, **_connections(*connections)}
        if not requests:
            answer.append(Stats(**{**no_requests(), **kept}))
            continue
        p50, p90, p95, p99, p999 = times
        answer.append(
            Stats(
                requests=requests,
                errors=errors,
                error_rate=errors / requests,
                requests_per_second=requests / seconds,
                mean=total / requests / 1000,
                p50=p50,
                p90=p90,
                p95=p95,
                p99=p99,
                p999=p999,
                max=most / 1000,
                ttfb_mean=ttfb / requests / 1000,
                queue_mean=queue / queued / 1000 if queued else None,
                apdex=index,
                **kept,
            )
        )
    return rows, answer


def _connections(sockets: int, sockets_us: int, streams: int, streams_us: int) -> dict[str, Any]:
    return {
        "web_sockets": sockets,
        "web_socket_mean": sockets_us / sockets / 1000 if sockets else None,
        "event_streams": streams,
        "event_stream_mean": streams_us / streams / 1000 if streams else None,
    }


def no_requests() -> dict[str, Any]:
    """Return the fields of Stats when nothing was counted."""
    none = dict.fromkeys((*TIMES, "ttfb_mean", "queue_mean", "apdex"))
    return {
        **_connections(0, 0, 0, 0),
        "requests": 0,
        "errors": 0,
        "error_rate": 0.0,
        "requests_per_second": 0.0,
        "bytes": 0,
        **none,
    }


def fields_of(stats: Stats) -> dict[str, Any]:
    """Return the fields of figures, to build a row that has them too."""
    return {name: getattr(stats, name) for name in Stats.__struct_fields__}


def accounting_of(account: ServiceAccount) -> Accounting:
    """Return an account as the API shows it."""
    return Accounting(
        counted=account.counted,
        sent=account.sent,
        held=account.held,
        agent_lost=account.agent_lost,
        dropped=account.dropped,
        requests=account.requests,
        backgrounds=account.backgrounds,
        connections=account.connections,
    )


def instances_of(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """Return the readings of each instance."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in readings:
        name = (row.environment, row.service, row.instance)
        found.setdefault(name, {})[row.name] = row.value
    return [
        {"environment": name[0], "service": name[1], "instance": name[2], "readings": values}
        for name, values in sorted(found.items())
    ]
