"""Rows as Prometheus text, version 0.0.4.

A histogram with buckets of its own is a histogram there; one with a sketch, and a summary, is a
summary: quantiles, count and sum.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import isinf

from trimtab.metrics.metric import Distribution, MetricRow
from trimtab_core.exposition import CONTENT_TYPE, MetricFamily, render
from trimtab_core.names import exposed_label, exposed_name

__all__ = ["CONTENT_TYPE", "exposition"]

_Sample = tuple[str, Mapping[str, str], float]


def exposition(rows: Iterable[MetricRow]) -> str:
    """Return the text of rows of one time; rows of a metric need not stand together."""
    families: dict[str, MetricFamily] = {}
    samples: dict[str, list[_Sample]] = {}
    for row in rows:
        name = exposed_name(row.name, row.kind, row.unit)
        if name not in families:
            samples[name] = []
            families[name] = MetricFamily(
                name, _kind(row), row.description or row.name, samples[name]
            )
        samples[name] += _samples(row)
    return render(families.values()) if families else ""


def _kind(row: MetricRow) -> str:
    if not isinstance(row.value, Distribution):
        return row.kind
    return "histogram" if row.value.buckets else "summary"


def _samples(row: MetricRow) -> Iterator[_Sample]:
    labels = {exposed_label(label): text for label, text in row.labels.items()}
    value = row.value
    if not isinstance(value, Distribution):
        yield "", labels, value
        return
    for q, quantile in value.quantiles:
        yield "", labels | {"quantile": str(q)}, quantile
    for bound, count in value.buckets:
        yield "_bucket", labels | {"le": "+Inf" if isinf(bound) else str(bound)}, count
    yield "_sum", labels, value.sum
    yield "_count", labels, value.count
