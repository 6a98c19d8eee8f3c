"""Error, speed and size of the quantile sketch, beside ddsketch.

Three sets of durations in whole microseconds, harsher than usual traffic: lognormal (median 20 ms),
Pareto with exponent 1.1 from 1 ms, and gamma with 2 % of the values at a timeout of 30 s. Each is
cut at random into parts, a sketch is made of each part, and the parts are merged in random orders;
every order must give the same sketch, bit for bit. The error of a quantile is its distance from
the exact nearest-rank quantile, in percent of that. The worst of all rounds is shown.
"""

import random
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Final

import zstandard
from ddsketch import DDSketch

from harness import Row, Spread, arguments, interleave, packages, progress, report, spread
from trimtab_core import batches
from trimtab_core.records import MAX_U32
from trimtab_core.sketch import Sketch

GOAL_PERCENT: Final = 1.1
QUANTILES: Final = ("0.5", "0.9", "0.95", "0.99", "0.999", "0.9999")
PARTS: Final = 16
ORDERS: Final = 20
_TIMEOUT_US: Final = 30_000_000


def lognormal(draw: random.Random) -> float:
    """Return a duration in us; median 20 ms, sigma 1."""
    return draw.lognormvariate(9.9, 1.0)


def pareto(draw: random.Random) -> float:
    """Return a duration in us; exponent 1.1, at least 1 ms, no finite variance."""
    return 1_000 * draw.paretovariate(1.1)


def timeouts(draw: random.Random) -> float:
    """Return a duration in us; gamma around 40 ms, 2 % at the timeout and a little after."""
    if draw.random() < 0.02:
        return _TIMEOUT_US + draw.expovariate(1 / 2_000)
    return draw.gammavariate(2.0, 20_000.0)


SETS: Final[dict[str, Callable[[random.Random], float]]] = {
    "lognormal": lognormal,
    "Pareto 1.1": pareto,
    "gamma, 2 % at 30 s": timeouts,
}


def durations(kind: str, count: int, seed: int) -> list[int]:
    """Return that many whole microseconds of a set."""
    draw = random.Random(f"{kind} {seed}")
    return [min(round(SETS[kind](draw)), MAX_U32) for _ in range(count)]


def exact_us(ordered: Sequence[int], quantile: str) -> int:
    """Return the nearest-rank quantile of sorted values; the rank is computed without floats."""
    share = Fraction(quantile) * len(ordered)
    return ordered[max(0, -(-share.numerator // share.denominator) - 1)]


def parts_of(values: Sequence[int], draw: random.Random) -> list[list[int]]:
    """Return the values dealt at random to PARTS lists."""
    parts: list[list[int]] = [[] for _ in range(PARTS)]
    for value in values:
        parts[draw.randrange(PARTS)].append(value)
    return parts


def merged(sketches: Sequence[Sketch], draw: random.Random) -> Sketch:
    """Return the sum of sketches, two random ones at a time until one is left."""
    heap = [Sketch(one.buckets, one.max_us) for one in sketches]
    while len(heap) > 1:
        draw.shuffle(heap)
        heap[-2].merge(heap.pop())
    return heap[0]


def ddsketch_of(values: Sequence[int]) -> Any:
    """Return a DDSketch of 1 % relative accuracy."""
    sketch = DDSketch(relative_accuracy=0.01)
    for value in values:
        sketch.add(value)
    return sketch


def errors(kind: str, count: int, seed: int) -> tuple[dict[str, float], dict[str, float], int]:
    """Return the errors in percent by quantile, ours and ddsketch's, and the unequal orders."""
    values = durations(kind, count, seed)
    draw = random.Random(seed)
    parts = parts_of(values, draw)
    whole = Sketch.of(values)
    ours = [Sketch.of(part) for part in parts]
    sums = [merged(ours, draw) for _ in range(ORDERS)]
    half = len(values) // 2
    theirs = ddsketch_of(values[:half])
    theirs.merge(ddsketch_of(values[half:]))
    ordered = sorted(values)
    own: dict[str, float] = {}
    rival: dict[str, float] = {}
    for quantile in QUANTILES:
        exact = exact_us(ordered, quantile)
        own[quantile] = abs(sums[0].quantile_us(float(quantile)) - exact) / exact * 100
        rival[quantile] = abs(theirs.get_quantile_value(float(quantile)) - exact) / exact * 100
    return own, rival, sum(one != whole for one in sums)


def error_rows(count: int, rounds: int) -> list[Row]:
    """Return a row a set and quantile, and one for the merges."""
    rows = []
    unequal = 0
    for kind in SETS:
        progress(f"errors over {kind}")
        own_worst = dict.fromkeys(QUANTILES, 0.0)
        rival_worst = dict.fromkeys(QUANTILES, 0.0)
        for seed in range(rounds):
            own, rival, wrong = errors(kind, count, seed)
            unequal += wrong
            for quantile in QUANTILES:
                own_worst[quantile] = max(own_worst[quantile], own[quantile])
                rival_worst[quantile] = max(rival_worst[quantile], rival[quantile])
        rows += [
            Row(
                f"{kind}: p{float(quantile) * 100:g}",
                own_worst[quantile],
                "% off",
                f"<= {GOAL_PERCENT}",
                own_worst[quantile] <= GOAL_PERCENT,
                {"ddsketch": rival_worst[quantile]},
            )
            for quantile in QUANTILES
        ]
    tried = rounds * len(SETS) * ORDERS
    what = f"merges in random order, {PARTS} parts: unequal of {tried}"
    rows.append(Row(what, unequal, "sketches", "0", not unequal))
    return rows


def speed_rows(count: int, rounds: int) -> list[Row]:
    """Return the rows of inserting and merging, medians of interleaved rounds."""
    values = durations("lognormal", count, 1)
    half = len(values) // 2
    ours, other = Sketch.of(values[:half]), Sketch.of(values[half:])
    theirs, others = ddsketch_of(values[:half]), ddsketch_of(values[half:])

    def add() -> float:
        sketch = Sketch()
        return _seconds(lambda: _each(sketch.add, values)) / count * 1e9

    def add_many() -> float:
        return _seconds(lambda: Sketch.of(values)) / count * 1e9

    def add_theirs() -> float:
        return _seconds(lambda: ddsketch_of(values)) / count * 1e9

    def merge() -> float:
        return _seconds(lambda: _each(ours.merge, [other] * 100)) / 100 * 1e6

    def merge_theirs() -> float:
        return _seconds(lambda: _each(theirs.merge, [others] * 100)) / 100 * 1e6

    timed = {
        "add": add,
        "of": add_many,
        "ddsketch add": add_theirs,
        "merge": merge,
        "ddsketch merge": merge_theirs,
    }
    result: dict[str, Spread] = {
        name: spread(figures) for name, figures in interleave(timed, rounds, said="speed").items()
    }

    def row(what: str, name: str, unit: str, rival: str) -> Row:
        beside = {"ddsketch": result[rival].median}
        return Row(what, result[name].median, unit, rivals=beside, spread=result[name])

    return [
        row("insert, one by one", "add", "ns", "ddsketch add"),
        row("insert, a list at once", "of", "ns", "ddsketch add"),
        row("merge of two halves", "merge", "us", "ddsketch merge"),
    ]


def size_rows(count: int) -> list[Row]:
    """Return the bytes of a sketch as it travels in a batch, plain and compressed."""
    rows = []
    for kind in SETS:
        values = durations(kind, count, 1)
        columns = batches.columns_of([(0, batches.Point(buckets=dict(Sketch.of(values).buckets)))])
        own = b"".join(columns[name].data for name in batches.BUCKET_COLUMNS)
        # ddsketch's protobuf form is one double a bin, from the first bin to the last.
        theirs = len(ddsketch_of(values)._store.bins) * 8
        packed = len(zstandard.compress(own, 3))
        rows.append(
            Row(
                f"size of a sketch, {kind}",
                len(own),
                "bytes",
                rivals={"ddsketch": theirs},
                note=f"{packed} bytes after zstd 3; ddsketch as the doubles of its protobuf form",
            )
        )
    return rows


def _each(work: Callable[[Any], None], values: Sequence[Any]) -> None:
    for value in values:
        work(value)


def _seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__)
    count = 5_000 if options.quick else 100_000
    rounds = options.rounds or (1 if options.quick else 5)
    rows = [*error_rows(count, rounds), *speed_rows(count, rounds), *size_rows(count)]
    report("sketch", rows, options.json, packages("trimtab", "ddsketch", "zstandard"))


if __name__ == "__main__":
    main()
