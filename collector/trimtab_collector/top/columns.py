"""The columns of each view: what they are called, how a value is written, what sorts; pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from trimtab_collector.contract.quantities import DASH, QUANTITIES, number
from trimtab_collector.top.rows import TopRow

__all__ = ["COLUMNS", "DEFAULT_SORTS", "SERVER_SORTS", "VIEWS", "TopColumn", "ordered"]

#: in the order of the keys 1 to 3
VIEWS: Final = ("services", "routes", "hosts")


class TopColumn(NamedTuple):
    """One column of a view."""

    #: what --sort calls it
    key: str
    title: str
    #: cells; 0 takes what the others leave
    width: int
    #: attribute of the row
    field: str
    #: how a value is written
    text: Callable[[Any], str]
    #: the narrower the terminal, the fewer columns: shown from this width on
    from_width: int = 0
    #: texts come first to last, figures the largest first
    ascending: bool = False


def _count(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{number(value / 1e6)}M" if value >= 1e6 else number(value)


def _share(value: float | None) -> str:
    """Return per cent in six cells; what is not nothing, and not all, does not look like it."""
    if value is None:
        return DASH
    if 0 < value < 0.001:
        return "<0.1 %"
    percent = 100 * value if value >= 1 else min(99.9, 100 * value)
    return f"{percent:.1f}".removesuffix(".0") + " %"


def _whole_share(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.0f} %"


def _rate(value: float | None) -> str:
    return QUANTITIES["en"].quantity(value, "bytes/s")


def _time(value: float | None) -> str:
    """Return ms in eight cells."""
    if value is None:
        return DASH
    if 0 < value < 0.1:
        return f"{max(value, 0.01):.2f} ms"
    if value < 60_000:
        return QUANTITIES["en"].quantity(value, "ms")
    minutes = value / 60_000
    return f"{number(minutes)} min" if minutes < 60 else f"{number(minutes / 60)} h"


_REQUESTS: Final = (
    TopColumn("rps", "req/s", 7, "requests_per_second", _count),
    TopColumn("errors", "errors", 7, "error_rate", _share),
    TopColumn("p50", "p50", 8, "p50", _time, from_width=90),
    TopColumn("p95", "p95", 8, "p95", _time),
    TopColumn("p99", "p99", 8, "p99", _time),
)
#: view -> its columns, the name first
COLUMNS: Final[Mapping[str, tuple[TopColumn, ...]]] = {
    "services": (
        TopColumn("name", "service", 0, "service", str, ascending=True),
        *_REQUESTS,
        TopColumn("inflight", "in flight", 10, "in_flight", _count),
        TopColumn("open", "open", 6, "open_connections", _count, from_width=96),
        TopColumn("instances", "workers", 8, "instances", _count, from_width=104),
    ),
    "routes": (
        TopColumn("name", "route", 0, "route", str, ascending=True),
        *_REQUESTS,
        TopColumn("time", "time", 6, "time_share", _share),
    ),
    "hosts": (
        TopColumn("name", "host", 0, "host", str, ascending=True),
        TopColumn("cpu", "CPU", 5, "cpu", _whole_share),
        TopColumn("load", "load", 6, "load", _count, from_width=90),
        TopColumn("memory", "memory", 7, "memory", _whole_share),
        TopColumn("disk", "disk", 5, "disk", _whole_share),
        TopColumn("read", "read", 9, "disk_read", _rate, from_width=76),
        TopColumn("write", "write", 9, "disk_write", _rate),
        TopColumn("in", "net in", 9, "network_in", _rate),
        TopColumn("out", "net out", 9, "network_out", _rate),
    ),
}
DEFAULT_SORTS: Final[Mapping[str, str]] = {"services": "rps", "routes": "time", "hosts": "cpu"}
#: key -> what the API sorts by, so that the largest come where it leaves some out
SERVER_SORTS: Final[Mapping[str, str]] = {
    "rps": "requestsPerSecond",
    "errors": "errorRate",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
    "time": "totalTime",
}


def ordered(rows: Sequence[TopRow], view: str, key: str, *, reverse: bool) -> list[TopRow]:
    """Return rows as a column sorts them; unknown figures come last either way."""
    (column,) = (each for each in COLUMNS[view] if each.key == key)
    by_name = sorted(rows, key=lambda row: row.identity)
    known = [row for row in by_name if getattr(row, column.field) is not None]
    unknown = [row for row in by_name if getattr(row, column.field) is None]
    known.sort(key=lambda row: getattr(row, column.field), reverse=column.ascending == reverse)
    return known + unknown
