"""Batches with measures and events, and what measures come to when they are added up by hand."""

from collections.abc import Sequence
from dataclasses import replace

from support.stores.batches import a_batch
from trimtab_core.batches import Batch
from trimtab_core.measures import HISTOGRAM, Delta, MeasureKey, value_buckets
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

__all__ = ["batch_of", "delta_of", "row_of"]


def delta_of(values: Sequence[float]) -> Delta:
    """Return the delta of values that were added in this order."""
    delta = Delta()
    delta.add(values)
    delta.buckets = dict(value_buckets(values))
    return delta


def row_of(values: Sequence[float], name: str = "work", text: str = "a") -> MeasureRow:
    """Return a row of a histogram with one attribute."""
    key = MeasureKey(name, HISTOGRAM, "s", (("what", text),))
    return MeasureRow("test", "shop", "host#0", key, delta_of(values))


def batch_of(
    seq: int,
    rows: Sequence[MeasureRow],
    window_s: int,
    events: Sequence[EventRow] = (),
    agent: str = "agent-1",
) -> Batch:
    """Return a batch with these rows beside its one request."""
    packed = pack_rows(rows, events)
    return replace(a_batch(seq, window_s=window_s, agent=agent), rows=packed[0] if packed else b"")
