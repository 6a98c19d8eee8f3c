"""Ingest over real sockets: what is taken, what is refused and why, who may write."""

import json
import re
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import zstandard

from support.processes.servers import Collector, trimtab, wait_for
from support.stores.batches import Connect, Sender, a_batch, accounting_of, key_of, point_of, window
from trimtab_core.batches import MAX_BATCH, GaugeRow, encode


def test_a_batch_is_taken_once_and_its_repeat_is_called_a_duplicate(
    collector: Collector, sender: Sender
) -> None:
    points = {key_of(service="once"): point_of([1_000, 2_000, 90_000], errors=1)}
    ranges = accounting_of([(0, 3)], 3, {"ring": 2}, b"once-pid", "once")
    batch = a_batch(1, points, agent="once", processes=[ranges])
    assert sender.post(batch) == (202, {"duplicate": False, "watchSeconds": 0.0})
    assert sender.post(batch) == (202, {"duplicate": True, "watchSeconds": 0.0})
    row = collector.api.get("/routes", service="once")["routes"][0]
    assert (row["requests"], row["errors"], row["max"]) == (3, 1, 90.0)
    assert row["p50"] == pytest.approx(2.0, rel=0.011)
    (service,) = collector.api.get("/services", service="once")["services"]
    assert service["accounting"] == {
        "counted": 3,
        "sent": 3,
        "held": 0,
        "agentLost": 0,
        "dropped": {"ring": 2},
        "requests": 3,
        "backgrounds": 0,
        "connections": 0,
    }


def test_a_gap_is_booked_as_lost_until_the_batch_that_fills_it_comes(
    collector: Collector, sender: Sender
) -> None:
    def send(seq: int, first: int, sent: int) -> None:
        points = {key_of(service="gap"): point_of([1_000] * 10)}
        ranges = accounting_of([(first, 10)], sent, process=b"gap-pid!", service="gap")
        sender.insist(a_batch(seq, points, agent="gap", processes=[ranges]))

    send(0, 0, 10)
    send(2, 20, 30)
    account_ = collector.api.accounting("gap")
    assert (account_["counted"], account_["agentLost"], account_["sent"]) == (20, 10, 30)
    send(1, 10, 20)
    account_ = collector.api.accounting("gap")
    assert (account_["counted"], account_["agentLost"], account_["sent"]) == (30, 0, 30)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "header length"),
        (b"garbage" * 100, 400, "zstd"),
        (zstandard.compress(b""), 400, "header length"),
        (zstandard.compress(b"\xff\xff\xff\xff" + b"x" * 50), 413, "header"),
        (zstandard.compress(b"\x01\0\0\0\xc1"), 400, "msgpack"),
        (zstandard.compress((100_000).to_bytes(4, "little") + b"\x91" * 100_000), 400, "msgpack"),
        (zstandard.compress(b"\0" * (MAX_BATCH + 1)), 413, "at most"),
        (zstandard.compress(b"\0" * (256 * 1024 * 1024)), 413, "at most"),
        (encode(a_batch(0))[:-5], 400, "expected"),
        (b"\0" * (MAX_BATCH + 1), 413, "at most"),
        (encode(a_batch(0, window_s=window(8 * 8640))), 400, "set the clock"),
    ],
    ids=[
        "empty",
        "garbage",
        "empty frame",
        "false header length",
        "no msgpack",
        "deep nesting",
        "just over the limit",
        "bomb",
        "torn",
        "large",
        "window of last week",
    ],
)
def test_a_broken_body_is_refused_with_a_reason(
    sender: Sender, body: bytes, status: int, word: str
) -> None:
    try:
        found, answer = sender.post(body)
    except (BrokenPipeError, ConnectionResetError):
        # Refused by its stated size, before it was sent whole.
        assert status == 413
        return
    assert found == status, answer
    assert answer["success"] is False
    assert word in answer["error"]["message"]
    assert sender.post(a_batch(10_000))[0] == 202


def test_bombs_and_garbage_leave_memory_and_others_alone(
    collector: Collector, connect: Connect, key: str, sender: Sender
) -> None:
    process = psutil.Process(collector.pid)
    sender.insist(a_batch(20_000))
    before = process.memory_info().rss
    most = before
    bombs = [
        zstandard.compress(b"\0" * (256 * 1024 * 1024)),
        zstandard.compress(
            (1_999_996).to_bytes(4, "little") + b"\xdc\xff\xff" + b"\x90" * 4_000_000
        ),
        zstandard.compress(b"\x90" * 4_000_000),
        b"\xff" * (MAX_BATCH - 1),
    ]
    stop = threading.Event()
    failed: list[object] = []

    def others() -> None:
        mine = connect(key)
        seq = 30_000
        while not stop.is_set():
            status, body = mine.post(a_batch(seq, agent="calm"))
            if status != 202:
                failed.append(body)
            seq += 1

    calm = threading.Thread(target=others)
    calm.start()
    try:
        for _ in range(5):
            for bomb in bombs:
                assert connect(key).post(bomb)[0] in (400, 413)
                most = max(most, process.memory_info().rss)
    finally:
        stop.set()
        calm.join()
    assert failed == []
    assert most - before < 64 * 1024 * 1024


def test_a_body_that_never_ends_is_cut_at_the_limit(collector: Collector, key: str) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as raw:
        raw.sendall(
            b"POST /agent/v1/batches HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Authorization: Bearer " + key.encode() + b"\r\n\r\n"
        )
        piece = b"10000\r\n" + b"\0" * 0x10000 + b"\r\n"
        sent = 0
        answer = b""
        raw.setblocking(False)
        deadline = time.monotonic() + 10
        while not answer and time.monotonic() < deadline:
            # The answer may be there before the next piece fails: it is read first.
            try:
                answer = raw.recv(65536)
            except BlockingIOError:
                pass
            if not answer:
                try:
                    sent += raw.send(piece[sent % len(piece) :])
                except BlockingIOError:
                    pass
                except (BrokenPipeError, ConnectionResetError):
                    answer = raw.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413")
        assert sent < 64 * 1024 * 1024


def test_without_a_key_or_with_a_wrong_one_nothing_is_taken(
    collector: Collector, connect: Connect
) -> None:
    for text in ("", "x", "ttk_000000000000_" + "0" * 64):
        status, body = connect(text).post(a_batch(0, agent="nobody"))
        assert status == 401
        assert body["error"]["code"] == "unauthorized"
        assert "trimtab key new" in body["error"]["message"]
        assert connect(text).commands()[0] == 401
    assert connect(collector.api.token).post(a_batch(0))[0] == 401


def test_an_agent_key_reads_nothing(connect: Connect, key: str) -> None:
    status, body = connect(key).request("GET", "/api/performance/services")
    assert (status, body["error"]["code"]) == (401, "unauthorized")


def test_a_revoked_key_is_refused_within_five_seconds(
    collector: Collector, connect: Connect
) -> None:
    made = subprocess.run(
        trimtab("key", "new", "--json", "--name", "short-lived"),
        env=collector.env,
        capture_output=True,
        check=True,
    )
    row = json.loads(made.stdout)
    mine = connect(row["key"])
    assert mine.post(a_batch(0, agent="revoked"))[0] == 202
    subprocess.run(trimtab("key", "revoke", row["id"]), env=collector.env, check=True)
    wait_for(lambda: mine.post(a_batch(1, agent="revoked"))[0] == 401, "the key to be refused", 5)
    listed = subprocess.run(
        trimtab("key", "list"), env=collector.env, capture_output=True, check=True, text=True
    )
    assert row["id"] in listed.stdout
    assert "revoked" in listed.stdout
    assert row["key"] not in listed.stdout
    shown = subprocess.run(
        trimtab("key", "list", "--json"), env=collector.env, capture_output=True, check=True
    )
    (kept,) = [each for each in json.loads(shown.stdout)["keys"] if each["id"] == row["id"]]
    for time_ in (kept["created"], kept["revoked"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time_)


def test_a_scoped_key_writes_for_its_own_services_only(
    collector: Collector, connect: Connect
) -> None:
    mine = connect(collector.new_key(["test"], ["mine"]))
    own = {key_of(service="mine"): point_of([5])}
    other = {key_of(service="other"): point_of([5])}
    elsewhere = {key_of(service="mine", environment="prod"): point_of([5])}
    assert mine.post(a_batch(0, own, agent="scoped"))[0] == 202
    for points in (other, elsewhere, own | other):
        status, body = mine.post(a_batch(1, points, agent="scoped"))
        assert (status, body["error"]["code"]) == (403, "forbidden")
    liar = a_batch(1, own, agent="scoped", processes=[accounting_of([(0, 9)], 9, service="other")])
    assert mine.post(liar)[0] == 403
    gauge = GaugeRow("test", "other", "host#0", "process.uptime", 1.0)
    assert mine.post(a_batch(1, own, agent="scoped", gauges=[gauge]))[0] == 403
    host = GaugeRow("test", "", "", "system.cpu.utilization", 0.5)
    assert mine.post(a_batch(1, own, agent="scoped", gauges=[host]))[0] == 202
    names = [row["service"] for row in collector.api.get("/services")["services"]]
    assert "mine" in names
    assert "other" not in names


def test_other_paths_and_methods_have_the_envelope_too(sender: Sender) -> None:
    for method, path, status in (
        ("GET", "/agent/v1/batches", 405),
        ("POST", "/agent/v1/commands", 405),
        ("GET", "/agent/v1/nothing", 404),
    ):
        found, body = sender.request(method, path)
        assert (found, body["success"]) == (status, False)
        assert "expected" in body["error"]["message"]
        assert sender.headers["x-content-type-options"] == "nosniff"


def test_live_summaries_are_shown_and_never_stored(tmp: Path) -> None:
    with Collector(tmp) as process, ExitStack() as stack:
        process.start()
        mine = stack.enter_context(Sender(process.port, process.new_key()))
        told: list[float] = []

        def wait_for_news() -> None:
            other = stack.enter_context(Sender(process.port, mine.key))
            told.append(other.commands("agent-1", wait=20)[1]["watchSeconds"])

        agent = threading.Thread(target=wait_for_news)
        agent.start()
        wait_for(lambda: process.api.get("/health") and agent.is_alive(), "the agent to wait")
        # A live read wakes the agent that waits for somebody to watch.
        process.api.get("/services", from_="-10s")
        agent.join(10)
        assert len(told) == 1
        assert 10 < told[0] <= 15
        assert mine.commands("agent-1", wait=0.2)[1] == {
            "watchSeconds": pytest.approx(14, abs=1.5),
            "commands": [],
        }
        now = int(time.time())
        for seq, second in enumerate(range(now - 4, now)):
            points = {key_of(): point_of([1_000] * 5)}
            live = a_batch(seq, points, window_s=second, step_s=1, live=True)
            for _ in range(2):  # a repeat of a live summary adds nothing
                status, body = mine.post(live)
                assert status == 202
                assert body["watchSeconds"] > 0
        row = process.api.get("/services", from_="-10s")["services"][0]
        assert row["requests"] == 20
        assert row["requestsPerSecond"] == pytest.approx(5)
        assert row["accounting"]["counted"] == 0
        assert process.api.get("/routes", from_="-1h")["routes"] == []
        process.stop()
        process.start()
        assert process.api.get("/services", from_="-10s")["services"] == []


def test_a_long_poll_ends_empty_after_its_time_and_does_not_spin(sender: Sender) -> None:
    begun = time.monotonic()
    assert sender.commands("patient", wait=0.3)[1]["commands"] == []
    assert time.monotonic() - begun >= 0.25
    for path in ("?wait=1", "?agent=a&wait=x", "?agent=a&wait=-1", "?agent=a&wait=nan"):
        status, body = sender.request("GET", f"/agent/v1/commands{path}")
        assert (status, body["error"]["code"]) == (422, "bad_parameter")
