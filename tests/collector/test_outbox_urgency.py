"""The outbox in a storm: what is critical leaves first and is given up last."""

from collections.abc import Iterator
from datetime import UTC

import pytest

from support.notices import notice
from support.outboxes import Box, box
from trimtab_collector.notify import deliveries
from trimtab_collector.notify.texts import Texts


@pytest.fixture
def mail() -> Iterator[Box]:
    """One channel of mail, named ops."""
    with box() as made:
        made.channel("ops")
        yield made


def test_a_critical_message_is_given_up_last(mail: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MAX_PENDING", 3)
    mail.add(notice("firing", 1, "worst"))
    mail.add(*(notice("firing", 1, f"i{n}", severity="warning") for n in range(5)))
    kept = [key for key, state in mail.states("ops").items() if state == "pending"]
    assert kept == ["worst:1", "i3:1", "i4:1"]
    mail.add(*(notice("firing", 1, f"w{n}") for n in range(3)))
    kept = [key for key, state in mail.states("ops").items() if state == "pending"]
    assert kept == ["w0:1", "w1:1", "w2:1"]


def test_critical_alerts_leave_first_and_are_counted_behind_any_storm(
    mail: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_LOOK", 4)
    mail.add(*(notice("firing", 1, f"i{n}", severity="warning") for n in range(8)))
    mail.add(notice("firing", 1, "worst"), notice("escalated", 2, "i7"))
    # Also of a critical alert nothing overtakes what was added before.
    assert mail.deliver("ops", 9).message.notices[0].key == "i7:1"
    found = mail.take("ops", 2).message
    assert [each.thread for each in found.notices] == ["i0", "i1", "worst", "i7"]
    assert Texts("en", UTC, "").write(found).title == "[digest] 4 alerts, 2 of them critical"
