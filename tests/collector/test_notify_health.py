"""What the health of the collector says of channels."""

from collections.abc import Iterator

import pytest

from support.notices import notice
from support.outboxes import ADMIN, Box, box
from trimtab_collector.contract.callers import NOBODY
from trimtab_collector.contract.channels import NotifyHealth
from trimtab_collector.contract.errors import instant
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.deliveries import REMOVED


@pytest.fixture
def mail() -> Iterator[Box]:
    """One channel of mail, named ops."""
    with box() as made:
        made.channel("ops")
        yield made


def test_the_health_names_what_waits_and_why(mail: Box) -> None:
    mail.add(notice("firing", 1, "a"), notice("firing", 1, "b"))
    mail.outbox.failed(mail.take("ops"), "mail.example.com: connection refused")
    mail.clock.advance_s(30)
    found = mail.health()
    assert (found.pending, found.dead, found.oldest_pending_seconds) == (2, 0, 30.0)
    assert found.last_error == "mail.example.com: connection refused"
    # Who may not read is not told the names of hosts.
    assert mail.health(NOBODY).last_error is None
    assert not mail.log.health(ADMIN, mail.clock()).degraded
    mail.clock.advance_s(300)
    assert mail.log.health(ADMIN, mail.clock()).degraded
    mail.outbox.give_up("ops", "dead", "the channel was removed")
    assert mail.health().dead == 2


def test_an_error_that_was_overcome_is_not_the_last_one(mail: Box) -> None:
    mail.add(notice("firing", 1, "a"))
    mail.outbox.failed(mail.take("ops"), "refused", lasting=True)
    assert mail.health().last_error == "refused"
    mail.clock.advance_s(30)
    mail.add(notice("firing", 1, "b"))
    mail.deliver("ops")
    assert (mail.health().dead, mail.health().last_error) == (1, None)


def test_a_channel_that_was_removed_is_not_in_the_health(mail: Box) -> None:
    mail.add(notice("firing", 1, "a"))
    body = mail.log.health(ADMIN, mail.clock(), known={"other"}).body
    assert isinstance(body, NotifyHealth)
    assert "ops" not in body.channels


def test_a_channel_fails_from_its_first_message_that_does_not_get_through(mail: Box) -> None:
    mail.add(notice("firing", 1, "a"))
    mail.deliver("ops")
    assert mail.failing() is None
    mail.clock.advance_s(60)
    mail.add(notice("firing", 1, "b"))
    begun_s = mail.clock()
    mail.outbox.failed(mail.take("ops"), "refused")
    mail.clock.advance_s(120)
    mail.add(notice("firing", 1, "c"))
    found = mail.failing()
    assert found is not None
    assert (found.since, found.error, found.late) == (instant(begun_s), "refused", False)
    mail.clock.advance_s(300)
    found = mail.failing()
    assert found is not None
    assert found.late
    mail.deliver("ops")
    mail.deliver("ops")
    assert mail.failing() is None


def test_an_alert_that_was_refused_for_good_degrades_until_something_gets_through(
    mail: Box,
) -> None:
    mail.add(notice("firing", 1, "a"))
    mail.outbox.failed(mail.take("ops"), "550 no such person", lasting=True)
    mail.clock.advance_s(301)
    assert mail.log.health(ADMIN, mail.clock()).degraded
    mail.clock.advance_s(2 * 86_400)
    found = mail.failing()
    assert found is not None
    # The channel is broken still, but nobody waits for that message any more.
    assert (found.error, found.late) == ("550 no such person", False)
    mail.add(notice("firing", 1, "b"))
    mail.deliver("ops")
    assert mail.failing() is None
    assert not mail.log.health(ADMIN, mail.clock()).degraded


def test_a_test_that_fails_shows_on_its_channel_and_degrades_nothing(mail: Box) -> None:
    entry = mail.channels.get("ops")
    assert entry is not None
    message = Message("test:1", (notice("test", 1, "t"),), mail.clock())
    mail.outbox.record(entry, message, "refused", delivered=False)
    mail.clock.advance_s(301)
    found = mail.failing()
    assert found is not None
    assert (found.error, found.late) == ("refused", False)
    assert not mail.log.health(ADMIN, mail.clock()).degraded


def test_a_channel_made_anew_does_not_fail_for_what_the_one_before_left(mail: Box) -> None:
    mail.add(notice("firing", 1, "a"))
    mail.outbox.give_up("ops", "dead", REMOVED)
    assert mail.failing() is None
