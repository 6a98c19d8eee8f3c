"""The outbox: who gets what, in which order, how often, and what becomes of what does not leave."""

import itertools
from collections.abc import Iterator
from datetime import UTC

import pytest

from support.notices import AT_S, notice
from support.outboxes import ADMIN, Box, box
from trimtab_collector.notify import deliveries, outbox
from trimtab_collector.notify.heartbeat import HEARTBEAT
from trimtab_collector.notify.notice import Member, Where
from trimtab_collector.notify.outbox import Lease, Wait
from trimtab_collector.notify.texts import Texts


@pytest.fixture
def mail() -> Iterator[Box]:
    """One channel of mail, named ops."""
    with box() as made:
        made.channel("ops")
        yield made


def test_a_notice_is_kept_only_with_the_transaction_that_made_it(mail: Box) -> None:
    def judge() -> None:
        with mail.state.change() as connection:
            mail.outbox.add(connection, notice())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        judge()
    assert mail.outbox.take("ops", "me") is None


def test_the_same_key_is_added_once(mail: Box) -> None:
    mail.add(notice(), notice())
    mail.deliver("ops")
    mail.add(notice())
    assert mail.outbox.take("ops", "me") is None


def test_a_lease_keeps_a_message_from_others_until_it_ends(mail: Box) -> None:
    mail.add(notice())
    mail.take("ops")
    waits = mail.outbox.take("ops", "another")
    assert waits == Wait(AT_S + outbox.LEASE_S)
    mail.clock.advance_s(outbox.LEASE_S)
    again = mail.outbox.take("ops", "another")
    assert isinstance(again, Lease)
    assert again.message.key == "incident:1:ops"
    assert again.attempts == 2


def test_who_lost_the_lease_marks_nothing(mail: Box) -> None:
    mail.add(notice())
    late = mail.take("ops")
    mail.clock.advance_s(outbox.LEASE_S)
    assert isinstance(mail.outbox.take("ops", "another"), Lease)
    mail.outbox.sent(late)
    assert mail.states("ops") == {"incident:1": "pending"}


def test_leases_of_a_collector_that_was_killed_are_free_at_the_next_start(mail: Box) -> None:
    mail.add(notice())
    mail.take("ops")
    mail.outbox.free()
    assert mail.outbox.take("ops", "me") == Wait(AT_S + 1)


def test_firing_leaves_before_resolved_and_other_alerts_do_not_wait(mail: Box) -> None:
    mail.add(notice("firing", 1), notice("resolved", 2), notice("firing", 1, "other"))
    first = mail.take("ops")
    assert first.message.notices[0].kind == "firing"
    # While the first is being sent, the second of the same alert waits, the other alert does not.
    assert mail.take("ops").message.thread == "other"
    assert isinstance(mail.outbox.take("ops", "me"), Wait)
    mail.outbox.sent(first)
    assert mail.take("ops").message.notices[0].kind == "resolved"


def test_a_recovery_whose_firing_never_left_goes_in_its_place(mail: Box) -> None:
    mail.add(notice("firing", 1))
    mail.outbox.failed(mail.take("ops"), "no")
    mail.add(notice("resolved", 2))
    mail.clock.advance_s(1)
    found = mail.deliver("ops").message
    assert (found.notices[0].kind, found.stands_for) == ("resolved", 2)
    assert mail.states("ops") == {"incident:1": "merged", "incident:2": "sent"}


def test_what_waited_for_over_a_minute_is_merged_too(mail: Box) -> None:
    mail.add(notice("firing", 1), notice("escalated", 2))
    mail.clock.advance_s(61)
    assert mail.deliver("ops").message.notices[0].kind == "escalated"
    assert mail.outbox.take("ops", "me") is None


def test_tries_are_a_second_to_five_minutes_apart_and_end_after_a_day(mail: Box) -> None:
    mail.add(notice())
    waits = []
    while True:
        taken = mail.outbox.take("ops", "me")
        if taken is None:
            break
        assert isinstance(taken, Lease)
        due_s = mail.outbox.failed(taken, "connection refused")
        waits.append(due_s - mail.clock())
        mail.clock.now_s = due_s
    assert waits[:4] == [1, 2, 4, 8]
    assert set(waits[10:]) == {300.0}
    assert 280 < len(waits) < 310
    assert mail.states("ops") == {"incident:1": "dead"}
    assert mail.errors("ops") == ["not delivered within 24 hours; last: connection refused"]


def test_half_of_a_wait_is_by_chance_also_at_its_longest() -> None:
    with box() as made:
        shares = [
            outbox.Outbox(made.state, made.channels, random_share=itertools.repeat(share).__next__)
            for share in (0.0, 1.0)
        ]
        assert [each.backoff_s(50) for each in shares] == [150, 300]
        assert [each.backoff_s(1) for each in shares] == [1, 1]


def test_the_receiver_says_when_it_wants_to_be_asked_again(mail: Box) -> None:
    mail.add(notice())
    mail.outbox.failed(mail.take("ops"), "429", retry_after_s=90)
    assert mail.outbox.take("ops", "me") == Wait(AT_S + 90)


def test_a_clock_that_is_put_back_keeps_nothing_waiting(mail: Box) -> None:
    mail.add(notice("firing", 1), notice("firing", 1, "other"))
    mail.outbox.failed(mail.take("ops"), "no")
    mail.deliver("ops", 1)
    mail.clock.advance_s(-86_400)
    assert mail.deliver("ops", 1).message.thread == "incident"


def test_what_is_refused_for_good_is_a_dead_letter_and_lets_the_next_one_go(mail: Box) -> None:
    mail.add(notice("firing", 1), notice("resolved", 2))
    mail.outbox.failed(mail.take("ops"), "answered 400", lasting=True)
    assert mail.states("ops") == {"incident:1": "dead", "incident:2": "pending"}
    assert mail.take("ops").message.notices[0].kind == "resolved"


def test_over_the_rate_all_that_wait_come_as_one_digest(mail: Box) -> None:
    mail.add(*(notice("firing", 1, f"i{n}") for n in range(10)))
    mail.add(notice("resolved", 2, "i5"))
    for _ in range(2):
        assert not mail.deliver("ops", 3).message.is_digest
    digest = mail.deliver("ops", 3).message
    assert [each.thread for each in digest.notices] == [
        *("i2", "i3", "i4", "i6", "i7", "i8", "i9", "i5")
    ]
    assert digest.notices[-1].kind == "resolved"
    assert digest.stands_for == 9
    mail.add(notice("firing", 1, "late"))
    assert mail.outbox.take("ops", "me", 3) == Wait(AT_S + 60)
    mail.clock.advance_s(60)
    assert not mail.deliver("ops", 3).message.is_digest


def test_the_rate_holds_over_a_restart(mail: Box) -> None:
    mail.add(*(notice("firing", 1, f"i{n}") for n in range(2)))
    mail.deliver("ops", 1)
    mail.add(notice("firing", 1, "new"))
    again = outbox.Outbox(mail.state, mail.channels, clock=mail.clock)
    assert isinstance(again.take("ops", "me", 1), Wait)


def test_notices_without_recipients_go_to_the_channels_that_are_on_by_default(mail: Box) -> None:
    mail.channel("off", enabled=False)
    mail.channel("asked", default=False)
    mail.add(notice())
    assert sorted(mail.outbox.waiting()) == ["ops"]
    mail.add(notice("firing", 2, recipients=("asked", "off")))
    assert sorted(mail.outbox.waiting()) == ["asked", "ops"]
    assert mail.states("off") == {"incident:2": "skipped"}


def test_mail_addresses_go_by_the_channel_of_mail_with_its_own_when_it_is_named(mail: Box) -> None:
    mail.add(notice("firing", 1, "a", recipients=("ada@x.org", "bob@x.org")))
    mail.add(notice("firing", 1, "b", recipients=("ops", "ada@x.org")))
    assert mail.take("ops").message.addresses == ("ada@x.org", "bob@x.org")
    assert mail.take("ops").message.addresses == ("ops@x.org", "ada@x.org")


def test_a_digest_goes_to_nobody_to_whom_its_alerts_do_not(mail: Box) -> None:
    mail.add(notice("firing", 1, "a", recipients=("ada@x.org",)))
    mail.add(notice("firing", 1, "b"), notice("firing", 1, "c", recipients=("ada@x.org",)))
    found = mail.take("ops", 1).message
    assert [each.thread for each in found.notices] == ["a", "c"]
    assert found.addresses == ("ada@x.org",)


def test_recipients_that_lead_nowhere_are_dead_letters_where_nobody_else_is() -> None:
    with box() as made:
        made.channel("shy", default=False)
        made.add(notice(recipients=("nobody",)))
        assert made.states("nobody") == {"incident:1": "dead"}
        assert made.errors("nobody") == ["expected a channel, got 'nobody': none has it"]
        assert made.states("shy") == {}


def test_what_is_no_mail_address_is_a_dead_letter_at_once(mail: Box) -> None:
    mail.add(notice(recipients=("x@y\r\nBcc: z",)))
    assert mail.states("ops") == {"incident:1": "dead"}
    assert mail.errors("ops") == ["expected mail addresses, got 'x@y\\r\\nBcc: z'"]


def test_channels_that_are_on_by_default_take_the_place_of_one_that_is_gone(mail: Box) -> None:
    mail.channel("asked", default=False)
    mail.channel("gone")
    mail.channels.remove("gone", ADMIN)
    mail.add(notice(recipients=("gone", "asked")))
    assert mail.states("gone") == {}
    assert mail.states("asked") == mail.states("ops") == {"incident:1": "pending"}
    message = mail.take("ops").message
    assert message.notices[0].lost_recipients == ("gone",)
    for lang, line in (
        ("en", "It comes here because no channel is named as its rule says: gone."),
        ("ko", "규칙이 지정한 채널이 없어 여기로 보냅니다: gone."),
    ):
        assert Texts(lang, UTC, "").write(message).lead.endswith(line)


def test_what_is_for_the_live_stream_goes_to_no_channel(mail: Box) -> None:
    mail.add(notice(recipients=("live",)), notice("firing", 2, recipients=("live", "ops")))
    assert mail.states("ops") == {"incident:2": "pending"}
    assert mail.states("live") == {}


def test_addresses_without_a_channel_of_mail_are_a_dead_letter() -> None:
    with box() as made:
        made.add(notice(recipients=("ada@x.org",)))
        assert made.states("smtp") == {"incident:1": "dead"}


def test_a_channel_for_critical_alerts_hears_of_the_end_of_what_it_heard_of(mail: Box) -> None:
    mail.channel("pager", severity="critical")
    mail.add(notice("firing", 1, "mild", severity="warning"))
    mail.add(notice("resolved", 2, "mild", severity="warning"))
    assert mail.states("pager") == {}
    mail.add(notice("firing", 1, "bad"))
    mail.deliver("pager")
    mail.add(notice("resolved", 2, "bad", severity="warning"))
    assert mail.deliver("pager").message.notices[0].kind == "resolved"


def test_a_channel_knows_what_it_last_had_of_an_alert(mail: Box) -> None:
    mail.add(notice("firing", 1, severity="warning"))
    assert mail.deliver("ops").message.before is None
    mail.add(notice("escalated", 2))
    before = mail.deliver("ops").message.before
    assert before is not None
    assert before.severity == "warning"
    assert [each.kind for each in mail.outbox.standing("ops")] == ["escalated"]
    mail.add(notice("resolved", 3))
    mail.deliver("ops")
    assert mail.outbox.standing("ops") == []


def test_what_a_channel_has_pending_is_bounded(mail: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MAX_PENDING", 5)
    mail.add(*(notice("firing", 1, f"i{n}") for n in range(8)))
    states = [*mail.states("ops").values()]
    assert states == ["dead"] * 3 + ["pending"] * 5


def test_a_notice_is_cut_to_what_is_kept(mail: Box) -> None:
    members = tuple(Member(Where(instance="x" * 9999), 1.0, "warning", AT_S) for _ in range(500))
    mail.add(notice(members=members, members_left_out=7, description="x" * 99_999))
    ((size,),) = mail.state.rows("SELECT length(notice) FROM delivery")
    assert size < 32_768
    kept = mail.take("ops").message.notices[0]
    assert len(kept.members) + kept.members_left_out == 507


def test_only_the_newest_heartbeat_matters(mail: Box) -> None:
    for second in (0, 60, 120):
        with mail.state.change() as connection:
            mail.outbox.beat(connection, AT_S + second)
    lease = mail.take(HEARTBEAT)
    assert lease.message.notices[0].at_s == AT_S + 120
    with mail.state.change() as connection:
        mail.outbox.beat(connection, AT_S + 180)
    # The one that is being sent is not the newest any more: its end changes nothing.
    mail.outbox.sent(lease)
    assert [*mail.states(HEARTBEAT).values()] == ["pending"]
    mail.clock.advance_s(outbox.LEASE_S)
    mail.deliver(HEARTBEAT)
    assert mail.states(HEARTBEAT) == {f"heartbeat:{AT_S + 180:.0f}": "sent"}
