"""Columns at the speed of C give what adding one record after another gives."""

from collections import Counter, defaultdict
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_agent.aggregator import Aggregator, Window
from trimtab_agent.app import App
from trimtab_agent.points import buckets_below
from trimtab_agent.window import SLICE, accounting_of, batches_of
from trimtab_core.batches import (
    GaugeRow,
    Point,
    SeriesKey,
    decode,
    decode_series,
    encode,
    values_of,
)
from trimtab_core.errors import FrameError
from trimtab_core.messages import Hello, Samples
from trimtab_core.records import (
    FLAG_BACKGROUND,
    FLAG_CONTEXT,
    FLAG_FAILED,
    FLAG_KIB,
    FLAG_QUEUED,
    FLAG_STREAMED,
    FLAG_UNKNOWN_BYTES,
    KIND_EVENT_STREAM,
    KIND_REQUEST,
    KIND_WEBSOCKET,
    METHODS,
    RECORD_SIZE,
    Record,
    pack,
)
from trimtab_core.sketch import bucket_of

NOW_S = 1_795_000_000.0
ROUTES = {1: "/a", 2: "/b/{id}", 3: "/c"}
U32 = st.integers(0, 2**32 - 1)
U16 = st.integers(0, 2**16 - 1)
FLAGS = st.sampled_from([0, 0, 0, FLAG_FAILED, FLAG_UNKNOWN_BYTES, FLAG_KIB, FLAG_BACKGROUND])


@st.composite
def records(draw: st.DrawFn) -> Record:
    flags = draw(FLAGS)
    if draw(st.booleans()) and flags != FLAG_BACKGROUND:
        flags |= FLAG_STREAMED
    duration = draw(st.one_of(st.integers(0, 300_000), U32))
    queue = draw(st.integers(0, 10_000)) if draw(st.booleans()) else 0
    context = draw(st.tuples(U32, U32, U32, U16, U16, U16, U16)) if draw(st.booleans()) else None
    if queue:
        flags |= FLAG_QUEUED
    if context:
        flags |= FLAG_CONTEXT
    return Record(
        draw(st.integers(0, 4)),
        draw(st.integers(0, len(METHODS) + 1)),
        flags,
        draw(st.sampled_from([0, 101, 200, 200, 204, 301, 404, 499, 500, 503, 999])),
        duration,
        draw(st.one_of(st.integers(0, 5000), U32)),
        draw(st.integers(0, duration)) if flags & FLAG_STREAMED else 0,
        queue,
        *(context or ()),
    )._replace(kind=draw(st.sampled_from([KIND_REQUEST, KIND_EVENT_STREAM, KIND_WEBSOCKET])))


def app_of(process: bytes = b"12345678", worker: int = 0, service: str = "shop") -> App:
    app = App(Hello("test", service, "1", "host", 1, process), worker)
    app.routes = dict(ROUTES)
    return app


def samples_of(rows: list[Record], first: int, wall_s: float = NOW_S, extra: int = 0) -> Samples:
    size = RECORD_SIZE + extra
    data = b"".join(pack(row) + bytes(extra) for row in rows)
    return Samples(int(wall_s * 1e6), 0, first, {}, size, data)


def key_of(app: App, row: Record) -> SeriesKey:
    status_class = f"{row.status // 100}xx" if 100 <= row.status < 600 else "other"
    method = METHODS[row.method] if row.method < len(METHODS) else METHODS[0]
    route = ROUTES.get(row.route, "unmatched")
    return SeriesKey("test", "shop", "1", app.instance, route, method, status_class)


def one_by_one(app: App, rows: list[Record]) -> dict[SeriesKey, Point]:
    points: dict[SeriesKey, Point] = defaultdict(lambda: Point(buckets=Counter()))
    for row in rows:
        point = points[key_of(app, row)]
        if row.flags & FLAG_BACKGROUND:
            point.background_us += row.duration_us
            point.backgrounds += 1
        elif row.kind:
            name = "event_stream" if row.kind == KIND_EVENT_STREAM else "websocket"
            setattr(point, name + "s", getattr(point, name + "s") + 1)
            setattr(point, name + "_us", getattr(point, name + "_us") + row.duration_us)
            point.bytes += row.bytes * (1024 if row.flags & FLAG_KIB else 1)
        else:
            point.sum_us += row.duration_us
            point.max_us = max(point.max_us, row.duration_us)
            point.buckets[bucket_of(row.duration_us)] += 1
            code = row.status if 100 <= row.status < 600 else 0
            point.statuses[code] = point.statuses.get(code, 0) + 1
            # Else the first byte was sent together with the last one.
            point.ttfb_us += row.ttfb_us if row.flags & FLAG_STREAMED else row.duration_us
            if row.flags & FLAG_FAILED or 500 <= row.status < 600:
                point.errors += 1
            method = METHODS[row.method if row.method < len(METHODS) else 0]
            if method != "HEAD" and not row.flags & FLAG_UNKNOWN_BYTES:
                point.bytes += row.bytes * (1024 if row.flags & FLAG_KIB else 1)
        point.queue_us += row.queue_us
        point.queued += 1 if row.flags & FLAG_QUEUED else 0
        for name in ("db_us", "external_us", "cache_us", "db_calls", "external_calls"):
            setattr(point, name, getattr(point, name) + getattr(row, name))
        point.cache_hits += row.cache_hits
        point.cache_misses += row.cache_misses
    return dict(points)


def plain(points: dict[SeriesKey, Point]) -> dict[SeriesKey, dict[str, object]]:
    return {
        key: {**asdict(point), "indexes": {bucket: n for bucket, n in point.buckets.items() if n}}
        for key, point in points.items()
    }


@settings(deadline=None)
@given(st.lists(st.lists(records(), min_size=1, max_size=60), max_size=4), st.sampled_from([0, 8]))
def test_points_are_what_adding_record_after_record_gives(
    frames: list[list[Record]], extra: int
) -> None:
    aggregator, app = Aggregator(10, 1000), app_of()
    first = 0
    for rows in frames:
        aggregator.add(app, samples_of(rows, first, extra=extra), NOW_S)
        first += len(rows)
    expected = one_by_one(app, [row for rows in frames for row in rows])
    windows = aggregator.close(float("inf"))
    got = {key: point for window in windows for key, point in window.points.items()}
    assert plain(got) == plain(expected)
    if first:
        assert windows[0].ranges == {app.hello.process: [[0, first]]}


def row(duration_us: int = 1000, route: int = 1) -> Record:
    return Record(route, 1, 0, 200, duration_us)


def test_a_live_summary_holds_just_its_own_second() -> None:
    aggregator, app = Aggregator(10, 1000), app_of()
    aggregator.add(app, samples_of([row()] * 5, 0), NOW_S)
    assert aggregator.take_live(1) is None
    aggregator.add(app, samples_of([row()] * 3, 5), NOW_S)
    live = aggregator.take_live(2)
    assert live is not None
    assert [sum(point.buckets.values()) for point in live.points.values()] == [3]
    ended = aggregator.take_live(None)
    assert ended is not None
    assert not ended.points
    assert not aggregator.is_live
    (window,) = aggregator.close(float("inf"))
    assert [sum(point.buckets.values()) for point in window.points.values()] == [8]


def test_series_over_the_limit_are_one_series_other_and_counted() -> None:
    aggregator, app = Aggregator(10, 2), app_of()
    app.routes = {route: f"/r{route}" for route in range(1, 50)}
    aggregator.add(app, samples_of([row(route=route) for route in range(1, 50)], 0), NOW_S)
    (window,) = aggregator.close(float("inf"))
    assert sorted(key.route for key in window.points) == ["/r1", "/r2", "other"]
    assert sum(sum(point.buckets.values()) for point in window.points.values()) == 49
    assert aggregator.over_limit == 47


def test_routes_over_the_bound_of_names_are_other_and_counted() -> None:
    aggregator, app = Aggregator(10, 1000), App(app_of().hello, 0, max_name_bytes=5_000)
    app.name_routes({route: f"/{route:0180}" for route in range(1, 101)})
    aggregator.add(app, samples_of([row(route=route) for route in range(1, 101)], 0), NOW_S)
    (window,) = aggregator.close(float("inf"))
    named = len(window.points) - 1
    assert 15 < named < 25
    assert sorted(key.route for key in window.points)[-1] == "other"
    assert sum(sum(point.buckets.values()) for point in window.points.values()) == 100
    assert aggregator.over_limit == 100 - named


def test_open_windows_together_have_a_bound_and_a_closed_one_gives_its_part_back() -> None:
    aggregator, app = Aggregator(10, 100), app_of()
    app.name_routes({route: f"/r{route}" for route in range(1, 101)})
    records = [row(route=route) for route in range(1, 101)]
    first = 0
    for turn in range(2):
        for age in range(200):
            aggregator.add(app, samples_of(records, first, NOW_S - 10 * age), NOW_S)
            first += len(records)
            aggregator.book()
        assert sum(len(window.points) for window in aggregator.windows.values()) < 2_500
        windows = aggregator.close(float("inf"))
        # The six full windows of the bound, and those of the present; then only `other`.
        full = [window for window in windows if len(window.points) == 100]
        assert 6 <= len(full) <= 12
        assert aggregator.over_limit > 0
        points = [point for window in windows for point in window.points.values()]
        assert sum(sum(point.buckets.values()) for point in points) == 20_000, turn


def test_live_summaries_give_their_part_of_the_bound_back() -> None:
    aggregator, app = Aggregator(10, 10), app_of()
    app.name_routes({route: f"/r{route}" for route in range(1, 11)})
    for second in range(100):
        aggregator.take_live(second)
        records = [row(route=route) for route in range(1, 11)]
        aggregator.add(app, samples_of(records, 10 * second, NOW_S), NOW_S)
        aggregator.book()
    assert aggregator.over_limit == 0


@pytest.mark.parametrize("jump_s", [-7200, -30, 30, 10_800])
def test_a_wall_clock_that_has_jumped_is_overruled_by_the_monotonic_one(jump_s: int) -> None:
    aggregator, app = Aggregator(10, 100), app_of()
    up_us = 10**12
    taken = samples_of([row()], 0, NOW_S + jump_s)
    taken = replace(taken, mono_us=up_us - 25_000_000)
    aggregator.add(app, taken, NOW_S, up_us)
    (window,) = aggregator.close(float("inf"))
    assert window.start_s == (NOW_S - 25) // 10 * 10


@pytest.mark.parametrize("mono_us", [0, 10**12 + 5_000_000, 10**6], ids=["no", "ahead", "fresh"])
def test_a_monotonic_clock_that_is_another_machines_says_nothing(mono_us: int) -> None:
    aggregator, app = Aggregator(10, 100), app_of()
    taken = replace(samples_of([row()], 0, NOW_S - 3600), mono_us=mono_us)
    aggregator.add(app, taken, NOW_S, 10**12)
    (window,) = aggregator.close(float("inf"))
    assert window.start_s == (NOW_S - 3600) // 10 * 10


def test_a_window_of_a_clock_that_was_put_back_does_not_stay_open() -> None:
    aggregator, app = Aggregator(10, 100), app_of()
    aggregator.add(app, samples_of([row()], 0), NOW_S)
    assert aggregator.close(NOW_S - 1) == []
    assert len(aggregator.close(NOW_S - 7200)) == 1
    assert aggregator.windows == {}


def test_clocks_of_apps_open_a_bounded_number_of_windows() -> None:
    aggregator, app = Aggregator(1, 100), app_of()
    for second in range(3000):
        aggregator.add(app, samples_of([row()], second, NOW_S - 2 * second), NOW_S)
    windows = aggregator.close(float("inf"))
    assert len(windows) <= 1001
    assert (
        sum(sum(point.buckets.values()) for each in windows for point in each.points.values())
        == 3000
    )


def test_a_frame_from_the_future_counts_as_now() -> None:
    aggregator, app = Aggregator(10, 100), app_of()
    aggregator.add(app, samples_of([row()], 0, NOW_S + 86_400), NOW_S)
    (window,) = aggregator.close(float("inf"))
    assert window.start_s == int(NOW_S) // 10 * 10


def test_gaps_in_the_numbers_stay_gaps_in_the_ranges() -> None:
    window = Window(0)
    for first, count in ((0, 5), (5, 5), (20, 1), (21, 4)):
        window.cover(b"p", first, count)
    assert window.ranges == {b"p": [[0, 10], [20, 5]]}


def test_a_process_that_leaves_out_numbers_without_end_breaks_the_protocol() -> None:
    aggregator, app = Aggregator(10, 100), app_of()
    for number in range(1000):
        aggregator.add(app, samples_of([row()], 2 * number), NOW_S)
    with pytest.raises(FrameError, match="gaps"):
        aggregator.add(app, samples_of([row()], 5000), NOW_S)
    aggregator.add(app, samples_of([row()], 1999), NOW_S)  # the last stretch goes on
    (window,) = aggregator.close(float("inf"))
    assert sum(count for _, count in window.ranges[app.hello.process]) == 1001
    assert sum(sum(point.buckets.values()) for point in window.points.values()) == 1001


def test_whatever_apps_have_the_batches_of_a_window_can_be_packed_and_read() -> None:
    window = Window(1_700_000_000)
    processes = []
    for number in range(40):
        app = app_of(b"%08d" % number, number % 2)
        for gap in range(1000):
            window.cover(app.hello.process, 2 * gap, 1)
        processes.append(app.accounting(window.ranges[app.hello.process], None))
    long = "\N{SNOWMAN}" * 128
    for number in range(5_000):
        key = SeriesKey(long, long, long, f"{long}#0", f"{number:0200}", "GET", "2xx")
        window.points[key] = Point(buckets=Counter({700: 1}))
    gauges = [GaugeRow("test", "shop", f"host#{n}", "name", float(n)) for n in range(25_000)]
    seen: list[GaugeRow] = []
    claimed: Counter[bytes] = Counter()
    points = 0
    for batch, _ in batches_of(
        window, agent="a", boot=b"12345678", first_seq=0, step_s=10,
        closed_mono_us=1, accounting=processes, gauges=gauges, packed_rows=[b"\x92\x90\x90"],
    ):  # fmt: skip
        read = decode(encode(batch))
        seen += read.gauges
        points += len(decode_series(read.series))
        for process in read.processes:
            claimed[process.process] += sum(count for _, count in process.ranges)
    assert seen == gauges
    assert points == 5_000
    assert claimed == {b"%08d" % number: 1000 for number in range(40)}


def test_what_accounting_says_was_sent_stops_at_the_records_still_in_an_open_window() -> None:
    aggregator, app = Aggregator(10, 100), app_of()
    aggregator.add(app, samples_of([row()] * 4, 0, NOW_S - 10), NOW_S)
    aggregator.add(app, samples_of([row()] * 6, 4, NOW_S), NOW_S)
    app.end = app.sent = 10
    (window,) = aggregator.close(NOW_S)
    apps = {app.hello.process: app}
    (process,) = accounting_of(window, apps, aggregator.open_ranges())
    assert (list(process.ranges), process.sent) == ([(0, 4)], 4)
    (window,) = aggregator.close(float("inf"))
    (process,) = accounting_of(window, apps, aggregator.open_ranges())
    assert (list(process.ranges), process.sent) == ([(4, 6)], 10)


def test_a_window_is_cut_between_instances_and_each_part_carries_its_own_claims() -> None:
    aggregator = Aggregator(10, 100_000)
    apps = [app_of(bytes([index]) * 8, index) for index in range(5)]
    for app in apps:
        app.routes = {route: f"/r{route}" for route in range(1, 301)}
        rows = [row(route=route) for route in range(1, 301)]
        aggregator.add(app, samples_of(rows, 0), NOW_S)
        app.end = 300
    (window,) = aggregator.close(float("inf"))
    processes = accounting_of(window, {app.hello.process: app for app in apps}, {})
    parts = list(
        batches_of(
            window, agent="a", boot=b"12345678", first_seq=7, step_s=10,
            closed_mono_us=1,
            accounting=processes, gauges=(),
        )
    )  # fmt: skip
    assert len(parts) == 5  # two instances of 300 series would be over the slice
    assert [batch.seq for batch, _ in parts] == [7, 8, 9, 10, 11]
    for batch, requests in parts:
        batch = decode(encode(batch))
        assert batch.points <= SLICE
        claimed = sum(count for process in batch.processes for _, count in process.ranges)
        counted = sum(values_of(batch.columns["counts"]))
        assert claimed == counted == requests == 300
        instances = {key.instance for key in decode_series(batch.series)}
        assert instances == {process.instance for process in batch.processes}


def test_an_empty_window_is_one_batch_with_its_accounting() -> None:
    app = app_of()
    processes = accounting_of(Window(0), {app.hello.process: app}, {})
    ((batch, requests),) = batches_of(
        Window(0), agent="a", boot=b"12345678", first_seq=0, step_s=10,
            closed_mono_us=1,
        accounting=processes, gauges=(),
    )  # fmt: skip
    assert (batch.points, requests) == (0, 0)
    assert len(batch.processes) == 1


def test_the_table_of_buckets_agrees_with_the_search() -> None:
    assert buckets_below(1 << 17) == [bucket_of(us) for us in range(1 << 17)]
