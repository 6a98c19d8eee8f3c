"""One app's flood of names leaves room in each window for the others of its agent."""

from collections import Counter

from trimtab_agent.aggregator import Aggregator
from trimtab_agent.app import App
from trimtab_core.messages import Hello, Samples
from trimtab_core.records import RECORD_SIZE, Record, pack

NOW_S = 1_700_000_005


def app_of(process: bytes = b"12345678", service: str = "shop") -> App:
    return App(Hello("test", service, "1", "host", 1, process), 0)


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
    assert named == {"flood": 750, "shop": 150}
    counted = Counter[str]()
    for key, point in window.points.items():
        counted[key.service] += sum(point.buckets.values())
    assert counted == {"flood": 2_000, "shop": 150}


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
