"""What the health of the collector says of channels."""

from collections.abc import Iterator

import pytest

from support.notices import notice
from support.outboxes import ADMIN, Box, box
from trimtab_collector.contract.callers import NOBODY
from trimtab_collector.contract.channels import NotifyHealth


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
