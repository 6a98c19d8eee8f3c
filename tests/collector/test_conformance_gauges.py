"""What every store must keep to with gauges: their history by step, and their latest values."""

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.clock import Clock
from support.laws import DEPTH
from support.processes.servers import short_dir
from support.stores.appending import append, received
from support.stores.batches import a_batch
from support.stores.engines import ENGINES, NOON, Engine, Pair
from support.stores.gaugeoracle import GaugeOracle, ask, check
from trimtab_collector.storage.gaugepoints import GaugeKey
from trimtab_collector.storage.store import GaugeSelection, LatestGauge, Store
from trimtab_core.batches import Batch, GaugeRow

HOUR_S = 3600
DAY_S = 86_400
TEXTS = {
    "agent": ("agent-1", "agent-2"),
    "environment": ("prod", ""),
    "service": ("shop", ""),
    "instance": ("host#0", "host#1"),
    "name": ("memory", "cpu", "load"),
}


def gauge(name: str, value: float, instance: str = "host#0") -> GaugeRow:
    return GaugeRow("test", "shop", instance, name, value)


def a_gauge_batch(seed: int, seq: int, now_s: int) -> Batch:
    """Return a batch of up to six gauges, up to six hours old; their sums are exact."""
    random = Random(seed)
    step_s = random.choice((10, 10, 1, 60))
    window_s = now_s - random.choice((0, 60, 3_000, 6 * HOUR_S)) - random.randrange(600)
    places = GaugeKey._fields[1:]
    keys = {tuple(random.choice(TEXTS[field]) for field in places) for _ in range(6)}
    gauges = [
        GaugeRow(environment, service, instance, name, random.randrange(-(2**30), 2**30) / 4)
        for environment, service, instance, name in sorted(keys)
    ]
    return a_batch(
        seq,
        {},
        agent=random.choice(TEXTS["agent"]),
        window_s=window_s - window_s % step_s,
        step_s=step_s,
        gauges=gauges,
    )


def a_gauge_selection(seed: int, start_s: int, *, hours: bool) -> GaugeSelection:
    """Return what may be asked about the day that ends an hour after start_s."""
    random = Random(seed)
    first = start_s // HOUR_S * HOUR_S - 24 * HOUR_S
    if hours or random.random() < 0.3:
        places = random.sample(range(26), random.randrange(2, 6))
        edges = sorted(first + HOUR_S * place for place in places)
    else:
        step_s = random.choice((1, 7, 10, 60, 600))
        begin_s = start_s - random.randrange(7 * HOUR_S)
        edges = list(range(begin_s, begin_s + 40 * step_s, step_s))
    fields = ("agent", "environment", "service", "instance")
    chosen = random.sample(fields, random.randrange(3))
    return GaugeSelection(
        tuple(edges),
        random.choice((None, None, ("memory",), ("cpu", "load"), ("nothing",))),
        {field: random.choice(TEXTS[field]) for field in chosen},
        (*random.sample(fields, random.randrange(5)), "name"),
    )


@settings(max_examples=8 * DEPTH, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(1, 40), st.booleans())
@pytest.mark.parametrize("engine", list(ENGINES.values()), ids=list(ENGINES))
def test_gauges_are_what_was_read_at_every_age(
    engine: Callable[[], Engine], seed: int, count: int, roomy: bool
) -> None:
    clock, oracle, made = Clock(NOON + 1234), GaugeOracle(), engine()
    start_s = int(clock.now_s)
    with short_dir() as directory:
        made.open(directory, clock, roomy=roomy)
        try:
            batches = [a_gauge_batch(seed + n, n, start_s) for n in range(count)]
            oracle.add(*batches)
            assert append(made.store, *batches) == [False] * count
            for age_s in (0, 2 * HOUR_S, 4 * DAY_S, 15 * DAY_S):
                clock.now_s = start_s + age_s
                for settled in (False, True):
                    if settled:
                        made.settle()
                    # Windows that are older may be wider: hours are whole in all of them.
                    hours = age_s > made.tiers[0].kept_s - DAY_S
                    for place in range(6):
                        selection = a_gauge_selection(seed + place, start_s, hours=hours)
                        check(ask(made.store, selection), oracle.answer(selection))
                if age_s < 7 * DAY_S:
                    # No agent sends them later, and no number is known for ever.
                    assert append(made.store, *batches[:3]) == [True] * len(batches[:3])
                if made.persists:
                    made.reopen()
        finally:
            made.close()


def names(store: Store) -> list[str]:
    return [name for (name,) in store.read_gauges(_by_name()).groups]


def _by_name() -> GaugeSelection:
    return GaugeSelection((NOON - HOUR_S, NOON + HOUR_S), group_by=("name",))


def test_live_gauges_and_those_that_are_no_number_are_no_history(pair: Pair) -> None:
    store = pair.engine.store
    strange = {"nan": math.nan, "inf": math.inf, "huge": -1e308, "ok": -1.5}
    gauges = [gauge(name, value) for name, value in strange.items()]
    append(store, a_batch(0, {}, window_s=NOON - 10, gauges=gauges))
    live = a_batch(1, {}, window_s=NOON - 1, step_s=1, gauges=[gauge("live", 1.0)], live=True)
    store.show(received(store, live))
    assert names(store) == ["ok"]
    pair.clock.now_s += 2 * HOUR_S
    pair.engine.settle()
    assert names(store) == ["ok"]


def test_a_gauge_goes_with_the_last_window_that_has_it(pair: Pair) -> None:
    store = pair.engine.store
    append(store, a_batch(0, {}, window_s=NOON - 20, gauges=[gauge("old", 1.0), gauge("new", 2.0)]))
    pair.engine.settle()
    kept_s = pair.engine.tiers[-1].kept_s
    later_s = NOON + kept_s // 2
    pair.clock.now_s = later_s
    append(store, a_batch(1, {}, window_s=later_s - 10, gauges=[gauge("new", 3.0)]))
    pair.engine.settle()
    selection = GaugeSelection((NOON - HOUR_S, later_s + HOUR_S), group_by=("name",))
    rows = store.read_gauges(selection)
    assert (rows.groups, rows.last.tolist()) == ([("new",), ("old",)], [3.0, 1.0])
    # A file goes as a whole, up to a month after its oldest window.
    pair.clock.now_s = NOON + kept_s + (31 * DAY_S if pair.engine.persists else 0)
    pair.engine.settle()
    rows = store.read_gauges(selection)
    assert (rows.groups, rows.last.tolist()) == ([("new",)], [3.0])
    pair.clock.now_s = later_s + kept_s + 32 * DAY_S
    pair.engine.settle()
    assert store.read_gauges(selection).groups == []


def test_what_an_earlier_version_took_from_an_app_in_the_name_of_the_host_is_not_read(
    pair: Pair,
) -> None:
    store = pair.engine.store
    cpu = "system.cpu.utilization"
    taken = [gauge(each, 1.0) for each in (cpu, "trimtab.agent.spool.dropped", "memory")]
    own = GaugeRow("", "", "h", cpu, 0.5)
    append(store, a_batch(0, {}, window_s=NOON - 10, gauges=[*taken, own]))
    selection = GaugeSelection((NOON - HOUR_S, NOON + HOUR_S), None, {}, ("name", "service"))
    rows = store.read_gauges(selection)
    assert (rows.groups, rows.max.tolist()) == ([("memory", "shop"), (cpu, "")], [1.0, 0.5])


# ---------------------------------------------------------------- latest values


def latest(store: Store, now_s: float = NOON) -> dict[tuple[str, str], tuple[float, float]]:
    return {
        (each.agent, each.name): (each.value, each.read_s) for each in store.latest_gauges(now_s)
    }


def test_the_latest_value_is_the_latest_made_and_not_the_latest_to_come(pair: Pair) -> None:
    store = pair.engine.store
    for seq, (window_s, value) in enumerate(((NOON - 10, 1.0), (NOON - 20, 2.0))):
        append(store, a_batch(seq, {}, window_s=window_s, gauges=[gauge("cpu", value)]))
    append(store, a_batch(0, {}, agent="b", window_s=NOON - 20, gauges=[gauge("cpu", 7.0)]))
    assert store.latest_gauges(NOON)[0] == LatestGauge(
        "agent-1", "test", "shop", "host#0", "cpu", 1.0, NOON
    )
    assert latest(store) == {("agent-1", "cpu"): (1.0, NOON), ("b", "cpu"): (7.0, NOON - 10)}


def test_live_gauges_count_as_the_latest_and_all_become_stale(pair: Pair) -> None:
    store = pair.engine.store
    append(store, a_batch(0, {}, window_s=NOON - 10, gauges=[gauge("cpu", 1.0)]))
    live = a_batch(1, {}, window_s=NOON + 4, step_s=1, gauges=[gauge("cpu", 2.0)], live=True)
    store.show(received(store, live))
    assert latest(store, NOON + 5) == {("agent-1", "cpu"): (2.0, NOON + 5)}
    assert latest(store, NOON + 35) == latest(store, NOON + 5)
    assert latest(store, NOON + 36) == {}
