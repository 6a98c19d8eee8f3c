"""Which alerts people are told of, and that everything that counts alerts counts these."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.alerts import an_alert
from support.stores.alertworld import AlertWorld, add, alert_world, asked
from trimtab_collector.alerts.book import alerts
from trimtab_collector.contract.alerts import (
    SEVERITY,
    STATE,
    AlertBody,
    NewSilence,
    concerns,
    fires,
    is_held,
    is_told,
)
from trimtab_collector.contract.live import LiveFilter
from trimtab_collector.contract.parameters import LIMIT, OWNERS, RANGE, parse
from trimtab_collector.top.rows import TopHost, alerts_in

PAGE = Path(__file__).parents[2] / "collector" / "dashboard" / "src"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("state", "held", "told", "messages_held"),
    [
        ("firing", None, True, False),
        ("firing", "agentMissing", True, False),
        ("firing", "inhibited", True, True),
        ("firing", "flapping", True, True),
        ("firing", "silenced", False, True),
        ("keeping", None, False, False),
        ("pending", None, False, False),
        ("resolved", None, False, False),
    ],
)
def test_people_are_told_of_what_fires_unless_somebody_said_not_to(
    state: str, held: str | None, told: bool, messages_held: bool
) -> None:
    alert = an_alert(state=state, held=held)
    assert (fires(alert), is_told(alert), is_held(alert)) == (
        state == "firing", told, messages_held
    )  # fmt: skip


def mine(world: AlertWorld) -> AlertBody:
    """Return the open alert of the rule mine."""
    (found,) = (each for each in world.book.open() if each.rule_id == "mine")
    return found


def counted(world: AlertWorld, **texts: str) -> tuple[dict[str, int], list[tuple[str, bool]]]:
    """Return what the list of alerts counts; of those of the rule mine, state and if it is told."""
    found = alerts(
        world.book,
        parse((*OWNERS[:2], *RANGE, STATE, SEVERITY, LIMIT), texts.items(), world.clock.now_s),
    )
    return found.open, [(each.state, each.told) for each in found.alerts if each.rule_id == "mine"]


def test_the_count_of_the_list_is_of_alerts_that_are_told(world: AlertWorld) -> None:
    add(world, "mine", metric="responseTime", warning=100, critical=1000, for_=0)
    world.pass_windows(2, 20)
    assert counted(world) == ({"critical": 0, "warning": 0}, [])
    world.pass_windows(2, 3000)
    assert counted(world) == ({"critical": 1, "warning": 0}, [("firing", True)])
    silence = NewSilence(matchers={"service": "shop"}, comment="migration", duration=600)
    made = world.silences.add(silence, asked(world))
    assert counted(world) == ({"critical": 0, "warning": 0}, [("firing", False)])
    # What is read of a range knows of the silence, too.
    (of_range,) = world.book.between(0, world.clock.now_s)
    assert (of_range.held, of_range.told) == ("silenced", False)
    world.silences.remove(made.id, asked(world))
    assert counted(world) == ({"critical": 1, "warning": 0}, [("firing", True)])
    world.pass_windows(1, 20)
    assert counted(world) == ({"critical": 0, "warning": 0}, [("keeping", False)])


def test_a_silence_is_said_before_any_other_reason(world: AlertWorld) -> None:
    add(world, "mine", metric="responseTime", threshold=100, for_=0, keep_firing_for=600)
    world.pass_windows(3, 500, agents=("agent-1", "agent-2"))
    world.pass_windows(1, 500, agents=("agent-1",))
    world.pass_windows(9, 20, agents=("agent-1",))
    alert = mine(world)
    assert (alert.state, alert.held, alert.told) == ("firing", "agentMissing", True)
    silence = NewSilence(matchers={"service": "shop"}, comment="migration", duration=600)
    made = world.silences.add(silence, asked(world))
    alert = mine(world)
    assert (alert.held, alert.told) == ("silenced", False)
    world.pass_windows(1, 20, agents=("agent-1",))
    assert mine(world).held == "silenced"
    world.silences.remove(made.id, asked(world))
    assert mine(world).held == "agentMissing"


def test_an_alert_of_a_host_is_of_every_environment() -> None:
    host = an_alert(environment="", service="", instance="web-1")
    assert concerns(host, "test", "")
    assert not concerns(host, "test", "shop")
    assert not concerns(an_alert(), "production", "")
    # So it is on the stream.
    assert LiveFilter(environment="test").chooses(host)
    assert not LiveFilter(environment="test", service="shop").chooses(host)
    assert not LiveFilter(environment="test", route="/other").chooses(an_alert())


def test_the_list_of_an_environment_has_the_alerts_of_hosts(world: AlertWorld) -> None:
    add(world, "mine", metric="cpuUsage", threshold=0.5, for_=0, keep_firing_for=10)
    world.pass_windows(2, 20, gauges={"system.cpu.utilization": 0.9})
    assert counted(world, environment="test") == (
        {"critical": 0, "warning": 1}, [("firing", True)]
    )  # fmt: skip
    world.pass_windows(4, 20, gauges={"system.cpu.utilization": 0.1})
    ended = counted(world, environment="test", state="ended")
    assert ended == ({"critical": 0, "warning": 0}, [("resolved", False)])


@pytest.mark.parametrize("told", [True, False])
def test_top_marks_a_row_only_with_what_is_told(told: bool) -> None:
    row = {"state": "firing", "severity": "critical", "told": told, "instance": "web-1"}
    (alert,), _ = alerts_in({"alerts": [row]})
    host = TopHost("web-1", "agent", *([None] * 9))
    assert alert.concerns(host) is told


def test_the_page_has_no_definition_of_its_own() -> None:
    own = re.compile(r'"silenced"|\.state === "(firing|keeping|pending)"')
    found = [
        f"{path.name}: {line.strip()[:80]}"
        for path in PAGE.rglob("*.js")
        for line in path.read_text().splitlines()
        if own.search(line)
    ]
    # Whether the analysis is spoken of in the past is no count.
    assert [each for each in found if not each.startswith("alert.js")] == []
