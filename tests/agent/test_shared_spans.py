"""What was added over several windows is shared in portions, in turn, and all of it."""

from collections import Counter

from trimtab_agent.app import App
from trimtab_agent.gathered import Gathered
from trimtab_agent.peers import Peer
from trimtab_agent.spans import Portion
from trimtab_core.deltas import Deltas
from trimtab_core.measures import COUNTER, HISTOGRAM, Delta, MeasureKey, value_buckets
from trimtab_core.messages import Hello

NOW_S = 1_700_006_400
SPAN = list(range(NOW_S, NOW_S + 3600, 60))


def app_of(service: str, count: int, user: str = "1000", process: int = 1) -> App:
    hello = Hello("test", service, "1", "host", process, f"{service}-{user}-{process}".encode())
    app = App(hello, process, who=user, peer=Peer(user, is_here=True, process=process))
    app.measures = {n: MeasureKey(f"m{n}", COUNTER) for n in range(1, count + 1)}
    return app


def send(gathered: Gathered, app: App, span: list[int], value: float = 60.0) -> None:
    some = [(n, Delta(60, value, 1.0, 1.0, 1.0)) for n in app.measures]
    gathered.add(app, Deltas(some), span)


def rows_of(portion: Portion) -> int:
    return sum(map(len, portion.values()))


def sums_of(portion: Portion) -> Counter[str]:
    found: Counter[str] = Counter()
    for rows in portion.values():
        for _, row in rows:
            found[row.service] += int(row.delta.sum)
    return found


def test_many_measures_of_long_spans_are_shared_in_small_portions_and_none_is_lost() -> None:
    gathered, app = Gathered(), app_of("shop", 1000)
    for number in range(3):
        send(gathered, app, [start_s - number for start_s in SPAN])
    found: Counter[str] = Counter()
    windows: Counter[int] = Counter()
    portions = list(gathered.take_spans())
    for portion in portions:
        found += sums_of(portion)
        windows.update({start_s: len(rows) for start_s, rows in portion.items()})
    assert max(map(rows_of, portions)) <= 5000
    assert found == {"shop": 3 * 1000 * 60}
    assert set(windows.values()) == {1000}
    assert len(windows) == 180
    assert gathered.size_bytes == 0


def test_wide_histograms_make_portions_of_fewer_rows() -> None:
    gathered, app = Gathered(), app_of("shop", 0)
    app.measures = {n: MeasureKey(f"m{n}", HISTOGRAM) for n in range(1, 41)}
    values = [1.001**n for n in range(10_000)]
    buckets = dict(value_buckets(values))
    assert len(buckets) > 400
    some = [(n, Delta(len(values), 1.0, 1.0, 2.0, 1.0, dict(buckets))) for n in app.measures]
    gathered.add(app, Deltas(some), SPAN)
    portions = list(gathered.take_spans())
    assert max(map(rows_of, portions)) <= 240
    assert sum(
        row.delta.count for each in portions for rows in each.values() for _, row in rows
    ) == (40 * len(values))


def test_an_app_that_sends_many_spans_keeps_no_other_waiting() -> None:
    gathered = Gathered()
    for number in range(40):
        flood = app_of(f"flood{number % 8}", 100, "1000", process=number % 4)
        send(gathered, flood, [start_s - number for start_s in SPAN])
    send(gathered, app_of("shop", 20, "1001"), SPAN)
    found: Counter[str] = Counter()
    portions = gathered.take_spans()
    for _ in range(4):
        found += sums_of(next(portions))
    assert found["shop"] == 20 * 60


def test_what_waits_for_long_is_shared_among_ever_fewer_windows_and_whole_in_them() -> None:
    gathered, app = Gathered(), app_of("shop", 2000)
    send(gathered, app, SPAN)
    found, windows = Counter[str](), []
    while gathered.size_bytes:
        # One portion in thirty closings: there is hardly any time for it.
        for _ in range(30):
            gathered.age_spans()
        portion = next(gathered.take_spans())
        found += sums_of(portion)
        windows.append(len(portion))
    assert found == {"shop": 2000 * 60}
    assert windows == sorted(windows, reverse=True)
    assert (windows[0], windows[-1] < 10) == (60, True)


def test_at_the_end_each_delta_goes_whole_into_the_middle_of_its_span() -> None:
    gathered = Gathered()
    send(gathered, app_of("shop", 500), SPAN)
    (portion,) = gathered.take_spans(whole=True)
    assert list(portion) == [SPAN[30]]
    assert sums_of(portion) == {"shop": 500 * 60}
