"""What a sink is, and how metrics get into one: every series as it is now, a row each."""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, NamedTuple, Protocol

from trimtab.metrics.metric import Distribution, Metric, MetricRow, collect
from trimtab_core.logs import app_logger

__all__ = ["Sink", "Stored", "collect_and_store", "export_json", "json_of"]

log = app_logger("trimtab.sinks")


class Stored(NamedTuple):
    """How many rows a sink has stored, and why it lacks others: empty when it has them all."""

    stored: int
    failed: str = ""


class Sink(Protocol):
    """Stores rows; any thread. Whatever goes wrong is told by what it returns, never raised."""

    def store(self, rows: Sequence[MetricRow]) -> Stored:
        """Store rows."""
        ...


def collect_and_store(sink: Sink, metrics: Iterable[Metric] | None = None) -> Stored:
    """Store every series of the metrics, of all there are by default; never raises."""
    try:
        return sink.store(collect(metrics))
    except Exception as error:
        log.debug("a sink failed", exc_info=True)
        try:
            return Stored(0, f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001 - one that has no text
            return Stored(0, type(error).__name__)


def export_json(metrics: Iterable[Metric] | None = None) -> list[dict[str, Any]]:
    """Return every series as a dict that JSON can hold.

    Its keys are name, type, unit, value, labels, timestamp (seconds since 1970) and description.
    The value of a histogram or summary is a dict of count, sum, quantiles (by "0.95") and, with
    buckets of its own, buckets (values up to each bound, by "0.5", the last one "+Inf").
    """
    return [json_of(row) for row in collect(metrics)]


def json_of(row: MetricRow) -> dict[str, Any]:
    """Return a row as `export_json` does."""
    return {
        "name": row.name,
        "type": row.kind,
        "unit": row.unit,
        "value": _value(row.value),
        "labels": dict(row.labels),
        "timestamp": row.timestamp,
        "description": row.description,
    }


def _value(value: float | Distribution) -> Any:
    if not isinstance(value, Distribution):
        return _number(value)
    shown: dict[str, Any] = {"count": value.count, "sum": _number(value.sum)}
    shown["quantiles"] = {str(q): _number(each) for q, each in value.quantiles}
    if value.buckets:
        shown["buckets"] = {
            str(bound) if isfinite(bound) else "+Inf": count for bound, count in value.buckets
        }
    return shown


def _number(value: float) -> float | None:
    # A sum of large values may have no number that JSON can hold.
    return value if isfinite(value) else None
