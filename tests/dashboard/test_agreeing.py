"""The page shows what the API says, and links open what they name."""

from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, expect

from support.processes.browser import Viewer, viewer
from support.processes.people import PASSWORD, Client
from support.processes.servers import Collector
from support.stores.batches import Sender, a_batch
from support.stores.shopworld import ENVIRONMENT
from trimtab_core.batches import GaugeRow

SHOP = {"environment": ENVIRONMENT, "service": "shop"}


@pytest.fixture(scope="module")
def asking(collector: Collector) -> Client:
    """The same admin, beside the page."""
    client = Client(collector.port)
    client.token = client.login().data["accessToken"]
    return client


def history(asking: Client, **query: str) -> Any:
    return asking.ask("GET", f"/metrics/history?{urlencode(query)}").data


def test_percentiles_of_a_version_are_those_of_all_its_requests(
    admin: Viewer, asking: Client
) -> None:
    asked = {**SHOP, "groupBy": "version", "step": "60"}
    moving = history(asking, **asked, **{"from": "-40m"})
    # A range that stands still, in which both versions answered.
    still = {"from": moving["from"], "to": moving["to"]}
    groups = history(asking, **asked, **still)["groups"]
    assert {each["group"]["version"] for each in groups} == {"1", "2"}
    admin.open("service", **SHOP, **still)
    admin.settled()
    table = admin.page.get_by_role("table", name="Versions side by side")
    for group in groups:
        name, p95 = group["group"]["version"], group["overall"]["p95"]
        row = table.get_by_role("row").filter(
            has=admin.page.get_by_role("button", name=name, exact=True)
        )
        expect(row).to_contain_text(f"{float(f'{p95:.3g}'):g} ms")


def test_a_host_has_the_state_that_the_present_thresholds_give_it(
    admin: Viewer, asking: Client
) -> None:
    admin.open("hosts")
    admin.settled()
    row = admin.page.get_by_role("row").filter(has_text="web-1")
    expect(row.get_by_role("img", name="well")).to_be_visible()
    lines = {"memoryUsage": {"warning": 0.4, "critical": 0.9}}
    assert asking.ask("PUT", "/thresholds", {"thresholds": lines}).status == 200
    try:
        admin.page.keyboard.press("r")
        expect(row.get_by_role("img", name="warning")).to_be_visible()
    finally:
        asking.ask("PUT", "/thresholds", {"thresholds": {"memoryUsage": None}})


def test_a_link_to_an_agent_opens_it_alone_and_the_others_are_one_click_away(
    admin: Viewer,
) -> None:
    table = admin.page.get_by_role("table", name="Agents")
    admin.open("agents", agent="agent-1")
    admin.settled()
    expect(table.get_by_role("row")).to_have_count(2)
    expect(table).to_contain_text("agent-1")
    admin.open("agents", agent="agent-9")
    admin.wait_text("There is no agent agent-9.")
    admin.page.get_by_role("button", name="Show every agent again").click()
    expect(table).to_contain_text("agent-1")


def test_times_have_the_units_of_the_language(
    browser: Browser, collector: Collector, asking: Client
) -> None:
    planner = {"name": "grace", "password": PASSWORD, "role": "planner"}
    assert asking.ask("POST", "/users", planner).status < 300
    with viewer(browser, collector.port) as somebody:
        somebody.sign_in("grace")
        somebody.open("thresholds", lang="ko")
        somebody.settled()
        # The clock of an agent may be off by a minute, which those who cannot change it read.
        expect(somebody.page.get_by_role("row").filter(has_text="1분").first).to_be_visible()
        expect(somebody.page.get_by_role("table")).not_to_contain_text("min")


def test_of_a_host_with_a_container_what_its_rules_judge_is_shown(
    admin: Viewer, collector: Collector
) -> None:
    gauges = [
        GaugeRow("", "", "pod-1", name, value)
        for name, value in (
            ("container.cpu.utilization", 0.97),
            ("system.cpu.utilization", 0.11),
            ("container.memory.utilization", 0.35),
            ("system.memory.utilization", 0.22),
        )
    ]
    with Sender(collector.port, collector.new_key()) as sender:
        sender.insist(a_batch(1, {}, agent="agent-pod", gauges=gauges))
    admin.open("hosts", instance="pod-1")
    admin.settled()
    row = admin.page.get_by_role("table", name="Hosts").get_by_role("row").filter(has_text="pod-1")
    expect(row).to_contain_text("97 %")
    expect(row).to_contain_text("35 %")
    expect(row.get_by_role("img", name="critical")).to_be_visible()
    for title, value in (("CPU", "97 %"), ("Memory", "35 %")):
        told = f"{title}. The latest values: pod-1 {value}."
        expect(admin.page.get_by_label(told)).to_be_visible()
