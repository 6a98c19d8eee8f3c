"""Messages that fail or that are damaged: none holds up another, and none breaks a read."""

from collections.abc import Iterator

import msgspec
import pytest

from support.notices import notice
from support.outboxes import ADMIN, Box, box
from support.stores.badrows import plant
from trimtab_collector.notify.outbox import Lease


@pytest.fixture
def mail() -> Iterator[Box]:
    """One channel of mail, named ops."""
    with box() as made:
        made.channel("ops")
        yield made


def test_while_sending_fails_an_alert_that_failed_goes_after_those_that_did_not(mail: Box) -> None:
    mail.add(notice("firing", 1, "bad"), notice("firing", 1, "good", severity="warning"))
    mail.outbox.failed(mail.take("ops"), "no")
    mail.clock.now_s += 3600
    first = mail.outbox.take("ops", "me", wary=True)
    assert isinstance(first, Lease)
    assert first.message.thread == "good"
    # Once one was delivered, urgency counts again.
    mail.add(notice("firing", 1, "other", severity="warning"))
    assert mail.take("ops").message.thread == "bad"


@pytest.mark.parametrize(
    "damage",
    [
        "notice = replace(notice, '1764511380.0', '1e300')",
        "notice = replace(notice, '5230.0', '1.7e308')",
        "notice = '{'",
        "notice = x'ff'",
        "added_s = 1e300, due_s = 1e300, done_s = 'x'",
        "due_s = -1e300, done_s = 1e300",
        "addresses = '{'",
    ],
)
def test_a_row_that_is_damaged_breaks_no_read_of_the_log(mail: Box, damage: str) -> None:
    mail.add(notice("firing", 1, "bad"), notice("firing", 1, "good"))
    with mail.state.change() as connection:
        plant(connection, f"UPDATE delivery SET {damage} WHERE thread = 'bad'")
    rows, left_out = mail.log.rows(0.0, 1e301, None, "any", 10)
    assert left_out == 0
    assert {row.thread for row in rows} == {"bad", "good"}
    assert msgspec.json.encode(rows)
    mail.log.health(ADMIN, mail.clock())
    taken = [mail.outbox.take("ops", "me") for _ in range(3)]
    found = [each.message.thread for each in taken if isinstance(each, Lease)]
    assert "good" in found


def test_a_name_that_is_no_text_does_not_stop_who_judges(mail: Box) -> None:
    mail.add(notice(rule_name="a\ud800b", thread="\udfff", description="\ud800"))
    assert mail.take("ops").message.notices[0].rule_name == "a?b"
