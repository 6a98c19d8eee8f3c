"""One app's flood of names leaves room in each window for the others of its agent."""

from collections import Counter
from collections.abc import Sequence

from trimtab_agent.aggregator import Aggregator
from trimtab_agent.app import App
from trimtab_agent.peers import NOBODY, Peer
from trimtab_core.messages import Hello, Samples
from trimtab_core.records import RECORD_SIZE, Record, pack

NOW_S = 1_700_000_005


def app_of(
    process: bytes = b"12345678", service: str = "shop", peer: Peer = NOBODY, worker: int = 0
) -> App:
    return App(Hello("test", service, "1", "host", 1, process), worker, peer=peer)


def samples_of(rows: list[Record], first: int, wall_s: float = NOW_S) -> Samples:
    return Samples(int(wall_s * 1e6), 0, first, {}, RECORD_SIZE, b"".join(map(pack, rows)))


def routed(app: App, count: int) -> list[Record]:
    """Return a record of each of many routes of an app."""
    app.routes = {route: f"/{route}" for route in range(1, count + 1)}
    return [Record(route, 1, 0, 200, 1000) for route in app.routes]


def test_a_flood_of_one_app_names_no_route_of_another_other() -> None:
    aggregator = Aggregator(10, 1_000)
    flood, honest = app_of(service="flood"), app_of(b"87654321")
    aggregator.add(flood, samples_of(routed(flood, 2_000), 0), NOW_S)
    aggregator.book()
    aggregator.add(honest, samples_of(routed(honest, 150), 0), NOW_S)
    (window,) = aggregator.close(float("inf"))
    named = Counter(key.service for key in window.points if key.route != "other")
    assert named == {"flood": 850, "shop": 150}
    counted = Counter[str]()
    for key, point in window.points.items():
        counted[key.service] += sum(point.buckets.values())
    assert counted == {"flood": 2_000, "shop": 150}


def flooded(flood: Sequence[App], honest: Sequence[App]) -> Counter[str]:
    """Return the named series of each service, where a flood comes first and honest apps then.

    There are 1,000 places; each app of the flood has 100 routes, each honest one 50.
    """
    aggregator = Aggregator(10, 1_000)
    for app in flood:
        aggregator.add(app, samples_of(routed(app, 100), 0), NOW_S)
    aggregator.book()
    for turn in range(2):
        for app in (*honest, *flood):
            rows = routed(app, 50 if app in honest else 100)
            aggregator.add(app, samples_of(rows, 100 * (turn + 1)), NOW_S)
    (window,) = aggregator.close(float("inf"))
    requests = sum(sum(point.buckets.values()) for point in window.points.values())
    assert requests == 300 * len(flood) + 100 * len(honest)
    assert window.shares.count == 1_000
    assert aggregator.over_limit > 0
    assert aggregator._size_bytes == 0
    return Counter(key.service for key in window.points if key.route != "other")


def test_one_process_that_says_to_be_many_services_names_no_route_of_another_other() -> None:
    hostile = Peer("0", is_here=True, process=9)
    flood = [app_of(b"flood%03d" % n, f"flood{n}", hostile) for n in range(110)]
    honest = [app_of(b"shop%04d" % n, "shop", hostile._replace(process=n), n) for n in (1, 2, 3)]
    assert flooded(flood, honest)["shop"] == 150


def test_a_service_of_many_processes_names_no_route_of_another_other() -> None:
    peer = Peer("0", is_here=True, process=9)
    flood = [
        app_of(b"flood%03d" % n, "flood", peer._replace(process=100 + n), n) for n in range(40)
    ]
    honest = [app_of(b"shop%04d" % n, "shop", peer._replace(process=n), n) for n in (1, 2, 3)]
    assert flooded(flood, honest) == {"flood": 850, "shop": 150}


def test_many_processes_and_services_of_one_user_leave_others_their_part() -> None:
    peer = Peer("1001", is_here=True, process=9)
    flood = [
        app_of(b"flood%03d" % n, f"flood{n}", peer._replace(process=100 + n)) for n in range(110)
    ]
    others = [
        app_of(b"shop%04d" % n, f"shop{n}", Peer(user, is_here=here, process=0))
        for n, (user, here) in enumerate((("1001", False), ("1002", True), ("tcp loopback", False)))
    ]
    found = flooded(flood, others)
    assert [found[f"shop{n}"] for n in range(3)] == [50, 50, 50]


def test_within_a_service_a_process_that_has_most_gives_up_its_newest() -> None:
    aggregator = Aggregator(10, 100)
    peer = Peer("0", is_here=True, process=1)
    first, second = (app_of(b"shop%04d" % n, "shop", peer._replace(process=n), n) for n in (1, 2))
    aggregator.add(first, samples_of(routed(first, 100), 0), NOW_S)
    aggregator.book()
    aggregator.add(second, samples_of(routed(second, 30), 0), NOW_S)
    (window,) = aggregator.close(float("inf"))
    names = {key.route for key in window.points if key.instance == first.instance}
    assert names == {"other"} | {f"/{route}" for route in range(1, 71)}
    assert Counter(key.instance for key in window.points) == {"host#1": 71, "host#2": 30}


def test_windows_of_an_apps_false_clock_leave_room_for_the_present() -> None:
    aggregator = Aggregator(10, 1_000)
    flood, honest = app_of(service="flood"), app_of(b"87654321")
    rows = routed(flood, 750)
    for back in range(1, 20):
        taken = samples_of(rows, 750 * back, NOW_S - 100 * back)
        aggregator.add(flood, taken, NOW_S)
    aggregator.book()
    aggregator.add(honest, samples_of(routed(honest, 90), 0), NOW_S)
    present = max(aggregator.close(float("inf")), key=lambda window: window.start_s)
    assert {key.route for key in present.points} == {f"/{route}" for route in honest.routes}


def test_long_names_in_earlier_windows_leave_room_for_the_present() -> None:
    aggregator = Aggregator(10, 1_000)
    flood, honest = app_of(service="flood"), app_of(b"87654321")
    flood.routes = {route: f"/{route:0500}" for route in range(1, 1_001)}
    rows = [Record(route, 1, 0, 200, 1000) for route in flood.routes]
    for back in (*range(19, 2, -1), 1):
        aggregator.add(flood, samples_of(rows, 1_000 * (20 - back), NOW_S - 10 * back), NOW_S)
        aggregator.book()
    aggregator.add(honest, samples_of(routed(honest, 90), 0), NOW_S)
    present = max(aggregator.close(float("inf")), key=lambda window: window.start_s)
    assert {key.route for key in present.points} == {f"/{route}" for route in honest.routes}
