"""An agent that is away, frozen, cut off or somebody else: no request fails and all is booked.

Recorded = sent + held + dropped, at any time and exactly; what the peer has read is never there
twice, and what is missing from it is a gap in the numbers.
"""

import asyncio
import logging
import os
import random
import subprocess
import sys
import threading
from itertools import pairwise
from typing import Any

import pytest

from support.processes.drive import Measured, request
from support.processes.peer import Peer
from support.processes.servers import wait_for
from trimtab.runtime import Runtime, flush_all, runtime_for
from trimtab.settings import read_settings
from trimtab_core.messages import Bye, Hello, Samples

#: The smallest buffers that can be set: 1,365 records each.
SMALL = {"buffer_kib": 64, "backlog_kib": 64}
MOST_HELD = 3 * 64 * 1024 // 48


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


class Load:
    """Sends requests into a measured app and knows what the app's books must say."""

    def __init__(self, measured: Measured, **changes: Any) -> None:
        self.settings = measured.settings(**changes)
        self.app = measured.asgi(ok, **changes)
        self.sent = 0

    @property
    def runtime(self) -> Runtime:
        return runtime_for(read_settings(**self.settings))

    def send(self, n: int) -> None:
        """Send n requests, each of which must be answered with 200."""

        async def all_of_them() -> None:
            for _ in range(n):
                assert (await request(self.app)).status == 200

        asyncio.run(all_of_them())
        self.sent += n

    def books(self) -> dict[str, int]:
        """Return the accounting of the app as soon as it adds up to what was sent."""

        def balanced() -> dict[str, int]:
            # A chunk that is just handed from the recorder to the emitter is in neither.
            found = self.runtime.accounting
            return found if sum(found.values()) == self.sent else {}

        return wait_for(balanced, f"accounting of {self.sent} records to balance")


def gaps(ranges: list[tuple[int, int]]) -> int:
    """Return how many numbers are missing; fails when one is there twice or out of order."""
    missing = end = 0
    for first, count in ranges:
        assert first >= end, f"{first} comes after {end}"
        missing += first - end
        end = first + count
    return missing


def finished(peer: Peer) -> Bye:
    """End the app's side and return its last word."""
    before = len(peer.messages(Bye))
    flush_all()
    return peer.wait_for(Bye, before + 1, 20)[-1]


def test_without_an_agent_requests_go_on_and_what_is_dropped_is_counted(
    measured: Measured, caplog: pytest.LogCaptureFixture
) -> None:
    measured.peer.stop()
    load = Load(measured, **SMALL)
    with caplog.at_level(logging.WARNING, "trimtab"):
        for _ in range(10):
            load.send(1000)
            assert load.books()["held"] <= MOST_HELD
    books = load.books()
    assert books["sent"] == 0
    assert books["dropped"] >= 10_000 - MOST_HELD
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, "one warning, however often it was tried"
    assert "requests go on unmeasured" in said[0]
    assert "trimtab agent" in said[0]


def test_an_agent_that_comes_later_gets_all_that_was_held(measured: Measured) -> None:
    measured.peer.stop()
    load = Load(measured)
    load.send(2000)
    assert load.books() == {"sent": 0, "held": 2000, "dropped": 0}
    measured.peer.start()
    measured.peer.wait_records(2000, 20)
    load.send(1)
    measured.records(2001)
    assert measured.peer.messages(Bye)[-1] == Bye(2001, {})


def test_after_a_long_absence_sent_and_dropped_make_up_all(measured: Measured) -> None:
    measured.peer.stop()
    load = Load(measured, **SMALL)
    for _ in range(8):
        load.send(500)
        load.books()
    measured.peer.start()
    measured.peer.wait_for(Hello, timeout_s=20)
    load.send(10)
    bye = finished(measured.peer)
    assert set(bye.dropped) <= {"agent_away", "buffer_full"}
    assert bye.dropped["agent_away"] > 0
    assert bye.sent + sum(bye.dropped.values()) == load.sent == 4010
    assert len(measured.peer.records()) == bye.sent


def test_what_came_too_fast_for_the_buffer_is_counted_as_such(measured: Measured) -> None:
    load = Load(measured, **SMALL, interval_ms=10_000)
    load.send(1)
    measured.peer.wait_for(Hello)
    # The answer to it has been read, too: until then the agent would be away.
    assert load.runtime.flush(5)
    load.send(5000)
    assert load.runtime.flush(5)
    bye = finished(measured.peer)
    assert list(bye.dropped) == ["buffer_full"]
    assert bye.sent + bye.dropped["buffer_full"] == 5001
    assert len(measured.peer.records()) == bye.sent


def test_a_frozen_agent_costs_bounded_memory_and_is_exact_afterwards(measured: Measured) -> None:
    load = Load(measured, **SMALL)
    load.send(100)
    measured.peer.wait_records(100)
    measured.peer.freeze()
    full = 0
    while full < 10:
        # What the socket takes at first, it takes at the emitter's pace.
        load.send(1000)
        full += not load.runtime.flush(0.1)
        assert load.books()["held"] <= MOST_HELD
        assert load.sent < 200_000
    measured.peer.thaw()
    # On a busy machine that takes longer than the end of a process waits.
    assert load.runtime.flush(30)
    bye = finished(measured.peer)
    assert bye.dropped["agent_away"] > 0
    assert bye.sent + sum(bye.dropped.values()) == load.sent
    ((ranges),) = measured.peer.ranges().values()
    assert gaps(ranges) == 0
    assert len(measured.peer.records()) == bye.sent
    assert measured.peer.connections == 1


def test_an_agent_that_dies_while_frozen_loses_only_what_it_was_given(measured: Measured) -> None:
    load = Load(measured)
    load.send(10)
    measured.peer.wait_records(10)
    measured.peer.freeze()
    for _ in range(10):
        load.send(1000)
    # More than a socket takes: some frame has begun and not ended.
    wait_for(lambda: 0 < load.books()["held"] < 10_000, "a part of it to be on its way")
    measured.peer.stop()
    measured.peer.thaw()
    measured.peer.start()
    measured.peer.wait_for(Hello, 2, 20)
    load.send(5)
    bye = finished(measured.peer)
    assert (bye.sent, dict(bye.dropped)) == (10_015, {})
    ((ranges),) = measured.peer.ranges().values()
    again = measured.peer.messages(Hello)[1]
    # The gap is what had been handed over to the end, and the numbers begin again right there.
    assert gaps(ranges) == again.sent - 10 > 0
    assert len(measured.peer.records()) + gaps(ranges) == bye.sent


@pytest.mark.parametrize("read_size", [1, 7, 1000, 65536])
def test_a_connection_that_is_cut_anywhere_repeats_nothing(
    measured: Measured, read_size: int
) -> None:
    rng = random.Random(read_size)
    peer = measured.peer
    peer.read_size = read_size
    # At most a few frames, cut inside hello, routes, or samples alike; then whole connections.
    peer.cut_after = iter([rng.randrange(1, 3000) for _ in range(12)])
    load = Load(measured)
    while peer.connections < 13:
        # More than any cut leaves through, so that each of these ends a connection.
        before = peer.connections
        load.send(100)
        peer.wait(lambda: peer.connections > before, "another connection", 20)  # noqa: B023
    load.send(40)
    bye = finished(peer)
    assert (bye.sent, dict(bye.dropped)) == (load.sent, {})
    ((ranges),) = peer.ranges().values()
    received = len(peer.records())
    last = ranges[-1][0] + ranges[-1][1]
    assert received + gaps(ranges) == last <= bye.sent
    assert peer.errors == []


def test_a_connection_that_is_cut_between_frames_loses_nothing(measured: Measured) -> None:
    load = Load(measured)
    for n in range(1, 6):
        load.send(50)
        measured.peer.wait_records(50 * n, 20)
        measured.peer.cut()
    bye_or_not = measured.peer.records()
    ((ranges),) = measured.peer.ranges().values()
    assert gaps(ranges) == 0
    assert len(bye_or_not) == 250


def test_an_agent_that_answers_garbage_is_left_and_tried_again(measured: Measured) -> None:
    good, measured.peer.answer = measured.peer.answer, b"\xff\xff\xff\xff garbage"
    load = Load(measured)
    load.send(20)
    measured.peer.wait_for(Hello, 2, 20)
    measured.peer.answer = good
    load.send(20)
    # At the end an app does not try twice.
    measured.peer.wait(lambda: measured.peer.connections >= 3, "a good connection", 20)
    bye = finished(measured.peer)
    assert (bye.sent, dict(bye.dropped)) == (40, {})
    ((ranges),) = measured.peer.ranges().values()
    assert len(measured.peer.records()) + gaps(ranges) == 40


def test_frames_of_types_unknown_here_are_skipped(measured: Measured) -> None:
    from trimtab_core.frames import encode

    measured.peer.answer = encode(["command", {"of": "tomorrow"}]) + measured.peer.answer
    load = Load(measured)
    load.send(20)
    assert len(measured.records(20)) == 20
    assert measured.peer.connections == 1


def test_threads_beside_an_agent_that_comes_and_goes_are_counted_exactly(
    measured: Measured,
) -> None:
    load = Load(measured, **SMALL)
    done = threading.Event()

    def come_and_go() -> None:
        while not done.wait(0.02):
            measured.peer.stop()
            measured.peer.start()

    away = threading.Thread(target=come_and_go)
    away.start()
    try:
        for _ in range(20):
            load.send(300)
    finally:
        done.set()
        away.join(20)
    measured.peer.wait(lambda: measured.peer.connections > 0, "a connection", 20)
    load.send(1)
    books = load.books()
    bye = finished(measured.peer)
    assert bye.sent + sum(bye.dropped.values()) == load.sent == 6001
    assert books["dropped"] <= sum(bye.dropped.values())
    ((ranges),) = measured.peer.ranges().values()
    last = ranges[-1][0] + ranges[-1][1]
    assert len(measured.peer.records()) + gaps(ranges) == last <= bye.sent


#: An agent of another user: says so when it listens, then how many bytes it was sent.
STRANGER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
listener.bind(sys.argv[1]); listener.listen()
print("listening", flush=True)
connection, _ = listener.accept()
connection.settimeout(10)
received = 0
while data := connection.recv(4096):
    received += len(data)
print(received, flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
def test_an_agent_of_another_user_hears_nothing(
    measured: Measured, caplog: pytest.LogCaptureFixture
) -> None:
    path = measured.peer.path.with_name("b.sock")
    path.parent.chmod(0o777)
    command = [sys.executable, "-c", STRANGER, str(path)]
    with (
        caplog.at_level(logging.WARNING, "trimtab"),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stranger,
    ):
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "listening\n"
        load = Load(measured, agent=f"unix://{path}")
        load.send(50)
        assert stranger.stdout.readline() == "0\n"
        assert stranger.wait(10) == 0
        wait_for(lambda: "uid 65534, expected one of [0]" in caplog.text, "the warning")
    assert load.books() == {"sent": 0, "held": 50, "dropped": 0}


def test_a_socket_file_that_nobody_listens_on_is_an_agent_that_is_away(
    measured: Measured,
) -> None:
    path = measured.peer.path.with_name("c.sock")
    path.write_text("no socket")
    load = Load(measured, agent=f"unix://{path}")
    load.send(30)
    assert load.books() == {"sent": 0, "held": 30, "dropped": 0}


def test_an_address_over_tcp_is_an_agent_that_is_away(measured: Measured) -> None:
    load = Load(measured, agent="tcp://127.0.0.1:1")
    load.send(30)
    assert load.books() == {"sent": 0, "held": 30, "dropped": 0}


def test_samples_carry_a_clock_pair_that_grows(measured: Measured) -> None:
    load = Load(measured)
    for n in range(1, 4):
        load.send(10)
        measured.peer.wait_records(10 * n)
    samples = measured.peer.messages(Samples)
    for one, two in pairwise(samples):
        assert one.mono_us <= two.mono_us
        assert abs((two.wall_us - one.wall_us) - (two.mono_us - one.mono_us)) < 1_000_000
    assert all(dropped == {} for dropped in (sample.dropped for sample in samples))
