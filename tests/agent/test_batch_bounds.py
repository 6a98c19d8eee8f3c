"""Whatever apps say, the agent makes batches of it that a collector takes, and everything is in."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_agent.aggregator import Aggregator, Window
from trimtab_agent.app import App
from trimtab_agent.contents import Contents, OwnedRows
from trimtab_agent.dating import moment_of, moments_of
from trimtab_agent.faults import Faults
from trimtab_agent.gathered import Gathered
from trimtab_agent.names import AgentNames
from trimtab_agent.peers import NOBODY, Peer
from trimtab_agent.spool import Spool
from trimtab_agent.spool.regroup import points_of
from trimtab_agent.window import accounting_of, batches_of, gauges_of
from trimtab_agent.writer import BatchWriter
from trimtab_core.batches import (
    Batch,
    GaugeRow,
    Point,
    ProcessAccounting,
    SeriesKey,
    decode,
    encode,
)
from trimtab_core.deltas import Events
from trimtab_core.messages import Hello, Samples
from trimtab_core.names import clean_name
from trimtab_core.records import FLAG_KIB, RECORD_SIZE, Record, pack
from trimtab_core.rows import unpack_rows

NOW_S = 1_700_006_400
LONG = "\N{HANGUL SYLLABLE GA}" * 128


def app_of(number: int = 0, service: str = "shop", host: str = "host", peer: Peer = NOBODY) -> App:
    hello = Hello("test", service, "1", host, 1, number.to_bytes(8, "big"))
    return App(hello, number, peer=peer)


def sent(
    window: Window, accounting: Sequence[ProcessAccounting] = (), gauges: Sequence[GaugeRow] = ()
) -> Iterator[Batch]:
    """Yield the batches of a window as a collector reads them."""
    for batch, _ in batches_of(
        window, agent="agent", boot=bytes(8), first_seq=0, step_s=10, closed_mono_us=1,
        accounting=accounting, gauges=gauges,
    ):  # fmt: skip
        found = decode(encode(batch))
        assert found.malformed == []
        yield found


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128).map(clean_name)


@given(
    st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 2**60)), max_size=8),
    st.lists(st.integers(0, 1000), max_size=5),
    st.lists(st.tuples(TEXTS, st.floats(allow_nan=False, allow_infinity=False)), max_size=8),
)
def test_what_an_agent_sends_a_collector_takes(
    series: list[tuple[str, str, int]], ranges: list[int], gauges: list[tuple[str, float]]
) -> None:
    window = Window(NOW_S)
    for service, route, size in series:
        key = SeriesKey("test", service, "1", "host#0", route, "GET", "2xx")
        window.points[key] = Point(bytes=size, buckets={1: 1})
    accounts = [
        ProcessAccounting(
            bytes(8), "test", "shop", "host#0", [(n * 7, 3) for n in range(count)], 9, {}
        )
        for count in ranges
    ]
    rows = [GaugeRow("", "", "host", name, value) for name, value in gauges]
    found = list(sent(window, accounts, rows))
    assert {key for batch in found for key, _ in points_of(batch)} == set(window.points)
    assert Counter(len(each.ranges) for batch in found for each in batch.processes) == Counter(
        ranges
    )
    assert [gauge for batch in found for gauge in batch.gauges] == rows


def test_gauges_with_the_longest_names_of_20_apps_travel_and_cost_nobody_else() -> None:
    apps = {}
    for number in range(20):
        app = app_of(number, LONG, LONG)
        app.gauges = {f"{name:03}" + LONG[:125]: 1.0 for name in range(256)}
        apps[app.hello.process] = app
    window = Window(NOW_S)
    key = SeriesKey("test", "shop", "1", "host#0", "/", "GET", "2xx")
    window.points[key] = Point(buckets={1: 7})
    found = list(
        sent(
            window,
            accounting_of(window, apps, {}),
            gauges_of(apps, "host", {}, AgentNames().gauges),
        )
    )
    assert sum(len(batch.gauges) for batch in found) == 20 * 256
    assert [point.buckets for batch in found for _, point in points_of(batch)] == [{1: 7}]


def test_the_gauges_and_accounts_of_as_many_apps_as_may_connect_travel() -> None:
    apps = {}
    for number in range(20_000):
        app = app_of(number)
        app.gauges = {"process.cpu.utilization": 0.5, "process.memory.usage": 1.0}
        apps[app.hello.process] = app
    window = Window(NOW_S)
    found = list(
        sent(
            window,
            accounting_of(window, apps, {}),
            gauges_of(apps, "host", {}, AgentNames().gauges),
        )
    )
    assert sum(len(batch.gauges) for batch in found) == 40_000
    assert sum(len(batch.processes) for batch in found) == 20_000


def test_over_20_000_gaps_in_the_numbers_of_apps_travel() -> None:
    window, apps = Window(NOW_S), {}
    for number in range(25):
        app = apps[number.to_bytes(8, "big")] = app_of(number)
        for place in range(1000):
            window.cover(app.hello.process, 2 * place, 1)
    found = list(sent(window, accounting_of(window, apps, {})))
    assert sum(len(each.ranges) for batch in found for each in batch.processes) == 25_000


def test_many_series_with_the_longest_names_and_all_buckets_travel() -> None:
    window = Window(NOW_S)
    for number in range(3000):
        route = f"{number:05}" + LONG + LONG[:60]
        key = SeriesKey(LONG, LONG, LONG, LONG + "#0", route, "GET", "2xx")
        window.points[key] = Point(buckets=dict.fromkeys(range(0, 1000, 4), 2**31))
    found = list(sent(window))
    assert sum(batch.points for batch in found) == 3000


def test_bodies_of_the_largest_size_are_a_sum_that_a_collector_takes() -> None:
    aggregator, app = Aggregator(10, 1000), app_of()
    data = pack(Record(0, 1, FLAG_KIB, 200, 1000, bytes=2**32 - 1)) * 3000
    aggregator.add(app, Samples(NOW_S * 10**6, 0, 0, {}, RECORD_SIZE, data), NOW_S)
    (window,) = aggregator.close(float("inf"))
    (batch,) = sent(window)
    assert [point.bytes for _, point in points_of(batch)] == [2**53]


def samples_at(wall_us: int, first: int) -> Samples:
    return Samples(wall_us, 0, first, {}, RECORD_SIZE, pack(Record(0, 1, 0, 200, 1000)))


def test_a_clock_that_was_never_set_counts_as_now_and_no_span_is_longer_than_two_hours() -> None:
    assert moment_of(1, 0, NOW_S) == NOW_S
    assert moment_of(int((NOW_S - 6 * 86_400) * 1e6), 0, NOW_S) == NOW_S - 6 * 86_400
    assert min(moments_of(NOW_S, 9e12, 10)) > NOW_S - 7300


def test_who_opens_one_old_window_after_the_other_is_soon_booked_as_of_now() -> None:
    aggregator, app, opened = Aggregator(10, 1000), app_of(), 0
    for number in range(9600):
        at_us = (NOW_S - 500_000 + 20 * number) * 1_000_000
        aggregator.add(app, samples_at(at_us, number), NOW_S)
        if number % 500 == 0:
            opened += len(aggregator.close(NOW_S))
    last = aggregator.close(float("inf"))
    assert opened + len(last) <= 1002
    assert sum(sum(point.buckets.values()) for point in last[-1].points.values()) > 8000
    # Another one is not in its place.
    aggregator.add(app_of(1), samples_at((NOW_S - 600) * 1_000_000, 0), NOW_S)
    assert NOW_S - 600 in aggregator.windows


def test_old_windows_of_one_process_or_user_take_those_of_no_other() -> None:
    aggregator = Aggregator(10, 1000)
    peer = Peer("1001", is_here=True, process=9)

    def opened(whose: list[Peer], back_s: int) -> int:
        """Return how many old windows open for peers, each for a new process id."""
        starts: list[int] = []
        for number, each in enumerate(whose):
            at_us = (NOW_S - 300_000 - back_s - 10 * number) * 1_000_000
            aggregator.add(app_of(number, peer=each), samples_at(at_us, 0), NOW_S)
            if number % 900 == 899 or number == len(whose) - 1:
                starts += [window.start_s for window in aggregator.close(float("inf"))]
        return len([start_s for start_s in starts if start_s < NOW_S])

    assert opened([peer] * 1200, 0) == 1000
    assert opened([peer._replace(process=10)] * 300, 20_000) == 300
    forks = [peer._replace(process=11 + n % 50) for n in range(1000)]
    assert opened(forks, 30_000) == 700
    assert opened([Peer("1002", is_here=True, process=99)] * 300, 50_000) == 300


def test_records_that_cannot_be_added_up_cost_only_their_app(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aggregator, broken, sound = Aggregator(10, 1000), app_of(0), app_of(1)
    monkeypatch.setattr(broken, "series", {})
    monkeypatch.setattr(broken, "routes", None)
    for app in (broken, sound):
        aggregator.add(app, samples_at(NOW_S * 1_000_000, 0), NOW_S)
    (window,) = aggregator.close(float("inf"))
    assert sum(sum(point.buckets.values()) for point in window.points.values()) == 1
    assert aggregator.faults.by_loop == {"book": 1}


def event_of(number: int, text: str = "") -> dict[str, Any]:
    return {"kind": "request", "at_us": number, "text": text}


def note(gathered: Gathered, app: App, events: list[dict[str, Any]]) -> None:
    gathered.note(app, Events(events), [event["at_us"] for event in events])


def events_in(gathered: Gathered) -> Counter[str]:
    rows = [row for packed in gathered.take(NOW_S) for row in unpack_rows(packed)[1]]
    return Counter(row.service for row in rows)


def test_whoever_sends_most_events_keeps_fewer_and_others_all_of_theirs() -> None:
    gathered, loud, quiet = Gathered(), app_of(0, "loud"), app_of(1, "quiet")
    note(gathered, loud, [event_of(n) for n in range(1000)])
    note(gathered, loud, [event_of(n) for n in range(1000)])
    note(gathered, quiet, [event_of(n) for n in range(100)])
    assert events_in(gathered) == {"loud": 900, "quiet": 100}
    assert gathered.events_dropped == 1100
    note(gathered, loud, [event_of(n, "x" * 32_000) for n in range(200)])
    note(gathered, quiet, [event_of(n, "x" * 32_000) for n in range(20)])
    found = events_in(gathered)
    assert (found["quiet"], 90 < found["loud"] < 120) == (20, True)


def test_who_says_to_be_many_processes_has_the_share_of_the_one_it_is() -> None:
    gathered = Gathered()
    quiet = [app_of(n, "quiet", peer=Peer("0", is_here=True, process=9)) for n in range(2)]
    other = app_of(2, "other", peer=Peer("1001", is_here=True, process=20))
    loud = Peer("0", is_here=True, process=10)
    for app in (*quiet, other):
        note(gathered, app, [event_of(n) for n in range(100)])
    for number in range(2000):
        note(gathered, app_of(100 + number, "loud", peer=loud), [event_of(n) for n in range(2)])
    assert events_in(gathered) == {"quiet": 200, "other": 100, "loud": 700}
    # Between processes that it says it has, as before.
    for number in range(3):
        own = app_of(number, str(number), peer=loud)
        note(gathered, own, [event_of(n) for n in range(2000 if number else 300)])
    found = events_in(gathered)
    assert (found["0"], found["1"], found["2"]) == (300, 350, 350)


def test_neither_many_small_events_nor_a_few_large_ones_take_what_is_others() -> None:
    gathered = Gathered()
    small, large = app_of(0, "small"), app_of(1, "large")
    note(gathered, large, [event_of(n, "x" * 20_000) for n in range(40)])
    note(gathered, small, [event_of(n) for n in range(1500)])
    assert events_in(gathered) == {"small": 960, "large": 40}
    note(gathered, small, [event_of(n) for n in range(400)])
    note(gathered, large, [event_of(n, "x" * 30_000) for n in range(200)])
    found = events_in(gathered)
    assert found["small"] == 400
    assert 130 < found["large"] < 140


@pytest.mark.asyncio
async def test_a_batch_that_cannot_be_encoded_is_written_in_parts_and_the_rest_is_counted(
    tmp: Path,
) -> None:
    spool, faults = Spool(tmp / "spool"), Faults()
    writer = BatchWriter(spool, "agent", os.urandom(8), 10, lambda: None, faults, {})
    window = Window(int(time.time()) // 10 * 10)
    key = SeriesKey("test", "shop", "1", "host#0", "/", "GET", "2xx")
    window.points[key] = Point(buckets={1: 7})
    # No text: an address of the environment that is not UTF-8, as Python has it.
    gauges = [GaugeRow("", "", "host", name, 1.0) for name in ("a", "\udcff", "b", "c")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimtab_agent.window.packed_size", lambda rows: 1)
        await asyncio.wait_for(writer.write(Contents(window, OwnedRows(), (), gauges)), 5)
    found = []
    while (entry := spool.next(newest=False)) is not None:
        found.append(decode(entry.payload))
        spool.acknowledge(entry)
    assert sum(batch.points for batch in found) == 1
    assert sorted(gauge.name for batch in found for gauge in batch.gauges) == ["a", "b", "c"]
    assert len({batch.seq for batch in found}) == len(found)
    assert spool.stats.dropped_batches == {"malformed": 1}
    spool.close()
