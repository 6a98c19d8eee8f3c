"""What every store must keep to with measures and events: once each, by step, group and field."""

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.clock import Clock
from support.laws import DEPTH
from support.processes.servers import short_dir
from support.stores.appending import append
from support.stores.engines import ENGINES, NOON, Engine, Pair
from support.stores.rowbatches import batch_of, delta_of, row_of
from trimtab_collector.storage.grouping import grouped_by
from trimtab_collector.storage.store import EventSelection, MeasurePart, MeasureSelection, Store
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow

HOUR_S = 3600
DAY_S = 86_400


def measure(
    values: Sequence[float], key: MeasureKey, service: str = "shop", instance: str = "host#0"
) -> MeasureRow:
    return MeasureRow("test", service, instance, key, delta_of(values))


def names_of(parts: Sequence[MeasurePart]) -> list[tuple[str, int, int]]:
    return [(part.key.name, part.step, part.delta.count) for part in parts]


# ---------------------------------------------------------------- measures


def test_measures_of_a_repeat_count_once(pair: Pair) -> None:
    store, batches = pair.engine.store, [batch_of(n, [row_of([1.0, n])], NOON) for n in range(3)]
    assert append(store, *batches) == [False] * 3
    assert append(store, *batches, batches[0]) == [True] * 4
    (part,) = store.read_measures(MeasureSelection((NOON, NOON + 10), ("work",)))
    assert part.delta == delta_of([1, 0, 1, 1, 1, 2])


def test_a_row_belongs_to_the_step_in_which_its_window_starts(pair: Pair) -> None:
    store = pair.engine.store
    append(store, *[batch_of(n, [row_of([1.0])], NOON + 10 * n) for n in range(6)])
    edges = (NOON + 5, NOON + 10, NOON + 30, NOON + 31, NOON + 50)
    parts = store.read_measures(MeasureSelection(edges, ("work",)))
    assert [(part.step, part.delta.count) for part in parts] == [(1, 2), (2, 1), (3, 1)]
    assert store.read_measures(MeasureSelection((NOON - 10, NOON), ("work",))) == []


def test_names_are_exact_or_begin_like_what_stands_before_a_star(pair: Pair) -> None:
    store = pair.engine.store
    names = ("db", "db.calls", "db.calls.ms", "DB", "x", "d%", "db*")
    append(store, batch_of(0, [row_of([1.0], name) for name in names], NOON))

    def found(*asked: str) -> set[str]:
        parts = store.read_measures(MeasureSelection((NOON, NOON + 10), asked))
        return {part.key.name for part in parts}

    assert found("db") == {"db"}
    assert found("db.*") == {"db.calls", "db.calls.ms"}
    assert found("db*") == {"db", "db.calls", "db.calls.ms", "db*"}
    assert found("x", "d%*", "nothing") == {"x", "d%"}
    assert found("*") == set(names)


def test_what_a_read_does_not_tell_apart_adds_up_and_other_kinds_and_units_do_not(
    pair: Pair,
) -> None:
    store = pair.engine.store
    shop = {"what": "a", "where": "b"}
    keys = [
        MeasureKey("work", HISTOGRAM, "s", tuple(shop.items())),
        MeasureKey("work", HISTOGRAM, "s", (("what", "a"),)),
        MeasureKey("work", HISTOGRAM, "By"),
        MeasureKey("work", COUNTER, "s"),
        MeasureKey("works", HISTOGRAM, "s"),
    ]
    rows = [
        measure([1.0], key, service, instance)
        for key in keys
        for service in ("shop", "bank")
        for instance in ("host#0", "host#1", "")
    ]
    append(store, batch_of(0, rows, NOON))

    def found(**more: object) -> list[MeasurePart]:
        return store.read_measures(MeasureSelection((NOON, NOON + 10), ("*",), **more))  # type: ignore[arg-type]

    assert len(found()) == len(rows)
    parts = found(group_by=(), attributes=())
    assert [(*part[:3], *part.key, part.delta.count) for part in parts] == [
        ("", "", "", "work", COUNTER, "s", (), 6),
        ("", "", "", "work", HISTOGRAM, "By", (), 6),
        ("", "", "", "work", HISTOGRAM, "s", (), 12),
        ("", "", "", "works", HISTOGRAM, "s", (), 6),
    ]
    parts = found(group_by=("service",), attributes=("what",), where={"instance": "host#1"})
    assert [(*part[:3], *part.key, part.delta.count) for part in parts[:4]] == [
        ("", "bank", "", "work", COUNTER, "s", (), 1),
        ("", "bank", "", "work", HISTOGRAM, "By", (), 1),
        ("", "bank", "", "work", HISTOGRAM, "s", (("what", "a"),), 2),
        ("", "bank", "", "works", HISTOGRAM, "s", (), 1),
    ]
    assert [part.service for part in parts] == ["bank"] * 4 + ["shop"] * 4
    assert found(where={"service": "nobody"}) == []
    assert [part.instance for part in found(where={"service": "bank", "instance": ""})] == [""] * 5


@pytest.mark.parametrize("kind", [COUNTER, GAUGE, HISTOGRAM])
def test_a_kind_keeps_what_it_is_and_last_is_that_of_the_latest_window(
    pair: Pair, kind: str
) -> None:
    store, chance = pair.engine.store, random.Random(1)
    values = [[chance.uniform(-5, 5) for _ in range(20)] for _ in range(3)]
    # The latest window comes first, and so does not come last.
    for seq, place in enumerate((2, 0, 1)):
        rows = [measure(values[place], MeasureKey(kind, kind))]
        append(store, batch_of(seq, rows, NOON + 10 * place))
    (part,) = store.read_measures(MeasureSelection((NOON, NOON + 60), (kind,)))
    assert (part.key.kind, part.delta.count, part.delta.last) == (kind, 60, values[2][-1])
    assert part.delta.sum == pytest.approx(sum(map(sum, values)))
    assert part.delta.min == min(map(min, values))
    assert part.delta.max == max(map(max, values))
    assert part.delta.buckets == delta_of([each for some in values for each in some]).buckets


def test_what_a_reader_does_to_an_answer_changes_no_other(pair: Pair) -> None:
    store, selection = pair.engine.store, MeasureSelection((NOON, NOON + 60), ("work",))
    append(store, batch_of(0, [row_of([1.0])], NOON))
    store.read_measures(selection)[0].delta.merge(delta_of([9.0, 9.0]))
    assert store.read_measures(selection)[0].delta == delta_of([1.0])


rows = st.lists(
    st.tuples(
        st.integers(0, 2 * 360),
        st.sampled_from("ab"),
        st.sampled_from(("shop", "bank")),
        st.integers(1, 10**6),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=8 * DEPTH, suppress_health_check=list(HealthCheck))
@given(
    rows,
    st.lists(st.sampled_from((60, HOUR_S, DAY_S, 3 * DAY_S)), max_size=3),
    st.sampled_from(((), ("service",), ("environment", "service", "instance"))),
    st.sampled_from((None, (), ("what",))),
)
@pytest.mark.parametrize("engine", list(ENGINES.values()), ids=list(ENGINES))
def test_measures_are_what_was_added_whenever_they_are_compacted(
    engine: Callable[[], Engine],
    given_rows: list[tuple[int, str, str, int]],
    waits: list[int],
    group_by: tuple[str, ...],
    attributes: tuple[str, ...] | None,
) -> None:
    edges = tuple(range(NOON, NOON + 4 * HOUR_S, HOUR_S))
    selection = MeasureSelection(edges, ("work",), {}, group_by, attributes)
    expected: dict[tuple[object, int], Delta] = {}
    clock, made = Clock(NOON + 2 * HOUR_S), engine()
    with short_dir() as directory:
        made.open(directory, clock)
        try:
            for seq, (place, text, service, value) in enumerate(given_rows):
                at = NOON + 10 * place
                row = row_of([float(value)], text=text)._replace(service=service)
                append(made.store, batch_of(seq, [row], at))
                step = bisect_right(edges, at) - 1
                expected.setdefault((grouped_by(selection, row[:4]), step), Delta()).merge(
                    row.delta
                )
            for seconds in (0, *waits):
                clock.now_s += seconds
                made.settle()
                if made.persists:
                    made.reopen()
                parts = made.store.read_measures(selection)
                order = [(part[:4], part.step) for part in parts]
                assert order == sorted(expected)
                for part in parts:
                    other = expected[part[:4], part.step]
                    assert part.delta == Delta(
                        other.count, other.sum, other.min, other.max, part.delta.last, other.buckets
                    )
        finally:
            made.close()


# ---------------------------------------------------------------- events


def event(kind: str, second: float, route: object = "/", **more: object) -> EventRow:
    body = {"kind": kind, "at_us": int((NOON + second) * 1_000_000), "route": route, **more}
    return EventRow("test", "shop", "host#0", body)


def asked(
    store: Store,
    kind: str = "request",
    where: Mapping[str, str] = MappingProxyType({}),
    limit: int = 100,
) -> list[EventRow]:
    return store.read_events(EventSelection(NOON, NOON + 60, kind, where, limit))


def test_the_latest_events_of_a_kind_come_first_and_are_as_they_came(pair: Pair) -> None:
    store = pair.engine.store
    events = [
        event("slow_query", 1, notes=[["db", 1, {"deep": [None, 1.5, "é"]}]]),
        event("request", 30.5),
        event("request", 2, error="boom"),
        event("request", 2, error="later of the same time"),
    ]
    append(store, batch_of(0, [], NOON, events[:2]), batch_of(1, [], NOON - 600, events[2:]))
    for _ in range(2):
        assert asked(store) == [events[1], events[3], events[2]]
        assert asked(store, limit=2) == [events[1], events[3]]
        assert asked(store, "slow_query") == [events[0]]
        assert asked(store, "task") == []
        pair.reopen()
        store = pair.engine.store


def test_events_are_chosen_by_the_clock_of_the_app(pair: Pair) -> None:
    store = pair.engine.store
    edges = [event("request", second) for second in (-0.000001, 0, 59.999999, 60)]
    append(store, batch_of(0, [], NOON - HOUR_S, edges))
    assert asked(store) == [edges[2], edges[1]]


def test_events_are_chosen_by_what_they_are_of(pair: Pair) -> None:
    store = pair.engine.store
    plain = event("request", 1)
    others = {
        "environment": plain._replace(environment="prod"),
        "service": plain._replace(service="bank"),
        "instance": plain._replace(instance="host#1"),
        "route": event("request", 1, "/pay"),
    }
    strange = event("request", 1, "")
    append(store, batch_of(0, [], NOON, [plain, *others.values(), strange]))
    texts = {"environment": "prod", "service": "bank", "instance": "host#1", "route": "/pay"}
    for field, text in texts.items():
        assert asked(store, where={field: text}) == [others[field]]
    assert asked(store, where=texts) == []
    whole = {"environment": "test", "service": "shop", "instance": "host#0", "route": "/"}
    assert asked(store, where=whole) == [plain]
    assert asked(store, where={"route": ""}) == [strange]


def test_events_of_a_repeat_are_there_once_and_what_a_reader_does_to_them_is_its_own(
    pair: Pair,
) -> None:
    store, batch = (
        pair.engine.store,
        batch_of(0, [], NOON, [event("request", 1, spans=[["db", 1, 2, "q"]])]),
    )
    assert append(store, batch, batch) == [False, True]
    (row,) = asked(store)
    row.event["spans"].append("more")
    assert asked(store) == [event("request", 1, spans=[["db", 1, 2, "q"]])]
