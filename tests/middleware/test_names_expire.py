"""Tables of names let go of what nobody uses, keep what is busy, and confuse no two names."""

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import Clock
from trimtab.events import SLOW_QUERY, EventQueue
from trimtab.instrumentation.queries import book
from trimtab.metrics.counter import Counter
from trimtab.metrics.measures import MeasureFamily, Measures
from trimtab.runtime import PROCESS
from trimtab.tables import IDLE_S, NameTable
from trimtab_core.measures import COUNTER, HISTOGRAM, OTHER


@pytest.fixture
def seconds() -> Clock:
    return Clock()


# ---------------------------------------------------------------- the table


def aged(table: NameTable[Any, Any], seconds: Clock) -> None:
    """Let the table grow so old that whatever is not used becomes idle."""
    for _ in range(2):
        seconds.advance_s(IDLE_S)
        table.age()


def test_with_room_every_name_is_kept_however_old(seconds: Clock) -> None:
    table: NameTable[str, int] = NameTable(3, clock=seconds)
    table.add("a", lambda: 1)
    aged(table, seconds)
    aged(table, seconds)
    table.add("b", lambda: 2)
    assert (table.get("a"), table.get("b"), len(table)) == (1, 2, 2)


def test_a_full_table_gives_the_place_of_the_longest_idle_name(seconds: Clock) -> None:
    gone: list[int] = []
    table: NameTable[str, int] = NameTable(2, let_go=gone.append, clock=seconds)
    table.add("first", lambda: 1)
    seconds.advance_s(IDLE_S)
    table.age()
    table.add("second", lambda: 2)
    aged(table, seconds)
    assert table.add("third", lambda: 3) == 3
    assert gone == [1]
    assert (table.get("first"), table.get("second")) == (None, 2)


def test_a_new_name_gets_no_place_while_all_are_busy_and_one_when_they_are_not(
    seconds: Clock,
) -> None:
    table: NameTable[str, int] = NameTable(2, clock=seconds)
    for number, name in enumerate(("a", "b")):
        table.add(name, lambda number=number: number)  # type: ignore[misc]
    for _ in range(20):
        seconds.advance_s(IDLE_S / 2)
        assert (table.get("a"), table.get("b")) == (0, 1)
        assert table.add("new", lambda: 2) is None
    seconds.advance_s(IDLE_S * 0.9)
    assert table.add("new", lambda: 2) is None, "they were used just before"
    for _ in range(2):
        seconds.advance_s(IDLE_S)
        found = table.add("new", lambda: 2)
    assert found == 2


def test_a_value_that_is_busy_by_itself_keeps_its_place(seconds: Clock) -> None:
    busy = {"a"}
    table: NameTable[str, str] = NameTable(2, lambda value: value in busy, clock=seconds)
    for name in ("a", "b"):
        table.add(name, lambda name=name: name)  # type: ignore[misc]
    aged(table, seconds)
    assert table.add("c", lambda: "c") == "c"
    assert (table.get("a"), table.get("b")) == ("a", None)


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, IDLE_S))), st.integers(1, 6))
def test_a_table_never_sheds_a_name_that_was_used_lately_or_grows_over_its_cap(
    uses: list[tuple[int, float]], most: int
) -> None:
    seconds = Clock()
    table: NameTable[int, int] = NameTable(most, clock=seconds)
    last: dict[int, float] = {}
    for name, passed in uses:
        seconds.advance_s(passed)
        before = {each for each in last if each in set(table)}
        got = table.get(name)
        if got is None:
            got = table.add(name, lambda name=name: name)  # type: ignore[misc]
        assert got in (None, name)
        for gone in before - set(table):
            assert seconds.now_s - last[gone] >= IDLE_S
        if got is None:
            idle = [each for each in before if seconds.now_s - last[each] > 3 * IDLE_S]
            assert not idle or seconds.now_s - table._since < IDLE_S
        else:
            last[name] = seconds.now_s
        assert len(table) <= most


def test_threads_agree_on_the_value_of_a_name() -> None:
    table: NameTable[int, object] = NameTable(500)
    found: list[list[object]] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait(5)
        found.append([table.get(n) or table.add(n, object) for n in range(500)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert all(values == found[0] for values in found)


# ---------------------------------------------------------------- measures


def at(family: MeasureFamily, name: str) -> Any:
    return family.at((("name", name),))


def sent(measures: Measures) -> dict[str, float]:
    """Take what was added, as an emitter does; return it by the value of the attribute."""
    found: dict[str, float] = {}
    for key, delta in measures.changed():
        name = key.attributes[0][1]
        found[name] = found.get(name, 0) + delta.sum
    return found


def test_measures_that_nobody_adds_to_make_room_and_busy_ones_stay(seconds: Clock) -> None:
    measures = Measures(seconds)
    family = measures.family("names", COUNTER, cap=10)
    busy = at(family, "busy")
    for number in range(9):
        at(family, str(number)).add(1)
    for _ in range(4):
        busy.add(1)
        assert sent(measures)["busy"] == 1
        seconds.advance_s(IDLE_S)
    at(family, "new").add(1)
    busy.add(1)
    assert sent(measures) == {"busy": 1, "new": 1}
    assert family.over_cap == 0
    assert at(family, "busy") is busy


def test_a_family_of_busy_measures_books_new_ones_to_other_until_there_is_room(
    seconds: Clock,
) -> None:
    measures = Measures(seconds)
    family = measures.family("names", COUNTER, cap=2)
    for _ in range(6):
        for name in ("a", "b", "new"):
            at(family, name).add(1)
        assert sent(measures) == {"a": 1, "b": 1, OTHER: 1}
        seconds.advance_s(IDLE_S)
    assert family.over_cap == 6
    for _ in range(3):
        at(family, "a").add(1)
        at(family, "new").add(1)
        last = sent(measures)
        seconds.advance_s(IDLE_S)
    assert last == {"a": 1, "new": 1}


def test_what_is_not_sent_keeps_its_name(seconds: Clock) -> None:
    measures = Measures(seconds)
    family = measures.family("names", COUNTER, cap=1)
    at(family, "waits").add(5)
    for _ in range(5):
        seconds.advance_s(IDLE_S)
        assert at(family, "new").key.attributes == (("name", OTHER),)
    assert sent(measures) == {"waits": 5}


def test_who_holds_a_measure_that_was_let_go_of_loses_nothing(seconds: Clock) -> None:
    measures = Measures(seconds)
    family = measures.family("names", COUNTER, cap=1)
    held = at(family, "held")
    held.add(1)
    sent(measures)
    for _ in range(4):
        seconds.advance_s(IDLE_S)
        sent(measures)
    at(family, "new").add(1)
    assert sent(measures) == {"new": 1}
    # All places are busy: what is added goes to `other`, and not over the cap.
    held.add(2)
    assert sent(measures) == {OTHER: 2}
    for _ in range(4):
        seconds.advance_s(IDLE_S)
        sent(measures)
    held.add(3)
    assert sent(measures) == {"held": 3}
    assert held.read().sum == 6
    assert at(family, "held") is held


def test_the_bound_of_all_measures_is_met_by_idle_ones_of_other_families(
    seconds: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.metrics.measures._MOST_MEASURES", 3)
    measures = Measures(seconds)
    old, new = measures.family("old", COUNTER), measures.family("new", COUNTER)
    for number in range(3):
        at(old, str(number)).add(1)
    assert at(new, "a").is_other
    for _ in range(4):
        sent(measures)
        seconds.advance_s(IDLE_S)
    assert [at(new, name).is_other for name in ("a", "b", "c", "d")] == [False] * 3 + [True]
    assert len(list(old)) == 0


def test_series_of_a_metric_follow_and_are_not_kept_for_ever(seconds: Clock) -> None:
    clock, PROCESS.measures.clock = PROCESS.measures.clock, seconds
    try:
        orders = Counter("expiring.orders", labels=["user"], cap=4)
        for round_ in range(10):
            for number in range(4):
                orders.inc(user=f"{round_}-{number}")
            for _ in PROCESS.measures.changed():
                pass
            for _ in range(3):
                seconds.advance_s(IDLE_S)
                orders._family.age()
        assert orders.over_cap == 0
        assert len(orders.rows()) <= 8
        assert orders.value(user="9-3") == 1
    finally:
        PROCESS.measures.clock = clock


# ---------------------------------------------------------------- queries, hosts, events

_system = count()


def test_a_query_that_found_no_place_gets_one_later(
    seconds: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = Measures(seconds)
    family = measures.family("db.client.operation.duration", HISTOGRAM, "s", cap=20)
    monkeypatch.setattr("trimtab.instrumentation.queries._DURATION", family)
    system = f"system {next(_system)}"
    for number in range(30):
        book(system, f"SELECT * FROM temporary_{number}", 0, 1000)

    def texts() -> list[str]:
        return [dict(key.attributes)["db.query.text"] for key, _ in measures.changed()]

    assert OTHER in texts()
    seen: list[str] = []
    for _ in range(4):
        book(system, "SELECT word FROM item WHERE id = 5", 0, 1000)
        seen = texts()
        seconds.advance_s(IDLE_S)
    assert seen == ["SELECT word FROM item WHERE id = ?"]


def test_hosts_that_nobody_calls_make_room(seconds: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    from trimtab.instrumentation import calls

    table: NameTable[tuple[str, int], Any] = NameTable(3, clock=seconds)
    measures = Measures(seconds)
    monkeypatch.setattr(calls, "_hosts", table)
    monkeypatch.setattr(calls, "_others", calls._Host(OTHER, OTHER))
    monkeypatch.setattr(
        calls, "_durations", measures.family("http.client.request.duration", HISTOGRAM, "s")
    )

    def called(*hosts: str) -> set[str]:
        for host in hosts:
            calls.book_call("GET", (host, 80), time.monotonic_ns(), 200)
        return {dict(key.attributes)["server.address"] for key, _ in measures.changed()}

    assert called("busy", "b", "c") == {"busy", "b", "c"}
    for _ in range(3):
        assert called("busy", "new") == {"busy", OTHER}
        seconds.advance_s(IDLE_S / 2)
    for _ in range(3):
        called("busy")
        seconds.advance_s(IDLE_S)
    assert called("busy", "new", "d") == {"busy", "new", "d"}


def test_a_storm_of_names_does_not_free_one_that_is_alike(clock: Clock) -> None:
    events = EventQueue()
    for number in range(3000):
        events.add(SLOW_QUERY, "alike", {})
        events.add(SLOW_QUERY, f"name {number}", {"n": number})
    kinds: Callable[[], list[Any]] = lambda: events.take(5000)  # noqa: E731
    taken = kinds()
    assert sum("n" not in each for each in taken) <= 10
    assert events.dropped + len(taken) == 6000
