"""What a batch comes to: its place in time, what agents hold, connections, Apdex."""

import time
from dataclasses import replace
from datetime import datetime

import pytest

from support.processes.servers import Collector
from support.stores.batches import Sender, a_batch, accounting_of, key_of, point_of, window
from trimtab_core.batches import CLOCK_HEADER, HELD_HEADER, GaugeRow, Point, SentAt
from trimtab_core.measures import HISTOGRAM, Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow, pack_rows


def slow_requests(service: str, *at_s: int) -> bytes:
    """Return rows with a slow request at each of these seconds."""
    told = {"kind": "request", "reason": "slow", "route": "/items", "method": "GET", "status": 200,
            "duration_us": 2_000_000}  # fmt: skip
    events = [
        EventRow("test", service, "host#0", {**told, "at_us": each * 1_000_000}) for each in at_s
    ]
    return pack_rows((), events)[0]


@pytest.mark.parametrize("ahead_s", [3 * 3600, -3 * 3600])
def test_windows_of_a_wrong_clock_are_booked_by_ours_and_it_is_noted(
    collector: Collector, sender: Sender, ahead_s: int
) -> None:
    service = f"ahead{ahead_s}"
    theirs = int(time.time()) + ahead_s
    points = {key_of(service=service): point_of([5])}
    batch = a_batch(
        0,
        points,
        agent=service,
        window_s=theirs - theirs % 10 - 10,
        closed_us=theirs * 1_000_000,
        gauges=[GaugeRow("test", service, "host#0", "http.server.active_requests", 2.0)],
        rows=slow_requests(service, theirs - 5, theirs + 40, 0),
    )
    sender.more = {CLOCK_HEADER: f"{time.time() + ahead_s:.3f}"}
    assert sender.post(batch)[1]["duplicate"] is False
    assert sender.post(batch)[1]["duplicate"] is True
    skews = collector.api.get("/health")["clockSkewSeconds"]
    assert skews[service] == pytest.approx(ahead_s, abs=10)
    row = collector.api.get("/services", service=service, from_="-2m")["services"][0]
    assert (row["requests"], row["inFlight"]) == (1, 2)
    collector.wait_line("set the clock of its machine")
    # What was slow in it is there at the same time; a time that nobody can mean is its window's.
    slow = collector.api.get("/slow-requests", service=service, from_="-1m")["requests"]
    assert len(slow) == 3
    now_s = int(time.time())
    later = collector.api.get("/slow-requests", from_=str(now_s + 20), to=str(now_s + 20_000))
    assert later["requests"] == []


def test_a_window_of_a_clock_that_was_wrong_and_is_right_now_is_booked_as_of_now(
    collector: Collector, sender: Sender
) -> None:
    batch = a_batch(
        0, {key_of(service="mended"): point_of([5])}, agent="mended", window_s=window(-1000)
    )
    sender.more = {CLOCK_HEADER: f"{time.time():.3f}"}
    assert sender.post(batch)[0] == 202
    row = collector.api.get("/services", service="mended", from_="-5m")["services"][0]
    assert row["requests"] == 1


@pytest.mark.parametrize("jump_s", [-7200, 10_800])
def test_a_batch_is_as_old_as_the_agents_monotonic_clock_says_whatever_its_wall_clock_did(
    collector: Collector, sender: Sender, jump_s: int
) -> None:
    # Closed ten minutes ago by a clock that was right, sent after it has jumped.
    service = f"jumped{jump_s}"
    now_s, up_s = time.time(), 5_000_000.0
    closed_s = now_s - 600
    batch = a_batch(
        0,
        {key_of(service=service): point_of([5])},
        agent=service,
        window_s=int(closed_s) // 10 * 10 - 10,
        closed_us=int(closed_s * 1e6),
    )
    batch = replace(batch, closed_mono_us=int((up_s - 600) * 1e6))
    sender.more = {CLOCK_HEADER: SentAt(now_s + jump_s, up_s, batch.boot).header()}
    assert sender.post(batch)[0] == 202
    read = {"service": service, "step": 10, "from_": "-20m"}
    (row,) = collector.api.get("/metrics/history", **read)["series"]
    assert datetime.fromisoformat(row["t"]).timestamp() == batch.window_s
    # What another life of the agent closed goes by the wall clock.
    sender.more = {CLOCK_HEADER: SentAt(now_s, up_s, b"another!").header()}
    assert sender.post(replace(batch, seq=1))[0] == 202
    assert len(collector.api.get("/metrics/history", **read)["series"]) == 1


def test_what_agents_hold_is_late_and_not_lost(collector: Collector, sender: Sender) -> None:
    def send(seq: int, first: int, held: int) -> dict[str, int]:
        points = {key_of(service="holding"): point_of([1_000] * 10)}
        covers = accounting_of([(first, 10)], 40, process=b"held-pid", service="holding")
        sender.more = {HELD_HEADER: str(held)}
        batch = a_batch(seq, points, agent="holding", processes=[covers])
        assert sender.post(batch)[0] == 202
        (found,) = collector.api.get("/services", service="holding")["services"]
        account_ = found["accounting"]
        assert account_["counted"] + account_["held"] + account_["agentLost"] == 40
        return {name: account_[name] for name in ("held", "agentLost")}

    assert send(1, 30, 20) == {"held": 20, "agentLost": 10}
    assert send(2, 0, 10) == {"held": 10, "agentLost": 10}
    assert send(3, 10, 0) == {"held": 0, "agentLost": 10}


def test_connections_are_counted_apart_from_requests(collector: Collector, sender: Sender) -> None:
    point = Point(websockets=2, websocket_us=10_000_000, event_streams=1, event_stream_us=3_000_000)
    points = {key_of(service="open", route="/ws"): point, key_of(service="open"): point_of([500])}
    gauges = [
        GaugeRow("test", "open", "host#0", "trimtab.app.websockets", 7.0),
        GaugeRow("test", "open", "host#0", "trimtab.app.event_streams", 1.0),
    ]
    covers = accounting_of([(0, 4)], 4, process=b"open-pid", service="open")
    batch = a_batch(1, points, agent="open", processes=[covers], gauges=gauges)
    assert sender.post(batch)[0] == 202
    (row,) = collector.api.get("/services", service="open")["services"]
    assert (row["requests"], row["webSockets"], row["eventStreams"]) == (1, 2, 1)
    assert (row["webSocketMean"], row["eventStreamMean"]) == (5000.0, 3000.0)
    assert (row["openWebSockets"], row["openEventStreams"]) == (7, 1)
    assert row["max"] == 0.5
    assert (row["accounting"]["connections"], row["accounting"]["agentLost"]) == (3, 0)
    routes = collector.api.get("/routes", service="open")["routes"]
    rows = {(each["route"], each["kind"]): each for each in routes}
    assert rows.keys() == {("/", "request"), ("/ws", "webSocket"), ("/ws", "eventStream")}
    assert rows["/ws", "webSocket"]["connections"] == 2


def test_apdex_counts_tolerated_ones_half_and_failed_ones_not_at_all(
    collector: Collector, sender: Sender
) -> None:
    points = {
        key_of(service="apdex"): point_of([100_000, 400_000, 900_000, 1_900_000, 9_000_000]),
        key_of(service="apdex", status_class="5xx"): point_of([1_000] * 5, errors=5),
    }
    assert sender.post(a_batch(1, points, agent="apdex"))[0] == 202

    def read(**params: object) -> float:
        return float(
            collector.api.get("/response-time", service="apdex", **params)["overall"]["apdex"]
        )

    assert read() == pytest.approx((2 + 2 / 2) / 10)
    assert read(apdex=1000) == pytest.approx((3 + 1 / 2) / 10)
    assert read(apdex=10_000) == pytest.approx(5 / 10)
    status, body = collector.api.request("/response-time", apdex="0")
    assert (status, body["error"]["details"]) == (422, {"parameter": "apdex"})


def test_a_clock_that_is_no_time_is_ignored(sender: Sender) -> None:
    for clock in ("nan", "-1", "soon", "1e30", "1 2", "1 2 x", "1 nan 00"):
        sender.more = {CLOCK_HEADER: clock}
        assert sender.post(a_batch(40_000))[0] == 202


def test_a_late_batch_is_not_taken_for_a_wrong_clock(collector: Collector, sender: Sender) -> None:
    hour_ago = window(360)
    batch = a_batch(0, agent="late", window_s=hour_ago, closed_us=(hour_ago + 10) * 1_000_000)
    assert sender.post(batch)[0] == 202
    assert "late" not in collector.api.get("/health")["clockSkewSeconds"]


def test_statements_that_an_older_agent_sends_as_they_were_typed_become_shapes(
    collector: Collector, sender: Sender
) -> None:
    attributes = (
        ("db.query.text", "ALTER ROLE x PASSWORD 's3cret_w0rd'"),
        ("db.system.name", "postgresql"),
    )
    key = MeasureKey("postgresql.statement.duration", HISTOGRAM, "s", attributes)
    row = MeasureRow("", "", "postgresql:h:5432/older", key, Delta(1, 1.0, 1.0, 1.0, 1.0, {300: 1}))
    batch = a_batch(0, {key_of(service="older"): point_of([5])}, agent="older",
                    rows=pack_rows([row], ())[0])  # fmt: skip
    assert sender.post(batch)[0] == 202
    found = collector.api.get(
        "/measures", name=key.name, groupBy="db.query.text", instance=row.instance, from_="-2m"
    )
    assert [each["group"] for each in found["measures"]] == [{"db.query.text": "ALTER ROLE"}]
    assert "s3cret_w0rd" not in str(collector.api.get("/names"))
