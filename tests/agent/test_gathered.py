"""What apps and probes measure is added up by the agent, within bounds, and lost by none."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from support.stores.batches import a_batch, key_of, point_of
from trimtab_agent.app import App, size_of
from trimtab_agent.gathered import Gathered
from trimtab_agent.spool.regroup import halved, merged
from trimtab_core.batches import decode, encode
from trimtab_core.deltas import Deltas, Events
from trimtab_core.errors import FrameError
from trimtab_core.measures import COUNTER, HISTOGRAM, Delta, MeasureKey, value_buckets
from trimtab_core.messages import Hello
from trimtab_core.rows import (
    MAX_ROWS,
    EventRow,
    MeasureRow,
    pack_rows,
    unpack_rows,
)

NOW_S = 1_700_006_400
KEY = MeasureKey("work", HISTOGRAM, "s", (("what", "a"),))


def delta_of(*values: float) -> Delta:
    delta = Delta()
    delta.add(values)
    delta.buckets = dict(value_buckets(values))
    return delta


def app_of(number: int = 0) -> App:
    return App(Hello("test", "shop", "1", "host", 1, b"process%d" % number), number)


def rows_of(parts: Iterable[bytes]) -> tuple[list[MeasureRow], list[EventRow]]:
    measures: list[MeasureRow] = []
    events: list[EventRow] = []
    for part in parts:
        some, others = unpack_rows(part)
        measures += some
        events += others
    return measures, events


def test_changes_of_all_apps_add_up_each_under_its_instance() -> None:
    gathered = Gathered()
    for number in range(2):
        app = app_of(number)
        app.measures = {1: KEY}
        for value in (1.0, 2.0, 4.0):
            gathered.add(app, Deltas([(1, delta_of(value))]), [NOW_S])
    measures, _ = rows_of(gathered.take(NOW_S))
    assert [(row.instance, row.delta) for row in measures] == [
        (f"host#{number}", delta_of(1.0, 2.0, 4.0)) for number in range(2)
    ]
    assert list(gathered.take(NOW_S)) == []


def test_a_number_that_was_not_announced_is_a_broken_frame() -> None:
    with pytest.raises(FrameError, match="not announced"):
        Gathered().add(app_of(), Deltas([(1, delta_of(1.0))]), [NOW_S])


def test_over_the_limit_measures_are_one_and_no_value_is_lost() -> None:
    gathered = Gathered(max_measures=3)
    app = app_of()
    keys = {n: MeasureKey("hits", COUNTER, "1", (("n", str(n)),)) for n in range(1, 11)}
    app.measures.update(keys)
    gathered.add(app, Deltas([(n, delta_of(1.0)) for n in keys]), [NOW_S])
    measures, _ = rows_of(gathered.take(NOW_S))
    found = {row.key.attributes[0][1]: row.delta.sum for row in measures}
    assert found == {"1": 1, "2": 1, "3": 1, "other": 7}
    assert gathered.over_limit == 7


def test_over_twice_the_limit_what_is_new_is_left_out_and_counted() -> None:
    gathered = Gathered(max_measures=3)
    app = app_of()
    app.measures = {n: MeasureKey(f"hits{n}", COUNTER) for n in range(1, 11)}
    gathered.add(app, Deltas([(n, delta_of(1.0)) for n in app.measures]), [NOW_S])
    gathered.add(app, Deltas([(n, delta_of(1.0)) for n in app.measures]), [NOW_S])
    measures, _ = rows_of(gathered.take(NOW_S))
    assert {row.key.name: row.delta.sum for row in measures} == {f"hits{n}": 2 for n in range(1, 7)}
    assert (gathered.over_limit, gathered.measures_dropped) == (0, 8)


def long_key(number: int, size: int = 1000) -> MeasureKey:
    return MeasureKey("hits", COUNTER, "1", (("n", f"{number:0{size}}"),))


def test_long_names_of_a_process_are_one_measure_over_its_bound_and_counted() -> None:
    gathered, app = Gathered(), app_of()
    app = App(app.hello, 0, max_name_bytes=100_000)
    for first in range(1, 20_000, 100):
        app.name_measures({n: long_key(n) for n in range(first, first + 100)})
    distinct = {id(key): key for key in app.measures.values() if key is not None}
    assert sum(size_of(key) for key in distinct.values()) < 101_000
    assert len(app.measures) == 20_000
    numbers = (1, 2, 19_000, 20_000)
    gathered.add(app, Deltas([(n, delta_of(1.0)) for n in numbers]), [NOW_S])
    measures, _ = rows_of(gathered.take(NOW_S))
    found = {row.key.attributes[0][1]: row.delta.sum for row in measures}
    assert found == {f"{1:01000}": 1, f"{2:01000}": 1, "other": 2}
    assert gathered.over_limit == 2


def test_names_that_find_no_place_even_as_other_are_left_out_and_counted() -> None:
    gathered = Gathered()
    app = App(app_of().hello, 0, max_name_bytes=10_000)
    keys = {n: MeasureKey("m", COUNTER, "1", ((f"{n:01000}", ""),)) for n in range(1, 101)}
    app.name_measures(keys)
    gathered.add(app, Deltas([(n, delta_of(1.0)) for n in keys]), [NOW_S])
    measures, _ = rows_of(gathered.take(NOW_S))
    assert len(measures) + gathered.measures_dropped == 100
    assert 0 < gathered.over_limit == sum(row.key.attributes[0][1] == "other" for row in measures)
    assert 10 < len(measures) < 20


def test_a_number_that_is_given_again_frees_the_place_of_its_old_name() -> None:
    app = App(app_of().hello, 0, max_name_bytes=10_000)
    for turn in range(100):
        keys = {n: long_key(100 * turn + n) for n in range(1, 7)}
        app.name_measures(keys)
        assert app.measures == keys
        routes = {n: f"/{turn}/{n}" for n in range(1, 7)}
        app.name_routes(routes)
        assert app.routes == routes
    assert not app.other_routes
    assert not app.other_measures


def test_names_of_a_window_have_a_bound_in_bytes_and_no_value_is_lost() -> None:
    gathered = Gathered(max_name_bytes=10_000)
    app = app_of()
    for turn in range(3):
        for n in range(50):
            # One process after the other announces other names under the same number.
            app.name_measures({1: long_key(n)})
            gathered.add(app, Deltas([(1, delta_of(1.0))]), [NOW_S])
        measures, _ = rows_of(gathered.take(NOW_S))
        assert sum(row.delta.sum for row in measures) == 50
        assert measures[-1].key.attributes[0][1] == "other"
        assert 5 < len(measures) < 10
        assert gathered.over_limit == (turn + 1) * (51 - len(measures))


def test_a_window_full_of_names_says_nothing_about_the_next() -> None:
    gathered = Gathered(max_measures=3)
    app = app_of()
    for window in range(5):
        keys = [MeasureKey("hits", COUNTER, "1", (("n", f"{window}.{n}"),)) for n in range(3)]
        app.measures = dict(enumerate(keys, 1))
        gathered.add(app, Deltas([(n, delta_of(1.0)) for n in app.measures]), [NOW_S])
        measures, _ = rows_of(gathered.take(NOW_S))
        assert [row.key for row in measures] == keys
    assert gathered.over_limit == 0


def test_windows_keep_their_measures_apart_and_share_what_was_added_over_several() -> None:
    gathered, app = Gathered(), app_of()
    app.measures = {1: KEY}
    windows = [NOW_S, NOW_S + 10, NOW_S + 20]
    gathered.add(app, Deltas([(1, delta_of(1.0, 2.0))]), windows[:1])
    gathered.add(app, Deltas([(1, delta_of(*[3.0] * 6))]), windows)
    (portion,) = gathered.take_spans()
    assert [(start_s, row.delta) for start_s, ((_, row),) in portion.items()] == [
        (start_s, delta_of(3.0, 3.0)) for start_s in windows
    ]
    ((row,), _) = rows_of(gathered.take(NOW_S))
    assert row.delta == delta_of(1.0, 2.0)


def test_all_open_windows_together_have_a_bound_and_no_value_is_lost() -> None:
    gathered, app = Gathered(max_bytes=200_000), app_of()
    app.measures = {n: MeasureKey("hits", COUNTER, "1", (("n", str(n)),)) for n in range(1, 21)}
    windows = range(NOW_S, NOW_S + 1000, 10)
    for start_s in windows:
        gathered.add(app, Deltas([(n, delta_of(1.0)) for n in app.measures]), [start_s])
    sums = []
    for start_s in windows:
        measures, _ = rows_of(gathered.take(start_s))
        sums.append(sum(row.delta.sum for row in measures))
    assert sums == [20] * 100
    assert gathered.over_limit > 1000
    gathered.add(app, Deltas([(n, delta_of(1.0)) for n in app.measures]), [NOW_S])
    assert len(rows_of(gathered.take(NOW_S))[0]) == 20


def test_deltas_that_an_app_has_dropped_are_counted_once() -> None:
    gathered, app = Gathered(), app_of()
    for dropped in (2, 2, 5):
        gathered.add(app, Deltas([], dropped=dropped), [NOW_S])
    assert gathered.measures_dropped == 5


def test_events_are_bounded_and_what_is_left_out_is_counted() -> None:
    gathered = Gathered()
    app = app_of()
    for _ in range(3):
        some = [{"kind": "request", "at_us": n} for n in range(500)]
        gathered.note(app, Events(some, 7), range(500))
    _, events = rows_of(gathered.take(NOW_S))
    assert len(events) == 1000
    assert gathered.events_dropped == 500 + 7


def test_rows_that_are_too_many_for_one_batch_go_in_several() -> None:
    rows = [
        MeasureRow("test", "shop", "host#0", KEY._replace(attributes=(("n", f"{n:0900}"),)), delta)
        for n, delta in enumerate([delta_of(1.0)] * 3_000)
    ]
    parts = pack_rows(rows, [EventRow("test", "shop", "host#0", {"kind": "x", "at_us": 1})])
    assert len(parts) > 1
    assert max(map(len, parts)) <= MAX_ROWS
    measures, events = rows_of(parts)
    assert measures == rows
    assert len(events) == 1


def test_merged_batches_have_the_sum_of_their_measures_and_all_events() -> None:
    batches = []
    for seq in range(6):
        row = MeasureRow("test", "shop", "host#0", KEY, delta_of(float(seq)))
        event = EventRow("test", "shop", "host#0", {"kind": "request", "at_us": seq})
        (packed,) = pack_rows([row], [event])
        batches.append(replace(a_batch(seq, window_s=1_700_006_400 + 10 * seq), rows=packed))
    whole = merged(batches[::-1], 60)
    measures, events = unpack_rows(decode(encode(whole)).rows)
    assert [row.delta for row in measures] == [delta_of(*map(float, range(6)))]
    assert [row.event["at_us"] for row in events] == [*range(6)]


def test_halves_have_each_row_once() -> None:
    rows = [
        MeasureRow("test", "shop", "host#0", KEY._replace(attributes=(("n", str(n)),)), delta)
        for n, delta in enumerate([delta_of(2.0)] * 7)
    ]
    events = [EventRow("test", "shop", "host#0", {"kind": "x", "at_us": n}) for n in range(3)]
    (packed,) = pack_rows(rows, events)
    points = {key_of(f"/{n}"): point_of([1_000]) for n in range(4)}
    parts = halved(encode(replace(a_batch(0, points), rows=packed)), 4)
    assert parts is not None
    found = [unpack_rows(decode(payload).rows) for payload, _ in parts]
    assert [row for measures, _ in found for row in measures] == rows
    assert [row for _, some in found for row in some] == events
