"""The apps' own metrics, by name and labels."""

from trimtab_collector.contract.custom import METRICS, NAME, Custom, CustomMetric
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.measures import MeasureReads, grouped
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import MeasurePart
from trimtab_core.measures import COUNTER, GAUGE, Delta, quantile
from trimtab_core.names import RESERVED_PREFIXES

__all__ = ["custom"]


def custom(reader: StoreReader, parameters: Parameters) -> Custom:
    """Return the apps' own metrics by name and labels, in the order of names."""
    time_range = reader.ranges.stored(parameters)
    measures = MeasureReads(reader, time_range, (parameters[NAME] or "*",))
    own = [part for part in measures.of() if not part.key.name.startswith(RESERVED_PREFIXES)]
    found = grouped(own, lambda part: part.key)
    limit = parameters[METRICS]
    return Custom(
        **time_range.fields(),
        metrics=[_metric(found[key]) for key in sorted(found)[:limit]],
        metrics_left_out=max(0, len(found) - limit),
    )


def _metric(parts: list[MeasurePart]) -> CustomMetric:
    key, whole = parts[0].key, Delta()
    for part in parts:
        whole.merge(part.delta)
    # Of gauges each process has its own: together they are the sum of the last values.
    last = sum(part.delta.last for part in parts)

    def at(q: float) -> float | None:
        return quantile(whole.buckets, q, whole.min, whole.max) if whole.buckets else None

    counts = key.kind == COUNTER
    return CustomMetric(
        name=key.name,
        kind=key.kind,
        unit=key.unit,
        labels=dict(key.attributes),
        value=whole.sum if counts else last if key.kind == GAUGE else whole.sum / whole.count,
        count=whole.count,
        sum=whole.sum,
        mean=None if counts else whole.sum / whole.count,
        min=None if counts else whole.min,
        max=None if counts else whole.max,
        p50=at(0.5),
        p95=at(0.95),
        p99=at(0.99),
        instances=len({(part.environment, part.service, part.instance) for part in parts}),
    )
