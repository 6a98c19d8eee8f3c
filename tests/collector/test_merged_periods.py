"""What a store keeps of whole periods is bounded, and what was kept answers as it was."""

import numpy as np

from trimtab_collector.storage.columns import Columns
from trimtab_collector.storage.sqlite import periods
from trimtab_collector.storage.sqlite.periods import MergedPeriods
from trimtab_collector.storage.store import Rows


def rows_of(points: int) -> Rows:
    whole = np.arange(points)
    none = np.zeros(0, np.int64)
    columns = Columns(whole, {"requests": whole}, np.zeros(points, np.int64), none, none)
    return Rows([("a",)], np.zeros(points, np.int64), whole, columns)


def test_what_was_kept_comes_back() -> None:
    merged = MergedPeriods(1)
    assert merged.find("key") is None
    merged.keep("key", rows_of(300))
    found = merged.find("key")
    assert found is not None
    assert found.columns.values["requests"].tolist() == list(range(300))
    assert found.t.tolist() == list(range(300))


def test_those_not_used_for_longest_make_room() -> None:
    merged = MergedPeriods(1)
    one = rows_of(80_000)
    merged.keep(0, one)
    size = merged.size_bytes
    room = periods.MOST_BYTES // size
    for key in range(1, room):
        merged.keep(key, one)
    assert merged.find(0) is not None
    merged.keep(room, one)
    assert merged.size_bytes == room * size <= periods.MOST_BYTES
    assert merged.find(0) is not None, "it was used, another was not"
    assert merged.find(1) is None


def test_a_period_that_would_push_out_many_others_is_not_kept() -> None:
    merged = MergedPeriods(1)
    merged.keep("large", rows_of(1_000_000))
    assert merged.find("large") is None
    assert not merged.size_bytes


def test_the_same_kept_twice_counts_once() -> None:
    merged = MergedPeriods(1)
    merged.keep("key", rows_of(10))
    size = merged.size_bytes
    merged.keep("key", rows_of(10))
    assert merged.size_bytes == size
