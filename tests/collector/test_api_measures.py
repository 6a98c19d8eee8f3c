"""Measures over time, against values added up by hand: steps, groups, attributes, kinds."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import pytest

from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, World, world
from support.stores.batches import a_batch
from support.stores.engines import Sent, append
from support.stores.rowbatches import delta_of
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.measures import ATTRIBUTES
from trimtab_collector.contract.parameters import RANGE, parse
from trimtab_collector.storage.rolls import row_width_s
from trimtab_collector.storage.store import TooMuchError
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, MeasureKey, quantile, value_buckets
from trimtab_core.rows import MeasureRow, pack_rows

#: the last ten minutes have rows of ten seconds, and are over
END_S: Final = NOW_S - 60
START_S: Final = END_S - 600
ALL: Final = {"from_": START_S, "to": END_S}
WORK, SOLD, DEPTH = "work.duration", "shop.sold", "shop.depth"


class Value(NamedTuple):
    """One value that an app gave: when, from which process, of what."""

    t: int
    instance: str
    name: str
    kind: str
    labels: tuple[tuple[str, str], ...]
    value: float


def put(found: World, values: Sequence[Value]) -> None:
    windows: dict[int, dict[tuple[str, MeasureKey], list[float]]] = {}
    units = {HISTOGRAM: "s", COUNTER: "{item}", GAUGE: "{job}"}
    for each in values:
        key = MeasureKey(each.name, each.kind, units[each.kind], each.labels)
        windows.setdefault(each.t, {}).setdefault((each.instance, key), []).append(each.value)
    sent = []
    for t, measured in sorted(windows.items()):
        rows = [
            MeasureRow("test", "shop", instance, key, delta_of(some))
            for (instance, key), some in measured.items()
        ]
        (packed,) = pack_rows(rows, [])
        sent.append(Sent(a_batch(t, {}, window_s=t, rows=packed), {}))
    append(found.engine, *sent)


def dice() -> list[Value]:
    rolled = random.Random(7)
    values = []
    for t in range(START_S, END_S, 10):
        for instance in ("host#0", "host#1"):
            for _ in range(rolled.randrange(4)):
                labels = (("colour", rolled.choice(["red", "blue"])), ("size", "a, b"))
                values.append(
                    Value(t, instance, WORK, HISTOGRAM, labels, rolled.lognormvariate(0, 1))
                )
                values.append(Value(t, instance, SOLD, COUNTER, labels[:1], rolled.randrange(5)))
            values.append(Value(t, instance, DEPTH, GAUGE, (), rolled.randrange(100)))
    return values


@pytest.fixture(scope="module")
def values() -> list[Value]:
    return dice()


@pytest.fixture(scope="module")
def shop(values: list[Value]) -> Iterator[World]:
    with short_dir() as directory, world(directory, empty=True) as found:
        put(found, values)
        yield found


def at(row: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(row["t"]).timestamp())


def test_histograms_are_added_up_by_step_and_attribute(shop: World, values: list[Value]) -> None:
    answer = shop.ask("/measures", name=WORK, groupBy="colour", step=60, **ALL)
    assert (answer["step"], answer["groupBy"], answer["measuresLeftOut"]) == (60, ["colour"], 0)
    sums = []
    for series in answer["measures"]:
        colour = series["group"]["colour"]
        mine = [each for each in values if each.name == WORK and ("colour", colour) in each.labels]
        assert (series["name"], series["kind"], series["unit"]) == (WORK, HISTOGRAM, "s")
        check(series["total"], [each.value for each in mine], 600)
        for row in series["series"]:
            assert row["seconds"] == 60
            check(row, [each.value for each in mine if at(row) <= each.t < at(row) + 60], 60)
        assert sum(row["count"] for row in series["series"]) == len(mine)
        sums.append(series["total"]["sum"])
    assert sums == sorted(sums, reverse=True)
    assert len(sums) == 2


def check(row: dict[str, Any], values: Sequence[float], seconds: float) -> None:
    """Compare the figures of a histogram with its values."""
    assert row["count"] == len(values)
    assert row["sum"] == pytest.approx(sum(values))
    assert row["perSecond"] == pytest.approx(len(values) / seconds)
    assert row["mean"] == pytest.approx(sum(values) / len(values))
    assert (row["min"], row["max"], row["last"]) == (min(values), max(values), None)
    buckets = value_buckets(values)
    assert row["p90"] == quantile(buckets, 0.9, min(values), max(values))


def test_counters_have_sums_and_rates_and_nothing_that_they_do_not_have(
    shop: World, values: list[Value]
) -> None:
    answer = shop.ask("/measures", name=SOLD, groupBy="instance", step=60, **ALL)
    for series in answer["measures"]:
        mine = [
            each.value
            for each in values
            if each.name == SOLD and each.instance == series["group"]["instance"]
        ]
        total = series["total"]
        assert (total["sum"], total["perSecond"]) == (sum(mine), pytest.approx(sum(mine) / 600))
        assert {total[name] for name in ("mean", "min", "max", "last", "p50", "p99")} == {None}
    assert len(answer["measures"]) == 2


def test_a_gauge_of_several_processes_is_the_sum_of_their_last_values(
    shop: World, values: list[Value]
) -> None:
    (series,) = shop.ask("/measures", name=DEPTH, step=60, **ALL)["measures"]
    mine = [each for each in values if each.name == DEPTH]
    last = {each.instance: each.value for each in mine}
    assert series["total"]["last"] == sum(last.values())
    assert series["total"]["max"] == max(each.value for each in mine)
    assert (series["total"]["sum"], series["total"]["perSecond"]) == (None, None)
    for row in series["series"]:
        of_step = {each.instance: each.value for each in mine if each.t < at(row) + 60}
        assert row["last"] == sum(of_step.values())


def test_measures_are_chosen_by_name_field_and_attribute(shop: World, values: list[Value]) -> None:
    def count(**query: str) -> int:
        return sum(
            series["total"]["count"]
            for series in shop.ask("/measures", name=WORK, **ALL, **query)["measures"]
        )

    work = [each for each in values if each.name == WORK]
    assert count() == count(attribute="size=a, b") == len(work)
    assert count(attribute="colour=red") == sum(("colour", "red") in each.labels for each in work)
    assert count(instance="host#1") == sum(each.instance == "host#1" for each in work)
    assert count(attribute="colour=green") == count(service="other") == 0
    names = [
        each["name"] for each in shop.ask("/measures", name=f"shop.*,{WORK}", **ALL)["measures"]
    ]
    assert names == [DEPTH, SOLD, WORK]
    few = shop.ask("/measures", name="*", groupBy="colour", limit=2, **ALL)
    assert (len(few["measures"]), few["measuresLeftOut"]) == (2, 3)


def test_a_list_of_attributes_is_repeated_and_an_odd_one_is_refused(shop: World) -> None:
    def read(*texts: str) -> object:
        pairs = [("attribute", text) for text in texts]
        return parse((ATTRIBUTES, *RANGE), pairs, NOW_S)[ATTRIBUTES]

    assert read("a=b,c=d", "e=") == {"a": "b,c=d", "e": ""}
    for texts in (("a",), ("=b",), ("a=b", "a=c"), ("",)):
        with pytest.raises(ApiError, match="expected name=value"):
            read(*texts)
    with pytest.raises(ApiError, match="each once"):
        shop.ask("/measures", name=WORK, groupBy="colour,,size")
    with pytest.raises(ApiError, match="1 to 20 names of measures"):
        shop.ask("/measures", name="")


def test_steps_are_no_finer_than_what_is_kept() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        now_s = found.clock.now_s
        for days in (0, 1, 3):
            t = int(now_s) - int(now_s) % 3600 - days * 86_400 - 7_200
            put(found, [Value(t + 10 * n, "a", WORK, HISTOGRAM, (), 1.0) for n in range(36)])
        found.engine.settle()
        for days, step in ((1, 60), (3, 3600)):
            start_s = now_s - now_s % 3600 - days * 86_400 - 7_200
            answer = found.ask("/measures", name=WORK, step=10, from_=start_s, to=start_s + 3600)
            assert answer["step"] == step
            (series,) = answer["measures"]
            # Six minutes of one value each ten seconds.
            assert {row["count"] for row in series["series"]} == {min(step // 10, 36)}
            assert sum(row["count"] for row in series["series"]) == 36
            assert answer["resolution"] == 10
        cut = {"tz": "Asia/Kolkata", "step": "day", "from_": now_s - 5 * 86_400}
        assert found.ask("/measures", name=WORK, **cut)["resolution"] == 3600


def test_the_width_of_rows_follows_their_age() -> None:
    now_s = 1_700_000_123.0
    widths = [row_width_s(now_s - age_s, now_s) for age_s in (0, 900, 1000, 86_400, 3 * 86_400)]
    assert widths == [10, 10, 60, 60, 3600]


def test_more_than_an_answer_may_hold_is_refused_with_the_way_to_ask_less(shop: World) -> None:
    with pytest.raises(TooMuchError, match="20000 steps of all series together"):
        shop.ask("/measures", name=WORK, limit=200, step=60, from_=NOW_S - 86_400)
    with short_dir() as directory, world(directory, empty=True) as found:
        many = [Value(START_S, f"host#{n}", DEPTH, GAUGE, (), 1.0) for n in range(3000)]
        put(found, many)
        (series,) = found.ask("/measures", name=DEPTH, **ALL, step=60)["measures"]
        assert series["total"]["last"] == 3000
        with pytest.raises(TooMuchError, match="61 steps of 3000 measures"):
            found.ask("/measures", name=DEPTH, step=10, from_=START_S, to=START_S + 610)
