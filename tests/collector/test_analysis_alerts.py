"""The alert of the analysis: since when its present issues are found, and no figures."""

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from support.stores.alertworld import AlertWorld, alert_world, asked
from trimtab_collector.alerts.book import AlertBook
from trimtab_collector.alerts.evaluator import Evaluator
from trimtab_collector.circumstances import Circumstances
from trimtab_collector.contract.alertconfigs import NewAlertConfig
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.errors import epoch
from trimtab_collector.marks import Marks
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.texts import Texts
from trimtab_collector.objectives.slos import SloBook
from trimtab_collector.reads.reader import StoreReader


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        reader, marks = StoreReader(found.store), Marks(found.state, found.clock)
        judged = Circumstances(reader, SloBook(found.state, found.clock), marks)
        found.book = AlertBook(found.state, judged.metadata)
        found.evaluator = Evaluator(
            *(found.store, found.state, found.rules, found.silences, found.book, found.sink),
            signals=(judged.analyses,), began=judged.began, clock=found.clock,
        )  # fmt: skip
        yield found


def analysed(world: AlertWorld) -> AlertBody:
    (body,) = [each for each in world.book.open() if each.metric == "analysis"]
    return body


def test_it_is_as_severe_as_now_since_the_issues_that_are_found_now(world: AlertWorld) -> None:
    world.pass_windows(12, 20)
    slow_s = world.clock.now_s
    world.pass_windows(24, 3000)
    before = analysed(world)
    assert slow_s <= epoch(before.since) <= slow_s + 130
    assert before.severity_since == before.since
    failing_s = world.clock.now_s
    world.pass_windows(36, 20, errors=25)
    body = analysed(world)
    assert (body.severity, body.since) == ("critical", before.since)
    # Without a break in the severity: what it tells of is another issue, which began later.
    assert body.severity_since is not None
    assert failing_s <= epoch(body.severity_since) <= failing_s + 70
    assert body.fired_at is not None
    assert body.since <= body.fired_at


def test_a_repair_shows_after_a_minute_and_not_when_the_last_bad_request_is_old(
    world: AlertWorld,
) -> None:
    world.pass_windows(12, 20)
    world.pass_windows(36, 3000)
    repaired_s = world.clock.now_s
    assert analysed(world).state == "firing"
    while analysed(world).state == "firing":
        world.pass_windows(1, 20)
    # A whole minute of good requests, and the pace of the analysis.
    assert 60 <= world.clock.now_s - repaired_s <= 130
    body = analysed(world)
    assert (body.state, body.severity_since) == ("keeping", None)


def test_too_few_requests_since_do_not_make_it_well(world: AlertWorld) -> None:
    world.pass_windows(12, 20)
    world.pass_windows(24, 3000)
    quiet_s = world.clock.now_s
    while world.clock.now_s - quiet_s < 180:
        world.pass_windows(1, 20, requests=2)
        assert analysed(world).state == "firing"


def test_its_texts_have_no_figures_and_one_name(world: AlertWorld) -> None:
    world.pass_windows(12, 20)
    world.pass_windows(24, 3000)
    body = analysed(world)
    assert body.title == "shop: Issues found by the analysis"
    assert body.message.startswith(f"the analysis finds critical issues since {body.since}")
    assert body.metadata is not None
    assert body.metadata["title"].endswith("in shop")


def test_a_mail_about_it_has_no_figures_either(world: AlertWorld) -> None:
    world.rules.change(
        "mine",
        NewAlertConfig(metric="analysis", operator="gte", threshold=2, for_=60, keep_firing_for=60),
        asked(world),
    )
    world.pass_windows(12, 20)
    world.pass_windows(24, 3000)
    world.pass_windows(40, 20)
    first, *_, last = [each for each in world.sink.taken if each.rule_id == "mine"]
    texts = Texts("en", ZoneInfo("UTC"), "")
    found = texts.write(Message("k", (first,), first.at_s))
    assert found.title.startswith("[warning] shop: issues found by the analysis warning (since")
    assert not {"Now", "Threshold", "Worst"} & {name for name, _ in found.facts}
    ended = texts.write(Message("k", (last,), last.at_s))
    assert ended.title.startswith("[resolved] shop: issues found by the analysis recovered after")
    assert "no value" not in ended.lead


def test_what_is_over_is_told_as_over(world: AlertWorld) -> None:
    world.pass_windows(12, 20)
    world.pass_windows(24, 3000)
    body = next((each for each in world.book.open() if each.metric == "analysis"), None)
    while body is not None and body.value:
        world.pass_windows(1, 20)
        body = next((each for each in world.book.open() if each.metric == "analysis"), None)
    assert body is not None
    assert body.message.startswith("the analysis found critical issues from ")
    assert "title" not in (body.metadata or {})
