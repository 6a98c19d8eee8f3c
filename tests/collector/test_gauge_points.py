"""Points of gauges: they add up in any order, chunks give them back, and they take few bytes."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_collector.storage.gaugepoints import GaugePoints, merge, rolled_up
from trimtab_collector.storage.sqlite.gaugechunks import decode_gauges, encode_gauges
from trimtab_collector.storage.sqlite.planes import ChunkError

NOON = 1_700_006_400
HOUR = 3600

floats = st.one_of(
    st.floats(-1e300, 1e300).map(lambda value: value + 0.0),
    st.integers(-(2**53), 2**53).map(float),
    st.sampled_from((0.0, 5e-324, 1.5, -1.5)),
)
points = st.lists(
    st.tuples(
        st.integers(0, 2**31 - 1), st.integers(0, 300), st.lists(floats, min_size=1, max_size=4)
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda row: row[:2],
)
Point = tuple[int, int, list[float]]


def table(rows: Sequence[Point], width_s: int, at: int = 0) -> GaugePoints:
    rows = sorted(rows)
    whole = [len(values) for *_, values in rows]
    return GaugePoints(
        np.array([gauge << 32 | (NOON + t * width_s) for gauge, t, _ in rows], np.int64),
        np.array(whole, np.int64),
        np.array([min(values) for *_, values in rows]),
        np.array([max(values) for *_, values in rows]),
        np.array([math.fsum(value / 8 for value in values) for *_, values in rows])
        if max(whole) > 1
        else np.array([values[0] for *_, values in rows]),
        np.array([values[-1] for *_, values in rows]),
        np.array([NOON + t * width_s + at for _, t, _ in rows], np.int64),
    )


def same(one: GaugePoints, other: GaugePoints) -> None:
    for name in GaugePoints.__dataclass_fields__:
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name


@settings(deadline=None)
@given(points, st.sampled_from((10, 60, 3600)), st.sampled_from((0, 1, 10, 60, 3600, -5)))
def test_a_chunk_of_readings_gives_back_what_it_was_given(
    rows: list[Point], width_s: int, at: int
) -> None:
    for each in ([(gauge, t, values[:1]) for gauge, t, values in rows], rows):
        before = table(each, width_s, at)
        single = before.count == 1
        before.total[single] = before.last[single]
        same(decode_gauges(encode_gauges(before, width_s)), before)


@settings(deadline=None)
@given(st.data())
def test_points_add_up_in_any_order(data: st.DataObject) -> None:
    rows = [
        table([(gauge, t, [float(value)])], 10, at)
        for gauge, t, value, at in data.draw(
            st.lists(
                st.tuples(
                    st.integers(0, 2), st.integers(0, 8), st.integers(-9, 9), st.integers(1, 10)
                ),
                min_size=1,
                max_size=20,
            )
        )
    ]
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    parts = [merge(shuffled[:cut]), merge(shuffled[cut:])]
    same(merge(parts), merge(rows))
    wide = [rolled_up(part, 60) for part in parts]
    same(merge(wide), rolled_up(merge(rows), 60))


@pytest.mark.parametrize("damage", [b"", b"garbage", bytes(80)])
def test_what_is_no_chunk_of_readings_is_said_to_be_none(damage: bytes) -> None:
    with pytest.raises(ChunkError, match="expected a chunk"):
        decode_gauges(damage)
    with pytest.raises(ValueError, match="at least one point"):
        encode_gauges(merge([]), 10)


def walks(chance: random.Random, seconds: int) -> dict[str, list[float]]:
    """Return gauges of usual gauges, every 10 s: standing, counting, walking, and noise."""
    memory, found = 53_903_360.0, dict[str, list[float]]()
    for step in range(seconds // 10):
        memory += 4096 * chance.choice((0, 0, 0, 0, 1, 2, -1))
        rows = {
            "memory": memory,
            "threads": 12.0,
            "files": 40.0 + (chance.random() < 0.05),
            "active": float(chance.choice((0, 0, 0, 1, 1, 2))),
            "uptime": 22.058 + 10 * step,
            "load": round(1.6 + chance.gauss(0, 0.2), 2),
            "cpu": chance.betavariate(2, 9),
        }
        for name, value in rows.items():
            found.setdefault(name, []).append(value)
    return found


def test_a_reading_takes_a_few_bytes() -> None:
    found = [walks(random.Random(number), HOUR) for number in range(10)]
    kinds = list(found[0])
    sizes = {}
    for kind in [*kinds, "all"]:
        rows = [
            (10 * place + number, step, [value])
            for place, name in enumerate(kinds)
            if kind in (name, "all")
            for number, walk in enumerate(found)
            for step, value in enumerate(walk[name])
        ]
        fine = table(rows, 10, 10)
        for width_s in (10, 60):
            part = fine if width_s == 10 else rolled_up(fine, width_s)
            sizes[kind, width_s] = len(encode_gauges(part, width_s)) / len(part.key)
    assert sizes["threads", 10] < 0.1
    assert sizes["memory", 10] < 2
    assert sizes["all", 10] < 3
    assert sizes["all", 60] < 10
