"""What one app does to the windows costs itself: wide sketches, and records that wait."""

from trimtab_agent.aggregator import Aggregator
from trimtab_agent.app import App
from trimtab_agent.peers import Peer
from trimtab_core.messages import Hello, Samples
from trimtab_core.records import OTHER_ROUTE, RECORD_SIZE, Record, pack
from trimtab_core.sketch import BUCKETS, UPPER_US

NOW_S = 1_700_000_000.0
#: one duration in each of many buckets
WIDE = [UPPER_US[bucket] for bucket in range(0, BUCKETS, 2)][:800]


def an_app(name: str, process: int) -> App:
    hello = Hello("test", name, "", "host", process, name.encode().ljust(8, b"."))
    app = App(hello, 0, peer=Peer("1000", True, process))
    app.name_routes({route: f"/{name}/{route}" for route in range(1, 400)})
    return app


def send(aggregator: Aggregator, app: App, routes: range, durations: list[int]) -> int:
    data = b"".join(
        pack(Record(route, 1, 0, 200, duration)) for route in routes for duration in durations
    )
    samples = Samples(round(NOW_S * 1e6), 0, app.end, {}, RECORD_SIZE, data)
    aggregator.add(app, samples, NOW_S)
    app.end += samples.count
    return samples.count


def test_a_window_of_wide_sketches_has_a_bound_that_only_whoever_made_them_pays_for() -> None:
    aggregator = Aggregator(10, max_series=400)
    wide, narrow = an_app("wide", 1), an_app("narrow", 2)
    sent = 0
    for routes in (range(n, n + 10) for n in range(1, 200, 10)):
        # The narrow one has more series, and a few buckets in each.
        sent += send(aggregator, narrow, routes, [1000, 2000])
        sent += send(aggregator, wide, range(routes.start // 2 + 1, routes.stop // 2 + 1), WIDE)
        aggregator.book()
    (window,) = aggregator.windows.values()
    assert window.size_bytes <= aggregator._most_bytes
    real = sum(len(point.buckets) for point in window.points.values()) * 90
    assert real <= aggregator._most_bytes, "as much as was counted"
    routes_of = {name: {key.route for key in window.points if key.service == name}
                 for name in ("wide", "narrow")}  # fmt: skip
    assert len(routes_of["narrow"]) == 200
    assert OTHER_ROUTE not in routes_of["narrow"]
    assert OTHER_ROUTE in routes_of["wide"]
    assert len(routes_of["wide"]) > 1, "what there is room for keeps its name"
    assert sum(sum(point.buckets.values()) for point in window.points.values()) == sent
    aggregator.close(NOW_S + 100)
    assert aggregator._size_bytes == 0, "what was counted is given back"


def test_what_waits_of_one_app_is_booked_without_that_of_others() -> None:
    aggregator = Aggregator(10, max_series=100)
    one, other = an_app("one", 1), an_app("other", 2)
    for app in (one, other):
        send(aggregator, app, range(1, 3), [1000])
    (window,) = aggregator.windows.values()
    aggregator.book(one)
    assert {key.service for key in window.points} == {"one"}
    aggregator.book(one)
    aggregator.book()
    aggregator.book()
    assert [sum(point.buckets.values()) for point in window.points.values()] == [1, 1, 1, 1]
