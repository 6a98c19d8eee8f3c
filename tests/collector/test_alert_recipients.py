"""Who is told: recipients that nobody has are refused, and those that are gone are named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.outboxes import MAIL
from support.stores.alertworld import ADMIN, AlertWorld, add, alert_world
from trimtab_collector.contract.callers import NOBODY, Caller
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.health import AlertsHealth
from trimtab_collector.notify.channels import parse_channel

RULE = """
[[rule]]
name = "Slow"
metric = "p99"
threshold = 5
recipients = ["{}"]
"""
CHANNEL = """
[channels.{}]
kind = "slack"
url = "https://hooks.slack.example/x"
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        yield found


def put(world: AlertWorld, name: str) -> None:
    world.channels.put(parse_channel(name, MAIL, origin="api"), ADMIN)


def rewritten(world: AlertWorld, text: str) -> str:
    """Return what is wrong with a file of other content."""
    path = world.directory / "alerts.toml"
    path.unlink(missing_ok=True)
    path.write_text(text)
    world.file.refresh()
    return world.file.error


def trouble(world: AlertWorld, caller: Caller = ADMIN) -> str | None:
    body, degraded = world.evaluator.health(caller)
    assert isinstance(body, AlertsHealth)
    assert degraded == bool(body.trouble)
    return body.trouble


def test_a_rule_for_a_channel_that_nobody_has_is_refused_with_those_that_there_are(
    world: AlertWorld,
) -> None:
    put(world, "ops")
    with pytest.raises(ApiError, match=r"names of channels \(ops, live\), got 'pager'") as caught:
        add(world, "x", metric="p99", threshold=5, recipients=["ops", "pager"])
    assert (caught.value.status, caught.value.details) == (422, {"field": "recipients"})
    assert "x" not in {rule.id for rule in world.rules.rules()}
    add(world, "x", metric="p99", threshold=5, recipients=["ops", "live", "ada@example.com"])


def test_a_mail_address_needs_a_channel_that_sends_mail(world: AlertWorld) -> None:
    with pytest.raises(ApiError, match="mail addresses only where a channel sends mail"):
        add(world, "x", metric="p99", threshold=5, recipients=["ada@example.com"])


def test_a_file_may_name_its_own_channels_and_those_of_the_api(world: AlertWorld) -> None:
    put(world, "ops")
    assert rewritten(world, RULE.format("ops")) == ""
    assert rewritten(world, RULE.format("team") + CHANNEL.format("team")) == ""
    assert [each.name for each in world.channels.all()] == ["ops", "team"]
    assert "rule 1 (Slow): recipients: expected names of channels (ops, live), got 'team'" in (
        rewritten(world, RULE.format("team"))
    )
    # What it held goes on holding.
    assert [each.name for each in world.channels.all()] == ["ops", "team"]
    assert list(world.file.configs()) == ["file.slow"]


def test_a_channel_that_was_removed_keeps_no_collector_from_starting(world: AlertWorld) -> None:
    put(world, "ops")
    assert rewritten(world, RULE.format("ops")) == ""
    world.channels.remove("ops", ADMIN)
    world.restart()
    assert world.file.error == ""
    assert "rule 'Slow' names ops, which is no channel" in (trouble(world) or "")


def test_health_says_which_rule_names_a_channel_that_is_gone_and_to_whom(
    world: AlertWorld,
) -> None:
    put(world, "ops")
    add(world, "x", metric="p99", threshold=5, recipients=["ops"])
    assert trouble(world) is None
    world.channels.remove("ops", ADMIN)
    assert trouble(world) == (
        "rule 'p99' names ops, which is no channel: its messages go to the channels that "
        "are on by default"
    )
    assert trouble(world, NOBODY) == "the log says why"
    add(world, "x", metric="p99", threshold=5)
    assert trouble(world) is None


def test_a_wrong_file_is_named_to_those_who_may_read_alone(world: AlertWorld) -> None:
    error = rewritten(world, "[rule]")
    assert str(world.directory) in error
    assert trouble(world) == error
    assert trouble(world, NOBODY) == "the log says why"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"metric": "errorRate", "threshold": 5},
            "warning: expected a share from 0 to 1, below 1 for gt: 0.05 is 5 %, got '5'",
        ),
        ({"metric": "errorRate", "threshold": 1}, "below 1 for gt: 0.05 is 5 %, got '1'"),
        ({"metric": "errorRate", "threshold": -0.1}, "below 1 for gt: 0.05 is 5 %, got '-0.1'"),
        (
            {"metric": "cacheHitRate", "threshold": 0, "operator": "lt"},
            "warning: expected a share from 0 to 1, over 0 for lt: 0.05 is 5 %, got '0'",
        ),
        (
            {"metric": "cacheHitRate", "warning": 80, "critical": 60, "operator": "lt"},
            "warning: expected a share from 0 to 1, over 0 for lt: 0.8 is 80 %, got '80'",
        ),
        (
            {"metric": "gauge:system.memory.utilization", "critical": 90},
            "critical: expected a share from 0 to 1, below 1 for gt: 0.9 is 90 %",
        ),
    ],
)
def test_a_share_with_a_line_that_no_value_crosses_is_refused(
    world: AlertWorld, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ApiError) as caught:
        add(world, "x", **fields)
    assert words in caught.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"metric": "errorRate", "threshold": 0},
        {"metric": "errorRate", "threshold": 1, "operator": "gte"},
        {"metric": "cpuUsage", "threshold": 3, "figure": "total"},
        {"metric": "system.cpu.load_1m", "threshold": 5},
        {"metric": "process.cpu.utilization", "threshold": 2},
    ],
)
def test_what_may_be_over_one_or_is_crossed_at_the_end_is_a_line(
    world: AlertWorld, fields: dict[str, object]
) -> None:
    add(world, "x", **fields)


def test_a_file_and_thresholds_refuse_a_percentage_too(world: AlertWorld) -> None:
    assert "thresholds.errorRate: warning: expected a share" in (
        rewritten(world, "[thresholds.errorRate]\nwarning = 5")
    )
    text = '[[rule]]\nname = "x"\nmetric = "diskUsage"\nthreshold = 90'
    assert "rule 1 (x): warning: expected a share from 0 to 1" in rewritten(world, text)
