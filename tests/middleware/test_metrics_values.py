"""What is added to a metric can be read back: exactly, under its name, of its kind."""

import copy
import math
import random
import threading
from collections.abc import Callable

import pytest

from trimtab.metrics.counter import Counter
from trimtab.metrics.gauge import Gauge
from trimtab.metrics.histogram import Histogram, Statistics
from trimtab.metrics.metric import Metric, registry
from trimtab.metrics.shortcuts import count, gauge, observe
from trimtab.metrics.summary import Summary
from trimtab.runtime import PROCESS
from trimtab_core.catalog import CATALOG
from trimtab_core.names import RESERVED_PREFIXES, check_name, check_unit, suggest_name


def test_a_counter_counts_up_and_refuses_to_go_down() -> None:
    orders = Counter("values.orders", "Orders placed.", "{order}")
    orders.inc()
    orders.inc(2)
    orders.inc(amount=0.5)
    with pytest.raises(ValueError, match=r"to grow, got -1: use a Gauge"):
        orders.inc(-1)
    assert orders.value() == 3.5


def test_a_gauge_is_what_it_was_set_to_and_moved_by() -> None:
    depth = Gauge("values.depth")
    assert depth.value() == 0
    depth.set(7)
    depth.inc(3)
    depth.dec()
    assert depth.value() == 9
    for nonsense in (math.nan, math.inf, -math.inf):
        depth.set(nonsense)
        depth.inc(nonsense)
    assert depth.value() == 9


def test_a_histogram_tells_quantiles_within_its_error() -> None:
    sizes = Histogram("values.sizes", unit="By")
    values = [random.Random(5).lognormvariate(3, 2) for _ in range(10_000)]
    values = [value * (1 + index / 1e6) for index, value in enumerate(values)]
    random.Random(6).shuffle(values)
    for value in values:
        sizes.observe(value)
    values.sort()
    for q in (0.01, 0.5, 0.95, 0.99):
        true = values[math.ceil(q * len(values)) - 1]
        assert sizes.quantile(q) == pytest.approx(true, rel=0.011)
    found = sizes.statistics()
    assert (found.count, found.min, found.max) == (10_000, values[0], values[-1])
    assert found.sum == pytest.approx(math.fsum(values))
    assert found.p95 == sizes.quantile(0.95)
    assert sizes.quantile(1) == values[-1]


def test_buckets_count_what_is_at_most_their_bound() -> None:
    waits = Histogram("values.waits", buckets=[0.1, 1, 5, math.inf])
    for value in (0.05, 0.1, 0.5, 1, 5, 6, math.nan, math.inf):
        waits.observe(value)
    [row] = waits.rows()
    assert not isinstance(row.value, float)
    assert row.value.buckets == ((0.1, 2), (1, 4), (5, 5), (math.inf, 6))
    assert row.value.count == 6
    assert row.value.sum == pytest.approx(12.65)
    assert waits.statistics().count == 6


@pytest.mark.parametrize("buckets", [[2, 1], [1, 1], [math.nan], [-math.inf, 1]], ids=str)
def test_buckets_that_do_not_ascend_are_refused(buckets: list[float]) -> None:
    with pytest.raises(ValueError, match="expected buckets that ascend"):
        Histogram("values.unsorted", buckets=buckets)
    assert "values.unsorted" not in registry()


def test_a_summary_speaks_of_ten_minutes_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("trimtab.metrics.summary.monotonic", lambda: now[0])
    recent = Summary("values.recent", unit="s")
    assert recent.statistics() == Statistics()
    assert recent.quantile(0.5) == 0
    recent.observe(1000)
    now[0] += 300
    for value in range(1, 101):
        recent.observe(value)
    assert recent.statistics().count == 101
    now[0] += 301
    assert recent.statistics() == Statistics(100, 5050, 50.5, 1, 100, 50, 95, 99)
    assert recent.quantile(0) == 1
    now[0] += 300
    assert recent.statistics() == Statistics()


def test_a_summary_keeps_ten_thousand_values_and_sends_all() -> None:
    many = Summary("values.many")
    for value in range(12_000):
        many.observe(value)
    assert (many.statistics().count, many.statistics().min) == (10_000, 2000)
    assert PROCESS.measures.families()["values.many"].at().read().count == 12_000


@pytest.mark.parametrize("q", [-0.1, 1.1, 95, math.nan])
def test_a_quantile_that_is_none_is_refused(q: float) -> None:
    for kind in (Histogram, Summary):
        metric = kind(f"values.q.{kind.__name__}")
        metric.observe(1)
        with pytest.raises(ValueError, match="quantile"):
            metric.quantile(q)


def test_the_agent_gets_what_was_added() -> None:
    Counter("values.sent.counter").inc(3)
    Gauge("values.sent.gauge").set(4)
    Histogram("values.sent.histogram").observe(5)
    families = PROCESS.measures.families()
    found = {kind: families[f"values.sent.{kind}"] for kind in ("counter", "gauge", "histogram")}
    assert {kind: family.kind for kind, family in found.items()} == {k: k for k in found}
    assert [family.at().read().last for family in found.values()] == [3, 4, 5]


# ---------------------------------------------------------------- one name, one metric


@pytest.mark.parametrize("kind", [Counter, Gauge, Histogram, Summary], ids=lambda k: k.__name__)
def test_the_same_name_is_the_same_metric(kind: type[Metric]) -> None:
    name = f"values.same.{kind.__name__}"
    first = kind(name, "First.", "s", ["a", "b"])
    assert kind(name, "Second.", "s", ("b", "a")) is first
    assert (first.name, first.description, first.unit) == (name, "First.", "s")
    assert first.label_names == ("a", "b")
    assert registry()[name] is first


OTHERS: dict[str, Callable[[], Metric]] = {
    "a gauge in 's' by a": lambda: Gauge("values.taken", unit="s", labels=["a"]),
    "a summary in 's' by a": lambda: Summary("values.taken", unit="s", labels=["a"]),
    "a histogram in 'By' by a": lambda: Histogram("values.taken", unit="By", labels=["a"]),
    "a histogram in 's' by b": lambda: Histogram("values.taken", unit="s", labels=["b"]),
    "a histogram in 's'": lambda: Histogram("values.taken", unit="s"),
    r"a histogram in 's' by a with buckets \(1.0,\)": lambda: Histogram(
        "values.taken", unit="s", labels=["a"], buckets=[1]
    ),
}


@pytest.mark.parametrize("described", OTHERS)
def test_a_name_that_is_another_metric_is_refused_with_both_described(described: str) -> None:
    Histogram("values.taken", unit="s", labels=["a"])
    expected = rf"to be a histogram in 's' by a as before, got {described}: make both the same"
    with pytest.raises(ValueError, match=expected):
        OTHERS[described]()


def test_two_names_that_prometheus_would_show_as_one_are_refused() -> None:
    Counter("values.shown.bytes_total", unit="By")
    with pytest.raises(ValueError, match=r"differs from 'values\.shown\.bytes_total' in"):
        Counter("values.shown", unit="By")
    Histogram("values.waited", unit="s")
    with pytest.raises(ValueError, match=r"differs from 'values\.waited' in Prometheus"):
        Gauge("values.waited_seconds_count")


def test_threads_that_make_a_metric_at_once_get_the_same() -> None:
    barrier = threading.Barrier(8)
    found: list[Counter] = []

    def make() -> None:
        barrier.wait(10)
        found.append(Counter("values.raced", labels=["x"]))
        found[-1].inc(x="y")

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(set(map(id, found))) == 1
    assert found[0].value(x="y") == 8


# ---------------------------------------------------------------- names and units

NAMES = {
    "orders total": "orders_total",
    "orders-total": "orders_total",
    "  shop/orders ": "shop_orders",
    "2nd.try": "nd.try",
    "_private": "private",
    "a..b.": "a.b",
    "größe": "gr_e",
    "": "metric",
    "...": "metric",
    "db.orders": "app.db.orders",
    "trimtab.mine": "app.trimtab.mine",
    "http.mine": "app.http.mine",
    "process.mine": "app.process.mine",
    "system.mine": "app.system.mine",
    "x" * 200: "x" * 100,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_name_is_refused_with_a_good_one(name: str) -> None:
    with pytest.raises(ValueError) as refused:
        Counter(name)
    assert str(refused.value).endswith(f"write {NAMES[name]!r}")
    check_name(NAMES[name])
    assert name not in registry()


@pytest.mark.parametrize("prefix", RESERVED_PREFIXES)
def test_a_name_that_would_never_be_shown_as_the_apps_own_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match=f"write 'app.{prefix}hits'"):
        Counter(f"{prefix}hits")
    assert Counter(f"app.{prefix}hits").name == f"app.{prefix}hits"


def test_every_metric_of_the_catalogue_has_a_reserved_name() -> None:
    assert all(name.startswith(RESERVED_PREFIXES) for name in CATALOG)


def test_a_good_name_is_its_own_suggestion() -> None:
    for name in ("orders", "shop.orders_total", "Shop.Orders2", "x" * 100):
        check_name(name)
        assert suggest_name(name) == name


UNITS = {
    "seconds": "s", "Bytes": "By", "percent": "%", "orders": "{orders}", "": "1",
    "bytes/second": "By/s", "requests per day": "{requests_per_day}", "{two words}": "{two_words}",
    "ms/s/s": "{ms_s_s}",
}  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_a_bad_unit_is_refused_with_a_good_one(unit: str) -> None:
    with pytest.raises(ValueError) as refused:
        Gauge("values.of.no.unit", unit=unit)
    assert str(refused.value).endswith(f"write {UNITS[unit]!r}")
    check_unit(UNITS[unit])


@pytest.mark.parametrize("unit", ["1", "s", "By", "%", "{order}", "{order}/s", "By/s"])
def test_codes_of_units_are_taken(unit: str) -> None:
    check_unit(unit)


# ---------------------------------------------------------------- without an object


def test_one_call_counts_sets_and_observes() -> None:
    for _ in range(3):
        count("values.call.orders", country="se", name="x")
        gauge("values.call.depth", 4, queue="mail")
        observe("values.call.size", 5)
    metrics = registry()
    orders, depth, size = (metrics[f"values.call.{n}"] for n in ("orders", "depth", "size"))
    assert isinstance(orders, Counter)
    assert isinstance(depth, Gauge)
    assert isinstance(size, Histogram)
    assert orders.value(name="x", country="se") == 3
    assert depth.value(queue="mail") == 4
    assert size.statistics().count == 3


def test_one_call_uses_the_metric_that_was_made_before() -> None:
    summary = Summary("values.call.summary", "Described.", "s")
    observe("values.call.summary", 2)
    assert summary.statistics().count == 1
    with pytest.raises(ValueError, match="to be a summary in 's' as before, got a counter"):
        count("values.call.summary")


def test_names_without_end_are_counted_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.metrics.registry.MAX_METRICS", len(registry()) + 2)
    before = PROCESS.registry.over_cap
    for number in range(10):
        count(f"values.endless.{number}")
    assert PROCESS.registry.over_cap - before == 8
    assert sum(name.startswith("values.endless.") for name in registry()) == 2
    with pytest.raises(ValueError, match="tell series apart by labels"):
        Counter("values.one.too.many")


def test_a_copy_of_a_metric_is_the_metric() -> None:
    orders = Counter("values.copied", labels=["x"])
    assert copy.copy(orders) is orders
    assert copy.deepcopy({"held": orders.labels(x=1)})["held"] is orders.labels(x=1)
