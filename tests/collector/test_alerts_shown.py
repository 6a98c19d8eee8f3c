"""Alerts as the API shows them, of a collector that judges."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from support.stores.alertworld import AlertWorld, add, alert_world, asked, config
from trimtab_collector.alerts.bodies import notice_of
from trimtab_collector.alerts.incidents import Incident, Telling
from trimtab_collector.alerts.machine import FIRING, Alert
from trimtab_collector.alerts.metrics import METRICS
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.contract.alerts import THRESHOLD, NewSilence
from trimtab_collector.contract.pagelink import LINKED, RANGE
from trimtab_core.addresses import DASHBOARD


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        yield found


def test_an_alert_whose_app_has_died_says_how_old_its_value_is(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100, for_=0)
    world.pass_windows(2, 20)
    world.pass_windows(2, 500)
    (alert,) = world.book.open()
    assert (alert.no_data, alert.title) == (None, "shop: responseTime")
    world.pass_windows(24)
    (alert,) = world.book.open()
    assert (alert.state, alert.no_data) == ("firing", "keep")
    assert alert.title == "shop: responseTime (last value 4 min ago)"
    assert alert.message.endswith("; last value 4 min ago")
    assert world.book.find(alert.id) == alert
    world.pass_windows(1, 500)
    assert world.book.open()[0].no_data is None


def pages_of(rule: Rule) -> dict[str, dict[str, str]]:
    """Return the pages that messages of a rule lead to, and the parameters of each."""
    labels = tuple(f"a {name}" for name in rule.group_by)
    alert = Alert("1", rule.id, labels, FIRING, "2", 0.0, 0.0, level=1, highest=1, value=2.0)
    telling = Telling("firing", 1, Incident("2", rule.id, "", ""), (alert,), 1)
    links = [urlsplit(path) for _, path in notice_of(rule, telling, 60.0).links]
    return {
        link.path.removeprefix(f"{DASHBOARD}/"): dict(parse_qsl(link.query))
        for link in links
        if link.path.startswith(DASHBOARD)
    }


@pytest.mark.parametrize("metric", METRICS)
def test_every_page_that_a_message_leads_to_is_there_and_reads_what_the_link_says(
    metric: str,
) -> None:
    by = METRICS[metric].group_by
    for name in (f"{THRESHOLD}{metric}", "slo", "analysis", "file.mine", "mine"):
        for group_by in (by, (*by, "route") if "service" in by else by):
            rule = Rule(name, "x", metric, lines=(1.0, None), group_by=group_by)
            found = pages_of(rule)
            assert found["alert"] == {"id": "1"}
            for page, params in found.items():
                assert params.keys() <= {*LINKED[page], *RANGE}
            # The editor of rules has those that people made.
            assert ("rule" in found) == name.endswith("mine")
    threshold = Rule(f"{THRESHOLD}{metric}", "x", metric, lines=(1.0, None), group_by=by)
    assert pages_of(threshold)["thresholds"] == {"metric": metric}


def test_what_is_about_a_host_or_an_agent_leads_there(world: AlertWorld) -> None:
    add(world, "busy", metric="cpuUsage", threshold=0.5, for_=0)
    world.pass_windows(3, gauges={"system.cpu.utilization": 0.9}, agents=("vm-1",))
    world.pass_windows(4, agents=("vm-2",))
    pages = {link[0] for notice in world.sink.taken for link in notice.links}
    assert {"hosts", "agents", "thresholds", "rule"} <= pages


def test_a_silence_is_shown_at_once_and_names_its_rule(world: AlertWorld) -> None:
    slow = config(metric="responseTime", name="Slow pages", threshold=100, for_=0)
    world.rules.change("slow", slow, asked(world))
    world.pass_windows(2, 500)
    (alert,) = world.book.open()
    assert alert.held is None
    new = NewSilence(matchers={"rule": "slow"}, comment="known", duration="10m")
    made = world.silences.add(new, asked(world))
    assert made.rule_name == "Slow pages"
    assert [each.rule_name for each in world.silences.list(world.clock.now_s)] == ["Slow pages"]
    assert world.book.find(alert.id).held == world.book.open()[0].held == "silenced"
    world.silences.remove(made.id, asked(world))
    assert world.book.open()[0].held is None
    other = NewSilence(matchers={"service": "books"}, comment="known", duration="10m")
    assert world.silences.add(other, asked(world)).rule_name is None
    assert world.book.open()[0].held is None
