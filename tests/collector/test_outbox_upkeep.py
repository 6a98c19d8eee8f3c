"""What the outbox forgets, what it says of itself, and the laws that hold whatever happens."""

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.notices import notice
from support.outboxes import Box, box
from trimtab_collector.notify import deliveries
from trimtab_collector.notify.outbox import Lease


@pytest.fixture
def mail() -> Iterator[Box]:
    """One channel of mail, named ops."""
    with box() as made:
        made.channel("ops")
        yield made


def test_the_log_forgets_what_is_old_but_nothing_that_is_pending(mail: Box) -> None:
    mail.add(notice("firing", 1, "done"))
    mail.deliver("ops")
    mail.add(notice("firing", 1, "waits"))
    mail.clock.advance_s(deliveries.KEEP_S + 1)
    mail.outbox.tidy()
    assert mail.states("ops") == {"waits:1": "pending"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "send", "fail", "refuse", "wait", "kill"]), st.integers(0, 2)
    ),
    max_size=40,
)


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_whatever_happens_each_notice_leaves_once_and_in_order(
    steps: list[tuple[str, int]],
) -> None:
    with box() as made:
        made.channel("ops")
        numbers, delivered = [0, 0, 0], [[], [], []]  # type: ignore[var-annotated]
        refused: set[str] = set()

        def turn(what: str) -> None:
            lease = made.outbox.take("ops", "me", 6)
            if not isinstance(lease, Lease) or what == "kill":
                return
            if what == "send":
                made.outbox.sent(lease)
                for each in lease.message.notices:
                    delivered[int(each.thread)].append(int(each.key.partition(":")[2]))
            else:
                made.outbox.failed(lease, "no", lasting=what == "refuse")
                refused.update(key for _, key in lease.rows if what == "refuse")

        for what, thread in steps:
            if what == "add":
                numbers[thread] += 1
                made.add(
                    notice(
                        "firing" if numbers[thread] % 2 else "resolved",
                        numbers[thread],
                        str(thread),
                    )
                )
            elif what == "wait":
                made.clock.advance_s(20)
            else:
                turn(what)
        made.clock.advance_s(400)
        while made.outbox.waiting():
            turn("send")
            made.clock.advance_s(10)
        for thread, seen in enumerate(delivered):
            assert seen == sorted(set(seen))
            newest = numbers[thread]
            if newest and f"{thread}:{newest}" not in refused:
                assert seen[-1] == newest
        assert set(made.states("ops").values()) <= {"sent", "merged", "dead"}


def test_rows_are_found_by_an_index_however_long_the_log_is(mail: Box) -> None:
    plan = mail.state.rows(
        "EXPLAIN QUERY PLAN SELECT id FROM delivery WHERE state = 'pending' AND channel = 'ops'"
        " ORDER BY id LIMIT 500"
    )
    assert "delivery_pending" in str(plan)
    with pytest.raises(sqlite3.IntegrityError), mail.state.change() as connection:
        connection.execute("INSERT INTO delivery (channel, key) VALUES ('ops', 'x')")
