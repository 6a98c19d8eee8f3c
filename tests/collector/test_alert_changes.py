"""What changed with an alert: its page says what the message says, and where it leads."""

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from support.stores.alertworld import AlertWorld, alert_world, asked, config
from trimtab_collector.alertchanges import ChangesOfAlerts
from trimtab_collector.alerts.evaluator import Evaluator
from trimtab_collector.circumstances import Circumstances
from trimtab_collector.contract.errors import ApiError, epoch
from trimtab_collector.marks import Marks
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.texts import Texts
from trimtab_collector.objectives.slos import SloBook
from trimtab_collector.overview.wording import OverviewWords
from trimtab_collector.reads.reader import StoreReader


class World:
    def __init__(self, found: AlertWorld) -> None:
        self.found = found
        self.marks = Marks(found.state, found.clock)
        judged = Circumstances(
            StoreReader(found.store), SloBook(found.state, found.clock), self.marks
        )
        found.evaluator = Evaluator(
            *(found.store, found.state, found.rules, found.silences, found.book, found.sink),
            explain=judged.changes, clock=found.clock,
        )  # fmt: skip
        self.changes = ChangesOfAlerts(found.book, judged.changes)


def make(found: AlertWorld, **fields: object) -> None:
    found.rules.change("mine", config(**fields), asked(found))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with alert_world(tmp_path) as found:
        yield World(found)


def test_the_page_says_what_the_message_says(world: World) -> None:
    found = world.found
    make(found, name="checkout fails", metric="errorRate", operator="gt", warning=0.05)
    found.pass_windows(30, 20)
    world.marks.add("deploy", "v2", "test", "shop")
    found.pass_windows(5, 20, errors=25)
    world.marks.add("deploy", "v3", "test", "shop")
    found.pass_windows(4, 20, errors=25)
    notice = next(each for each in found.sink.taken if each.rule_name == "checkout fails")
    # As it would be told now: the message went before the second deploy.
    written = Texts("en", UTC, "").write(Message("k", (notice,), found.clock.now_s))
    said = dict(written.sections)["What changed with it"]
    (alert,) = [each for each in found.book.open() if each.rule_name == "checkout fails"]
    changes = world.changes.of(alert.id, asked(found))
    assert [each.text for each in changes] == list(said)
    assert [each.kind for each in changes] == ["mark", "errors"]
    deploy, errors = changes
    assert "v2" in deploy.text, "what was deployed later is no cause"
    assert deploy.at is not None
    assert epoch(deploy.at) <= epoch(alert.since)
    assert "GET /" in errors.text
    assert errors.page is not None
    assert errors.page.page == "requests"
    place = {"environment": "test", "service": "shop", "route": "/", "method": "GET"}
    assert place.items() <= errors.page.params.items()


def test_of_an_alert_that_is_over_it_is_of_the_time_in_which_it_was_not(world: World) -> None:
    found = world.found
    make(found, name="slow", metric="p95", operator="gt", warning=100)
    found.pass_windows(30, 20)
    found.pass_windows(6, 3000)
    (alert,) = [each for each in found.book.open() if each.rule_name == "slow"]
    found.pass_windows(60, 20)
    assert alert.id not in {each.id for each in found.book.open()}
    assert world.changes.of(alert.id, asked(found)) is not None
    with pytest.raises(ApiError, match="expected the id of an alert"):
        world.changes.of("never", asked(found))


def test_two_alerts_of_one_metric_are_told_apart(world: World) -> None:
    found = world.found
    make(
        found,
        name="checkout fails",
        metric="errorRate",
        operator="gt",
        warning=0.05,
        critical=0.2,
    )
    found.pass_windows(30, 20)
    found.pass_windows(8, 20, errors=4)
    found.pass_windows(8, 20, errors=25)
    alerts = [each for each in found.book.open() if each.metric == "errorRate"]
    words = OverviewWords("en", UTC, found.clock.now_s)
    said = {each.rule_id: words.alert(each, "shop") for each in alerts}
    assert len(set(said.values())) == len(alerts) == 2
    assert sum("checkout fails" in each for each in said.values()) == 1


def test_the_end_of_an_alert_speaks_of_the_line_that_ended_it(world: World) -> None:
    found = world.found
    make(found, name="fails", metric="errorRate", operator="gt", warning=0.05, critical=0.2)
    found.pass_windows(30, 20)
    found.pass_windows(8, 20, errors=25)
    found.pass_windows(40, 20)
    first, *_, last = [each for each in found.sink.taken if each.rule_id == "mine"]
    assert (first.threshold, last.kind, last.threshold) == (0.2, "resolved", 0.05)
