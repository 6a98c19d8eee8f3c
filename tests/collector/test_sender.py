"""The sender at work: channels that hang or fail, order, heartbeats, and its end."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.notices import notice
from support.outboxes import Box, box
from support.processes.servers import free_port
from support.processes.stub_collector import Answer, StubCollector
from support.stores.badrows import plant
from trimtab_collector.notify import outbox as outboxes
from trimtab_collector.notify.addresses import AllowedHosts
from trimtab_collector.notify.heartbeat import HEARTBEAT
from trimtab_collector.notify.options import Sending
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.sender import Sender

OK = Answer(200)


def hook(stub: StubCollector, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "url": f"{stub.url}/x", **more}


@asynccontextmanager
async def sending(made: Box, heartbeat_url: str = "") -> AsyncIterator[Sender]:
    outbound = Outbound(AllowedHosts.of(["127.0.0.1"]))
    sender = Sender(made.outbox, made.channels, Sending(outbound), heartbeat_url)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


async def until(found: Callable[[], Any], what: str, timeout_s: float = 10.0) -> None:
    """Let the loop run until something holds."""
    begun = time.monotonic()
    while not found():
        assert time.monotonic() - begun < timeout_s, f"waited {timeout_s:g} s for {what}"
        await asyncio.sleep(0.01)


def kinds(stub: StubCollector) -> list[str]:
    """Return the kinds of the notices that a stub took, in order."""
    return [each.json["kind"] for each in map(Body, stub.asked) if each.status == 200]


class Body:
    def __init__(self, asked: Any) -> None:
        import json

        self.json = json.loads(asked.body)
        self.status = asked.status


@pytest.mark.asyncio
async def test_a_notice_leaves_at_once_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody looks: only the word of who adds can be what wakes the sender.
    monkeypatch.setattr("trimtab_collector.notify.sender._LOOK_S", 3600.0)
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        made.channel("hook", **hook(stub))
        async with sending(made):
            with made.state.change() as connection:
                made.outbox.add(connection, notice())
                # Not before: the transaction may still fail.
                assert stub.asked == []
            await until(lambda: made.states("hook") == {"incident:1": "sent"}, "the message")


@pytest.mark.asyncio
async def test_a_channel_that_hangs_delays_no_other() -> None:
    hangs, free = threading.Event(), threading.Event()

    def hang(body: bytes, number: int) -> Answer:
        hangs.set()
        free.wait(30)
        return OK

    with (
        box(time.time) as made,
        StubCollector(hang) as bad,
        StubCollector(lambda body, number: OK) as good,
    ):
        made.channel("bad", **hook(bad))
        made.channel("good", **hook(good))
        async with sending(made):
            made.add(*(notice("firing", 1, f"i{n}") for n in range(20)))
            await until(lambda: len(good.asked) == 20, "the other channel", 20)
            assert hangs.is_set()
            assert set(made.states("bad").values()) == {"pending"}
            free.set()


@pytest.mark.asyncio
async def test_firing_comes_before_resolved_whatever_fails() -> None:
    def failing(body: bytes, number: int) -> Answer:
        return OK if number % 2 else Answer(503)

    with box(time.time) as made, StubCollector(failing) as stub:
        made.channel("hook", **hook(stub))
        async with sending(made):
            made.add(notice("firing", 1), notice("firing", 1, "other"))
            await until(lambda: len(stub.asked) >= 1, "a first try")
            made.add(notice("resolved", 2))
            await until(lambda: not made.outbox.waiting(), "both to be sent", 20)
        took = [each for each in map(Body, stub.asked) if each.status == 200]
        mine = [each.json["kind"] for each in took if each.json["thread"] == "incident"]
        assert mine in (["firing", "resolved"], ["resolved"])
        # What is sent once is not sent again.
        keys = [each.json["key"] for each in took]
        assert len(keys) == len(set(keys))


@pytest.mark.asyncio
async def test_a_recovery_is_one_message_when_its_channel_was_away() -> None:
    port = free_port()
    with box(time.time) as made:
        made.channel("hook", kind="webhook", url=f"http://127.0.0.1:{port}/")
        async with sending(made):
            made.add(notice("firing", 1))
            await until(lambda: made.errors("hook") != [""], "a failed try")
            made.add(notice("resolved", 2))
            with StubCollector(lambda body, number: OK) as stub:
                made.channel("hook", **hook(stub))
                await until(lambda: not made.outbox.waiting(), "the message", 15)
                assert kinds(stub) == ["resolved"]
                assert made.states("hook") == {"incident:1": "merged", "incident:2": "sent"}


@pytest.mark.asyncio
async def test_the_receiver_is_asked_again_when_it_said() -> None:
    with (
        box(time.time) as made,
        StubCollector(lambda body, n: Answer(429, {"Retry-After": "2"}) if n == 0 else OK) as stub,
    ):
        made.channel("hook", **hook(stub))
        async with sending(made):
            made.add(notice("firing", 1), notice("firing", 1, "other"))
            await until(lambda: not made.outbox.waiting(), "both messages", 15)
        first, second, *_ = stub.asked
        # The other message waited as well: it is the channel that asked for it.
        assert second.at - first.at > 1.9


@pytest.mark.asyncio
async def test_what_a_channel_refuses_for_good_lets_the_next_one_go_at_once() -> None:
    with (
        box(time.time) as made,
        StubCollector(lambda body, number: Answer(400) if number == 0 else OK) as stub,
    ):
        made.channel("hook", **hook(stub))
        async with sending(made):
            made.add(notice("firing", 1, "bad"), notice("firing", 1, "good"))
            await until(lambda: not made.outbox.waiting(), "both messages")
        assert made.states("hook") == {"bad:1": "dead", "good:1": "sent"}


@pytest.mark.asyncio
async def test_what_a_removed_or_switched_off_channel_had_pending_is_given_up() -> None:
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        made.channel("gone", **hook(stub))
        made.channel("off", **hook(stub))
        made.add(notice())
        made.channels.remove("gone", made.admin)
        made.channel("off", **hook(stub, enabled=False))
        async with sending(made):
            await until(lambda: not made.outbox.waiting(), "the end of both")
        assert made.states("gone") == {"incident:1": "dead"}
        assert made.states("off") == {"incident:1": "skipped"}
        assert stub.asked == []


@pytest.mark.asyncio
async def test_a_heartbeat_passes_through_outbox_and_sender() -> None:
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        async with sending(made, f"{stub.url}/ping/token"):
            for number in range(3):
                with made.state.change() as connection:
                    made.outbox.beat(connection, 1000.0 + number)
                await until(lambda: made.states(HEARTBEAT) and not made.outbox.waiting(), "a beat")
        assert stub.asked[-1].path == "/ping/token"
        last = Body(stub.asked[-1]).json
        assert (last["kind"], last["evaluated_s"]) == ("heartbeat", 1002.0)
        assert len(made.states(HEARTBEAT)) == 1


@pytest.mark.asyncio
async def test_heartbeats_that_found_nobody_are_one_when_somebody_listens_again() -> None:
    port = free_port()
    with box(time.time) as made:
        async with sending(made, f"http://127.0.0.1:{port}/ping") as sender:
            for number in range(5):
                with made.state.change() as connection:
                    made.outbox.beat(connection, 1000.0 + number)
            await until(lambda: any(made.errors(HEARTBEAT)), "a failed beat")
            assert len(made.states(HEARTBEAT)) == 1
            assert made.health(channel=HEARTBEAT).last_error is not None
            assert sender.trouble is None


@pytest.mark.asyncio
async def test_it_ends_soon_although_a_message_hangs_and_sends_it_after_the_next_start() -> None:
    free = threading.Event()

    def hang(body: bytes, number: int) -> Answer:
        free.wait(30)
        return OK

    with box(time.time) as made, StubCollector(hang) as stub:
        made.channel("hook", **hook(stub))
        async with sending(made):
            made.add(notice())
            await until(lambda: made.log_attempts("hook") == [1], "the send to begin")
            begun = time.monotonic()
        assert time.monotonic() - begun < 20, "it waited for the answer"
        assert made.states("hook") == {"incident:1": "pending"}
        free.set()
        async with sending(made):
            await until(lambda: made.states("hook") == {"incident:1": "sent"}, "the second try")


@pytest.mark.asyncio
async def test_what_is_delivered_but_cannot_be_marked_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trimtab_collector.notify.sender._LOOK_S", 0.05)
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        made.channel("hook", **hook(stub))
        failures = [OSError("disk full"), OSError("disk full")]
        mark = made.outbox.sent

        def full(*arguments: Any) -> None:
            if failures:
                raise failures.pop()
            mark(*arguments)

        monkeypatch.setattr(made.outbox, "sent", full)
        async with sending(made) as sender:
            made.add(notice())
            await until(lambda: not failures, "the failures")
            await until(lambda: made.states("hook") == {"incident:1": "sent"}, "the mark")
            await until(lambda: sender.trouble is None, "the end of the trouble")
            assert sender.failures == 2
        assert len(stub.asked) == 1


@pytest.mark.asyncio
async def test_a_digest_and_a_mail_wait_their_time_and_machines_do_not() -> None:
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        made.channel("people", **hook(stub, format="discord", rate_per_minute=2))
        made.channel("machine", **hook(stub))
        made.add(*(notice("firing", 1, f"i{n}") for n in range(10)))
        async with sending(made):
            await until(lambda: not made.outbox.waiting(), "all of them")
        people = [each for each in map(Body, stub.asked) if "embeds" in each.json]
        assert len(people) == 2
        assert "9 alerts" in people[1].json["embeds"][0]["title"]
        assert len(stub.asked) == 12


@pytest.mark.asyncio
async def test_alerts_that_go_on_are_renewed_at_an_alertmanager(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trimtab_collector.notify.sender._LOOK_S", 0.05)
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        made.channel("am", kind="alertmanager", url=stub.url, renew_s=10)
        made.add(notice("firing", 1, "a"), notice("firing", 1, "b"), notice("resolved", 2, "b"))
        async with sending(made):
            await until(lambda: not made.outbox.waiting(), "the notices")
            await until(lambda: len(stub.asked) >= 4, "a renewal", 15)
        renewal = Body(stub.asked[-1]).json
        assert [alert["labels"]["alertname"] for alert in renewal] == ["Slow pages"]


@pytest.mark.asyncio
async def test_a_test_message_goes_past_the_queue_and_into_the_log() -> None:
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        made.channel("hook", **hook(stub))
        made.channel("closed", kind="webhook", url=f"http://127.0.0.1:{free_port()}/")
        async with sending(made) as sender:
            good, bad = await sender.find("hook"), await sender.find("closed")
            assert good is not None
            assert bad is not None
            assert await sender.test(good) == (True, "")
            delivered, error = await sender.test(bad)
            assert not delivered
            assert "Connection refused" in error
        assert [*made.states("hook").values()] == ["sent"]
        assert [*made.states("closed").values()] == ["dead"]
        assert Body(stub.asked[0]).json["kind"] == "test"


@pytest.mark.asyncio
async def test_a_row_that_cannot_be_read_costs_no_other_channel() -> None:
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        made.channel("broken", **hook(stub))
        made.channel("good", **hook(stub))
        made.add(notice())
        with made.state.change() as connection:
            plant(connection, "UPDATE delivery SET notice = '{' WHERE channel = 'broken'")
        async with sending(made):
            await until(lambda: made.states("good") == {"incident:1": "sent"}, "the other channel")
            await until(lambda: made.states("broken") == {"incident:1": "dead"}, "its end")


#: a time that no calendar has: every text about it fails
UNWRITABLE = {"since_s": 1e300}


@pytest.mark.asyncio
@pytest.mark.parametrize("form", ["trimtab", "pagerduty", "discord", "teams"])
async def test_what_cannot_be_written_is_told_without_its_figures(form: str) -> None:
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        key = {"routing_key": "k"} if form == "pagerduty" else {}
        made.channel("hook", **hook(stub, format=form, **key))
        made.channel("slack", kind="slack", url=f"{stub.url}/x")
        made.channel("am", kind="alertmanager", url=stub.url)
        async with sending(made) as sender:
            made.add(notice("firing", 1, "bad", **UNWRITABLE))
            await until(lambda: not made.outbox.waiting(), "an end")
            assert sender.failures == 3
        for name in ("hook", "slack", "am"):
            assert made.states(name) == {"bad:1": "sent"}
            (error,) = made.errors(name)
            assert error.startswith("sent without figures: its text cannot be written: Overflow")
        # The Alertmanager has been renewed, too.
        assert len(stub.asked) >= 3
        assert all(b"checkout" in asked.body for asked in stub.asked)


@pytest.mark.asyncio
async def test_what_cannot_be_written_at_all_is_a_dead_letter_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: Any, notice: Any, now_s: float) -> str:
        raise RuntimeError("planted")

    monkeypatch.setattr("trimtab_collector.notify.texts.Texts.title", broken)
    with box(time.time) as made, StubCollector(lambda body, number: OK) as stub:
        made.channel("hook", **hook(stub))
        async with sending(made):
            made.add(notice())
            await until(lambda: not made.outbox.waiting(), "an end")
        assert made.states("hook") == {"incident:1": "dead"}
        assert made.log_attempts("hook") == [1]


@pytest.mark.asyncio
async def test_messages_that_always_fail_hold_up_no_other() -> None:
    def refuse_bad(body: bytes, number: int) -> Answer:
        return Answer(500) if b"bad" in body else OK

    with box(time.time) as made, StubCollector(refuse_bad) as stub:
        made.channel("hook", **hook(stub))
        made.add(*(notice("firing", 1, f"bad{n}") for n in range(3)))
        async with sending(made):
            await until(lambda: len(stub.asked) >= 6, "every bad one to fail twice", 20)
            begun = time.monotonic()
            made.add(*(notice("firing", 1, f"good{n}") for n in range(20)))
            good = [f"good{n}:1" for n in range(20)]
            await until(
                lambda: all(made.states("hook")[key] == "sent" for key in good), "the others", 20
            )
            assert time.monotonic() - begun < 10
            assert {made.states("hook")[f"bad{n}:1"] for n in range(3)} == {"pending"}


@pytest.mark.asyncio
async def test_one_failure_alone_lets_the_next_message_go_at_once() -> None:
    with (
        box(time.time) as made,
        StubCollector(lambda body, n: Answer(500) if b"bad" in body else OK) as stub,
    ):
        made.channel("hook", **hook(stub))
        async with sending(made):
            made.add(notice("firing", 1, "bad"), notice("firing", 1, "good"))
            await until(lambda: made.states("hook")["good:1"] == "sent", "the other")
        assert made.log_attempts("hook")[0] == 1


def test_the_longest_wait_is_shorter_than_a_lease() -> None:
    from trimtab_collector.notify import sender

    assert sender.SEND_S < outboxes.LEASE_S
