"""By how much the windows of a wrong clock are moved: surely, steadily, each to its own place."""

import time
from itertools import pairwise
from random import Random

import pytest

from support.processes.servers import Collector, short_dir
from support.stores.batches import Sender, a_batch, key_of, point_of
from trimtab_collector.senders import Senders, offset_of
from trimtab_core.batches import CLOCK_HEADER, SentAt


def offsets(*measured: float, boots: bytes = b"") -> list[int]:
    """Return the offsets of batches whose clocks were that far ahead."""
    senders, found = Senders(), []
    for place, ahead_s in enumerate(measured):
        boot = boots[place : place + 1]
        told = senders.told("web", ahead_s, SentAt(0.0, 0.0, boot))
        senders.note("web", told)
        found.append(offset_of(told, ahead_s))
    return found


@pytest.mark.parametrize("ahead_s", [-50, -35, -8])
def test_a_clock_that_is_behind_is_so_after_a_few_requests(ahead_s: int) -> None:
    assert offsets(*[ahead_s] * 5) == [0, 0, ahead_s, ahead_s, ahead_s]


@pytest.mark.parametrize("ahead_s", [8, 35, 50, 100, -100, -9000])
def test_a_clock_that_is_surely_off_is_so_at_once(ahead_s: int) -> None:
    assert offsets(*[ahead_s] * 3) == [ahead_s] * 3


def test_time_on_the_way_moves_no_window() -> None:
    chance = Random(1)
    late = [-chance.choice((0.0, 0.2, 1.0, 4.0, 25.0)) for _ in range(200)]
    for place in range(0, 200, 3):
        late[place] = -chance.random()
    assert set(offsets(*late)) == {0}
    assert set(offsets(*(each - 40 for each in late))[3:]) == {-40}


def test_a_clock_at_the_threshold_does_not_flap() -> None:
    chance = Random(2)
    found = offsets(*(-5 + chance.uniform(-1.5, 1.5) for _ in range(300)))
    assert sum(one != other for one, other in pairwise(found)) <= 1


def test_a_clock_that_is_set_right_is_right_at_once() -> None:
    assert offsets(-35, -35, -35, 0, 0)[2:] == [-35, 0, 0]
    assert offsets(300, 300, 0, 0) == [300, 300, 0, 0]


def test_an_agent_that_starts_again_keeps_its_offset() -> None:
    assert offsets(-35, -35, -35, -37, -34, boots=b"aaabb") == [0, 0, -35, -35, -35]


@pytest.mark.parametrize("behind_s", [35, 50])
def test_the_windows_of_a_clock_that_is_a_little_behind_are_booked_by_ours_one_by_one(
    collector: Collector, sender: Sender, behind_s: int
) -> None:
    service = f"behind{behind_s}"
    begin_s = int(time.time()) // 10 * 10 - 120
    for seq in range(10):
        sender.more = {CLOCK_HEADER: f"{time.time() - behind_s:.3f}"}
        batch = a_batch(
            seq,
            {key_of(service=service): point_of([5])},
            agent=service,
            window_s=begin_s + 10 * seq - behind_s // 10 * 10,
        )
        assert sender.post(batch)[0] == 202
    asked = {"service": service, "step": 10, "from_": str(begin_s), "to": str(begin_s + 110)}
    rows = collector.api.get("/metrics/history", **asked)["series"]
    assert [row["requests"] for row in rows] == [1] * len(rows)
    assert len(rows) >= 8
    skews = collector.api.get("/health")["clockSkewSeconds"]
    assert skews[service] == pytest.approx(-behind_s, abs=2)


def shared_after(*turns: tuple[int, bytes]) -> bool:
    """Return whether an agent is shared after requests of processes at these seconds."""
    senders = Senders()
    for now_s, boot in turns:
        told = senders.told("web", 0.0, SentAt(0.0, 0.0, boot), now_s=now_s)
        senders.note("web", told, now_s)
    return senders.shared(turns[-1][0]) == ["web"]


def test_agents_that_send_in_turns_are_two() -> None:
    assert shared_after((0, b"a"), (5, b"b"), (10, b"a"), (15, b"b"))
    assert shared_after(*((number, b"abc"[number % 3 : number % 3 + 1]) for number in range(9)))
    # An agent that starts again and again, and one whose last request was held up on its way.
    assert not shared_after(*((number, bytes([number])) for number in range(9)))
    assert not shared_after((0, b"a"), (5, b"b"), (6, b"a"), (15, b"b"), (400, b"b"))


def test_two_agents_that_are_no_longer_so_are_told_no_more() -> None:
    turns = ((0, b"a"), (5, b"b"), (10, b"a"), (15, b"b"))
    assert not shared_after(*turns, (400, b"b"))


def test_two_agents_under_one_name_are_named() -> None:
    with short_dir() as directory, Collector(directory).start() as collector:
        with Sender(collector.port, collector.new_key()) as sender:
            for seq in range(4):
                boot = (b"12345678", b"87654321")[seq % 2]
                sender.more = {CLOCK_HEADER: SentAt(time.time(), 5.0, boot).header()}
                batch = a_batch(seq, {key_of(): point_of([5])}, agent="cloned")
                assert sender.post(batch)[0] == 202
        health = collector.api.get("/health")
        assert health["agents"]["shared"] == ["cloned"]
        assert health["status"] == "degraded"
        agents = collector.api.get("/agents")["agents"]
        assert {agent["name"] for agent in agents if agent["shared"]} == {"cloned"}
        collector.wait_line("two agents send as cloned")
