"""Labels of metrics: whatever is given finds its own series, and there is no end of memory."""

from collections.abc import Callable, Sequence

import pytest

from trimtab.metrics.counter import Counter
from trimtab.metrics.gauge import Gauge
from trimtab.metrics.histogram import Histogram
from trimtab.metrics.metric import Metric
from trimtab.metrics.summary import Summary
from trimtab_core.measures import MAX_TEXT


def values(counter: Counter) -> dict[tuple[str, ...], float]:
    found = {tuple(row.labels.values()): row.value for row in counter.rows()}
    return {labels: value for labels, value in found.items() if isinstance(value, float)}


def test_each_combination_counts_for_itself() -> None:
    orders = Counter("labels.orders", labels=["country", "paid"])
    orders.inc(country="se", paid=True)
    orders.inc(2, paid=True, country="se")
    orders.inc(country="se", paid=False)
    orders.labels(country="no", paid=1).inc(4)
    orders.labels(country="no", paid=True).inc(5)
    assert values(orders) == {
        ("se", "True"): 3, ("se", "False"): 1, ("no", "1"): 4, ("no", "True"): 5,
    }  # fmt: skip
    assert orders.value(paid="False", country="se") == 1


def test_a_series_is_one_object_and_reads_itself() -> None:
    depth = Gauge("labels.depth", labels=["queue"])
    mail = depth.labels(queue="mail")
    assert depth.labels(queue="mail") is mail
    mail.set(3)
    mail.dec()
    assert mail.value() == depth.value(queue="mail") == 2
    sizes = Histogram("labels.sizes", labels=["queue"])
    sizes.observe(3, queue="mail")
    assert sizes.labels(queue="mail").statistics() == sizes.statistics(queue="mail")
    assert sizes.quantile(1, queue="mail") == 3
    recent = Summary("labels.recent", labels=["queue"])
    recent.observe(3, queue="mail")
    assert recent.quantile(0.5, queue="mail") == recent.statistics(queue="mail").max == 3


def test_reading_what_nobody_used_makes_no_series() -> None:
    for metric in (
        Counter("labels.unused.c", labels=["x"]), Gauge("labels.unused.g", labels=["x"]),
    ):  # fmt: skip
        assert metric.value(x="never") == 0
        assert metric.rows() == []
    sizes = Histogram("labels.unused.h", labels=["x"])
    assert sizes.quantile(0.5, x="never") == sizes.statistics(x="never").count == 0
    assert sizes.rows() == []


ORDERS = Counter("labels.wrong", labels=["a", "b"])
PLAIN = Gauge("labels.plain")
WRONG: dict[str, Callable[[], object]] = {
    r"the labels a, b of labels.wrong, got \(none\)": lambda: ORDERS.inc(),
    "the labels a, b of labels.wrong, got a:": lambda: ORDERS.inc(a=1),
    "the labels a, b of labels.wrong, got a, c": lambda: ORDERS.labels(a=1, c=2),
    "the labels a, b of labels.wrong, got a, b, c": lambda: ORDERS.value(a=1, b=2, c=3),
    r"the labels \(none\) of labels.plain, got a": lambda: PLAIN.set(1, a=1),
    "has its labels": lambda: ORDERS.labels(a=1, b=2).inc(a=1, b=2),
}


@pytest.mark.parametrize("said", WRONG)
def test_labels_that_are_not_the_metrics_are_refused_by_name(said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WRONG[said]()
    assert PLAIN.value() == 0


def test_a_gauge_without_its_labels_is_not_moved() -> None:
    depth = Gauge("labels.unmoved", labels=["x"])
    calls: list[Callable[[float], None]] = [depth.set, depth.inc, depth.dec]
    for call in calls:
        with pytest.raises(ValueError, match="expected the labels x"):
            call(1)
    assert depth.rows() == []


BAD: dict[str, Sequence[str]] = {
    "write 'user_id'": ["user id"],
    "write 'value_name'": ["value"],
    "write 'le_name'": ["le"],
    "twice": ["a.b", "a_b"],
    "at most 16 labels, got 17": [f"l{n}" for n in range(17)],
    "write \\['country'\\]": "country",
    "a letter first": ["__name__"],
}


@pytest.mark.parametrize("said", BAD)
def test_names_of_labels_are_checked(said: str) -> None:
    kinds: list[Callable[..., Metric]] = [Counter, Gauge, Histogram, Summary]
    for kind in kinds:
        with pytest.raises(ValueError, match=said):
            kind("labels.bad", labels=BAD[said])


def test_a_label_may_have_a_name_with_dots() -> None:
    calls = Counter("labels.dots", labels=["error.type"])
    calls.inc(**{"error.type": "OSError"})  # type: ignore[arg-type]
    assert calls.rows()[0].labels == {"error.type": "OSError"}


# ---------------------------------------------------------------- the cap


def test_beyond_the_cap_there_is_one_other_series_and_a_count() -> None:
    users = Counter("labels.users", labels=["user", "plan"], cap=3)
    for user in range(10):
        users.inc(user=user, plan="free")
    users.labels(user=99, plan="free").inc(5)
    assert values(users) == {
        ("0", "free"): 1, ("1", "free"): 1, ("2", "free"): 1, ("other", "other"): 12,
    }  # fmt: skip
    assert users.over_cap == 8
    users.inc(user=1, plan="free")
    assert values(users)["1", "free"] == 2
    assert users.over_cap == 8


def test_a_thousand_series_are_kept_and_no_more_objects() -> None:
    users = Counter("labels.thousand", labels=["user"])
    for user in range(3000):
        users.inc(user=user)
    assert len(users.rows()) == len(users._children) == 1001
    assert users.over_cap == 2000
    assert sum(values(users).values()) == 3000


@pytest.mark.parametrize("kind", [Gauge, Histogram, Summary], ids=lambda kind: kind.__name__)
def test_every_kind_keeps_the_cap(kind: type[Gauge | Histogram]) -> None:
    metric = kind(f"labels.capped.{kind.__name__}", labels=["x"], cap=2)
    for x in range(5):
        series = metric.labels(x=x)
        series.set(x) if isinstance(series, Gauge) else series.observe(x)
    assert [row.labels["x"] for row in metric.rows()] == ["0", "1", "other"]
    assert metric.over_cap == 3


def test_a_series_called_other_is_the_one_of_all_others() -> None:
    users = Counter("labels.really.other", labels=["user"], cap=1)
    users.inc(user="other")
    users.inc(user="late")
    assert values(users) == {("other",): 2}


def test_long_and_broken_texts_are_cut_and_one_series() -> None:
    paths = Counter("labels.long", labels=["path"])
    paths.inc(path="x" * 5000)
    paths.inc(path="x" * 6000)
    paths.inc(path="\udc80")
    assert values(paths) == {("x" * MAX_TEXT,): 2, ("?",): 1}
