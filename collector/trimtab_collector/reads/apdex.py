"""Apdex, the share of satisfied requests (Apdex Technical Specification 1.1, sections 2 and 3).

A request is satisfied up to a threshold T, tolerated up to 4 T, frustrated beyond; one answered
with a 5xx is frustrated however fast it was. Apdex = (satisfied + tolerated / 2) / all. It is read
from sketches: T is exact to half a bucket, 1.1 %, and may be another one in each question.
"""

from dataclasses import replace

import numpy as np

from trimtab_collector.storage.columns import MIDDLES_US, Array
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.store import Rows

__all__ = ["without_class"]


def without_class(rows: Rows, threshold_us: float) -> tuple[Rows, Array]:
    """Return rows whose last field is the status class added up without it, and their apdex.

    Apdex is float64, one a row of the answer, nan for a row without requests.
    """
    columns = rows.columns
    groups: dict[tuple[str, ...], int] = {}
    place = [groups.setdefault(name[:-1], len(groups)) for name in rows.groups]
    group = np.asarray(place, np.int64)[rows.group]
    # Twice the worth of a request, by its bucket: 2 satisfied, 1 tolerated, 0 frustrated.
    worth = (threshold_us >= MIDDLES_US).astype(np.int64) + (4 * threshold_us >= MIDDLES_US)
    owner = np.repeat(np.arange(len(columns.key)), columns.buckets)
    twice = np.bincount(
        owner, weights=columns.counts * worth[columns.indexes], minlength=len(columns.key)
    )
    failed = np.asarray([name[-1] == "5xx" for name in rows.groups], bool)[rows.group]
    twice[failed] = 0
    key = group << 32 | rows.t
    merged = merge([replace(columns, key=key)])
    sums = np.zeros(len(merged.key))
    np.add.at(sums, np.searchsorted(merged.key, key), twice)
    requests = merged.values["requests"]
    apdex = np.full(len(merged.key), np.nan)
    np.divide(sums, 2 * requests, out=apdex, where=requests > 0)
    t = merged.key & 0xFFFFFFFF
    return Rows(list(groups), merged.key >> 32, t, merged, rows.resolution_s), apdex
