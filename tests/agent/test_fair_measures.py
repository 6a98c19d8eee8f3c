"""Where measures are too many or too wide, whoever has most gives way, and nobody else."""

from collections import Counter

from trimtab_agent.app import App
from trimtab_agent.gathered import Gathered
from trimtab_agent.peers import Peer
from trimtab_core.deltas import Deltas
from trimtab_core.measures import COUNTER, HISTOGRAM, Delta, MeasureKey
from trimtab_core.messages import Hello
from trimtab_core.rows import MeasureRow, unpack_rows

NOW_S = 1_700_006_400
WINDOWS = (NOW_S, NOW_S + 10)


def app_of(service: str, count: int, user: str = "1000", process: int = 1) -> App:
    """Return an app with that many measures."""
    hello = Hello("test", service, "1", "host", process, f"{service}-{user}-{process}".encode())
    app = App(hello, process, who=user, peer=Peer(user, is_here=True, process=process))
    app.measures = {
        n: MeasureKey("hits", COUNTER, "1", (("n", str(n)),)) for n in range(1, count + 1)
    }
    return app


def send(gathered: Gathered, app: App, *windows: int) -> None:
    some = [(n, Delta(1, 1.0, 1.0, 1.0, 1.0)) for n in app.measures]
    gathered.add(app, Deltas(some), windows or [NOW_S])


def rows_in(gathered: Gathered, start_s: int = NOW_S) -> list[MeasureRow]:
    return [row for packed in gathered.take(start_s) for row in unpack_rows(packed)[0]]


def named_in(gathered: Gathered, start_s: int = NOW_S) -> Counter[str]:
    rows = rows_in(gathered, start_s)
    return Counter(row.service for row in rows if ("n", "other") not in row.key.attributes)


def test_who_comes_when_a_window_is_full_has_its_measures_and_the_flood_fewer() -> None:
    gathered = Gathered(max_measures=100)
    flood = app_of("flood", 300)
    send(gathered, flood)
    send(gathered, app_of("shop", 40, process=2))
    send(gathered, flood)
    rows = rows_in(gathered)
    named = Counter(row.service for row in rows if ("n", "other") not in row.key.attributes)
    assert named == {"flood": 60, "shop": 40}
    sums = Counter[str]()
    for row in rows:
        sums[row.service] += int(row.delta.sum)
    assert sums == {"flood": 600, "shop": 40}
    assert gathered.measures_dropped == 0


def test_measures_without_attributes_that_give_way_are_left_out_and_counted() -> None:
    gathered = Gathered(max_measures=10)
    flood, shop = app_of("flood", 0), app_of("shop", 5, process=2)
    flood.measures = {n: MeasureKey(f"m{n}", COUNTER) for n in range(1, 41)}
    send(gathered, flood)
    send(gathered, shop)
    rows = rows_in(gathered)
    assert count_of(rows, "shop") == 5
    assert count_of(rows, "flood") + gathered.measures_dropped == 40


def count_of(rows: list[MeasureRow], service: str) -> int:
    return sum(row.service == service for row in rows)


def test_one_user_under_many_services_and_processes_has_one_share_of_the_measures() -> None:
    gathered = Gathered(max_measures=100)
    for number in range(50):
        send(gathered, app_of(f"flood{number}", 10, "1000", process=number))
    send(gathered, app_of("shop", 45, "1001"))
    assert named_in(gathered)["shop"] == 45


def test_old_windows_full_of_one_apps_measures_leave_room_for_those_of_others() -> None:
    gathered = Gathered(max_bytes=200_000)
    flood, shop = app_of("flood", 50), app_of("shop", 50, process=2)
    for back in range(100):
        send(gathered, flood, NOW_S - 10 * back)
    send(gathered, shop)
    assert named_in(gathered)["shop"] == 50


def wide(first: int, buckets: int) -> Delta:
    return Delta(buckets, 1.0, 1.0, 1.0, 1.0, dict.fromkeys(range(first, first + buckets), 1))


def test_histograms_that_grow_while_they_are_added_up_have_a_bound_in_bytes() -> None:
    gathered = Gathered(max_bytes=1_000_000)
    flood, shop = app_of("flood", 0), app_of("shop", 100, process=2)
    flood.measures = {n: MeasureKey(f"m{n}", HISTOGRAM) for n in range(1, 21)}
    for first in range(0, 2000, 100):
        send(gathered, shop)
        gathered.add(flood, Deltas([(n, wide(first, 100)) for n in flood.measures]), [NOW_S])
        assert gathered.size_bytes <= 2_100_000
    assert gathered.measures_dropped > 0
    rows = rows_in(gathered)
    assert [row.delta.sum for row in rows if row.service == "shop"] == [20.0] * 100
    assert gathered.size_bytes == 0


def test_what_has_no_new_bucket_is_added_however_full_the_windows_are() -> None:
    gathered, app = Gathered(max_bytes=20_000), app_of("shop", 0)
    app.measures = {1: MeasureKey("m", HISTOGRAM)}
    for _ in range(5):
        gathered.add(app, Deltas([(1, wide(0, 200))]), [NOW_S])
    (row,) = rows_in(gathered)
    assert (row.delta.count, gathered.measures_dropped) == (1000, 0)


def test_all_that_was_booked_is_free_again_when_the_windows_are_taken() -> None:
    gathered = Gathered(max_measures=30, max_bytes=60_000)
    for number in range(200):
        app = app_of(f"s{number % 7}", number % 23, str(number % 3), number % 5)
        windows = (NOW_S + number % 4 * 10, *((NOW_S + 50,) if number % 11 == 0 else ()))
        send(gathered, app, *windows)
    for portion in gathered.take_spans():
        assert portion
    for start_s in range(NOW_S, NOW_S + 40, 10):
        rows_in(gathered, start_s)
    assert gathered.size_bytes == 0
