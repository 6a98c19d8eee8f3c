"""What an admin does with the dashboard, and that nobody else can: in a real browser."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from support.processes.browser import Viewer, viewer
from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir, wait_for
from support.processes.visiting import addresses, faults_of
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from trimtab_collector.auth.keys import KeyFile

from .conftest import WITH_ADMIN

#: a shop that is slow, and called what no shop should be
_TILL: Final = 'till <img src=x onerror="window.harmed=1">'
_PLANNER: Final = "grace"
_RULE: Final = "the till is slow"
#: an alert takes two windows, and the grace that late ones get
_FIRES_MS: Final = 60_000
#: buttons and links that only admins may have
_ADMINS: Final = re.compile(
    r"^(New |Acknowledge|Silence$|Save$|Create |Remove|Edit|End$|Dismiss|Revoke|Add "
    r"|Disable|Enable|Delete|Send a test|Restore default|Draw"
    r"|Other agent)"
)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with an admin, a planner, and a slow till."""
    with short_dir() as directory, Collector(directory, **WITH_ADMIN) as process:
        process.start()
        client = Client(process.port)
        client.login()
        body = {"name": _PLANNER, "role": "planner", "password": PASSWORD}
        assert client.ask("POST", "/users", body).status == 201
        done = threading.Event()
        sending = threading.Thread(target=_sell, args=(process, done), daemon=True)
        sending.start()
        yield process
        done.set()
        sending.join()


def _sell(process: Collector, done: threading.Event) -> None:
    """Send slow requests of the last minutes, and go on."""
    key = process.new_key()
    seq, next_s = 0, window(12)
    while not done.is_set():
        with suppress(OSError, HTTPException), Sender(process.port, key) as sender:
            while next_s <= time.time() - 10:
                points = {key_of("/pay", service=_TILL): point_of([900_000] * 30)}
                sender.post(a_batch(seq, points, agent="agent-till", window_s=next_s))
                seq, next_s = seq + 1, next_s + 10
        done.wait(1)


@pytest.fixture(scope="module")
def ada(browser: Browser, collector: Collector) -> Iterator[Viewer]:
    """An admin, for all tests of this file."""
    with viewer(browser, collector.port) as found:
        found.sign_in()
        yield found


@pytest.fixture(scope="module")
def rule(ada: Viewer) -> str:
    """A rule that was made in the editor: its preview's sentence."""
    page = ada.page
    ada.visit("rules")
    page.get_by_role("link", name="New rule").click()
    expect(page.get_by_text("Enter a threshold")).to_be_visible()
    page.get_by_label("Name", exact=True).fill(_RULE)
    page.get_by_label("warning ms").fill("100")
    page.get_by_label("critical ms").fill("100000")
    page.get_by_label(re.compile("^For at least(?!,)")).fill("0s")
    page.get_by_label("service", exact=True).fill(_TILL)
    said = page.get_by_text(re.compile("It would have fired"))
    expect(said).to_be_visible()
    sentence = said.inner_text()
    page.get_by_text("More", exact=True).click()
    page.get_by_role("textbox", name="Window").fill("10")
    page.get_by_role("button", name="Create rule").click()
    expect(page.get_by_role("table", name="Rules")).to_contain_text(_RULE)
    return sentence


def test_a_rule_is_made_beside_what_it_would_have_done(ada: Viewer, rule: str) -> None:
    assert re.match(r"It would have fired once, for .+\. Messages: \d+\.", rule)
    ada.visit("rules")
    ada.page.get_by_role("link", name=_RULE).click()
    expect(ada.page.get_by_label("warning ms")).to_have_value("100")
    expect(ada.page.get_by_label("service", exact=True)).to_have_value(_TILL)


def test_a_threshold_is_changed_and_set_back(ada: Viewer) -> None:
    ada.visit("thresholds")
    table = ada.page.get_by_role("table", name="Thresholds")
    row = table.get_by_role("row").filter(has_text="response time")
    line = row.get_by_role("textbox").first
    before = line.input_value()
    line.fill("1234")
    ada.page.get_by_role("button", name="Save").click()
    back = row.get_by_role("button", name="Restore default")
    expect(back).to_be_visible()
    back.click()
    ada.page.get_by_role("button", name="Save").click()
    expect(back).to_have_count(0)
    expect(line).to_have_value(before)


def test_a_threshold_that_makes_no_sense_says_what_was_expected(ada: Viewer) -> None:
    ada.expected.append("422")
    ada.visit("thresholds")
    row = ada.page.get_by_role("row").filter(has_text="error rate")
    row.get_by_role("textbox").first.fill("much")
    ada.page.get_by_role("button", name="Save").click()
    expect(ada.page.get_by_role("alert")).to_contain_text("expected")


def test_a_channel_with_a_wrong_address_says_what_is_wrong(ada: Viewer) -> None:
    ada.expected.append("422")
    page = ada.page
    ada.visit("channels")
    page.get_by_role("button", name="New channel").click()
    page.get_by_label("kind").select_option("webhook")
    page.get_by_label("channel", exact=True).fill("pager")
    page.get_by_label("address", exact=True).fill("javascript:alert(1)")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("expected")
    page.get_by_label("address", exact=True).fill("http://127.0.0.1:9/nobody-listens")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    alert = page.get_by_role("dialog").get_by_role("alert")
    expect(alert).to_contain_text("TRIMTAB_COLLECTOR_ALLOW_HOSTS=127.0.0.1:9")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_channel_whose_messages_fail_shows_it_and_keeps_its_buttons_in_sight(ada: Viewer) -> None:
    page = ada.page
    ada.visit("channels")
    page.get_by_role("button", name="New channel").click()
    # Only where an address is refused.
    expect(page.get_by_role("dialog")).not_to_contain_text("TRIMTAB_COLLECTOR_ALLOW_HOSTS")
    page.get_by_label("kind").select_option("webhook")
    page.get_by_label("channel", exact=True).fill("nowhere")
    address = f"https://{'a-name-that-is-long.' * 5}nowhere.invalid/hook"
    page.get_by_label("address", exact=True).fill(address)
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    row = page.get_by_role("table", name="Channels").get_by_role("row").filter(has_text="nowhere")
    expect(row.locator(".dot.ok")).to_have_count(1)
    row.get_by_role("button", name="Send a test").click()
    expect(row).to_contain_text("The test was not delivered: expected an address of")
    expect(row).to_contain_text("Messages have not got through since")
    expect(row.locator(".dot.critical")).to_have_count(1)
    seen = page.locator(".table[aria-label=Channels]").bounding_box()
    for name in ("Send a test", "Edit", "Remove"):
        box = row.get_by_role("button", name=name).bounding_box()
        assert seen is not None
        assert box is not None
        assert box["x"] + box["width"] <= seen["x"] + seen["width"]


def test_a_line_says_that_messages_about_alerts_do_not_get_through(ada: Viewer) -> None:
    def broken(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        failing = {"since": "2026-11-30T10:00:00.000Z", "error": "refused", "late": True}
        settings = {"enabled": True}
        found["data"]["channels"] = [{"name": "ops", "settings": settings, "failing": failing}]
        route.fulfill(response=answer, json=found)

    ada.page.route("**/performance/channels", broken)
    try:
        for page in ("", "alerts"):
            ada.visit(page)
            line = ada.page.get_by_role("alert")
            expect(line).to_contain_text("have not got through by channel ops since")
            expect(line).to_contain_text("refused.")
            expect(line.get_by_role("link", name="Channels")).to_have_count(1)
    finally:
        ada.page.unroute("**/performance/channels")


def test_a_key_of_an_agent_is_shown_once(ada: Viewer) -> None:
    ada.visit("people", tab="keys")
    page = ada.page
    page.get_by_role("button", name="New key").click()
    page.get_by_role("dialog").get_by_label("name", exact=True).fill("of the till")
    page.get_by_role("dialog").get_by_role("button", name="New key").click()
    secret = page.get_by_role("dialog", name="Shown only once").locator(".secret")
    expect(secret).to_contain_text(re.compile(r"^ttk_\S{20,}"))
    key = secret.inner_text()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("table", name="Agent keys")).to_contain_text("of the till")
    assert key not in page.content()


def test_a_key_is_given_to_another_agent(ada: Viewer, collector: Collector) -> None:
    file = KeyFile(collector.data)
    text, _ = file.new("of the host")
    with Sender(collector.port, text) as sender:
        assert sender.post(a_batch(0, agent="host-7"))[0] == 202
    wait_for(lambda: any(each.agent == "host-7" for each in file.list()), "the key to be bound")
    ada.visit("people", tab="keys")
    # What the page had asked for before is not that old.
    ada.page.reload()
    row = ada.page.get_by_role("table", name="Agent keys").get_by_role("row")
    row = row.filter(has_text="of the host")
    expect(row).to_contain_text("host-7")
    row.get_by_role("button", name="Other agent").click()
    dialog = ada.page.get_by_role("dialog", name="Other agent")
    expect(dialog).to_contain_text("is for the agent host-7")
    dialog.get_by_role("button", name="Other agent").click()
    expect(row).to_contain_text("the first that writes")
    assert [each.is_free for each in file.list() if each.name == "of the host"] == [True]


def test_the_rule_fires_is_counted_taken_and_silenced(ada: Viewer, rule: str) -> None:
    page = ada.page
    ada.visit("alerts")
    badge = page.get_by_role("link", name="Alerts").locator("b")
    expect(badge).to_have_text("1", timeout=_FIRES_MS)
    page.get_by_role("link", name=_TILL).click()
    expect(page.locator("main h1")).to_contain_text(_TILL)
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".facts dd", has_text=f"{ADMIN}, ")).to_be_visible()
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    page.get_by_role("button", name="Silence").click()
    page.get_by_label("reason").fill("we know")
    page.get_by_role("dialog").get_by_role("button", name="Silence").click()
    expect(page.locator(".facts")).to_contain_text("silenced", timeout=_FIRES_MS)
    expect(badge).to_have_count(0)
    ada.visit("alerts", tab="silences")
    silence = page.get_by_role("row").filter(has_text="we know")
    expect(silence).to_contain_text(_TILL)
    silence.get_by_role("button", name="End").click()
    expect(silence).to_contain_text("ended")
    assert page.evaluate("window.harmed") is None
    assert page.locator("img").count() == 0


def test_a_planner_sees_no_control_of_admins(browser: Browser, collector: Collector) -> None:
    with viewer(browser, collector.port) as grace:
        grace.sign_in(_PLANNER)
        found = []
        for page, parameters in addresses(collector):
            if page == "account":
                continue
            grace.visit(page, **parameters)
            found += [f"{page}: {each}" for each in controls_of(grace.page)]
            if page != "people":
                found += [f"{page}: {each}" for each in faults_of(grace)]
        assert not found, "\n".join(found)
        grace.visit("people")
        expect(grace.page.get_by_text("for admins", exact=False).first).to_be_visible()
        expect(grace.page.get_by_role("link", name="People and keys")).to_have_count(0)


def controls_of(page: Page) -> list[str]:
    """Return what on a page changes something: its buttons, links to editors, fields of forms."""
    texts = page.locator("main :is(button, a.button)").all_inner_texts()
    fields = page.locator("main form :is(input, select, textarea):enabled")
    return [*filter(_ADMINS.match, texts), *(["a field"] * fields.count())]


_REFUSED: Final[tuple[tuple[str, str, object], ...]] = (
    ("POST", "/alert-configs", {"metric": "responseTime", "warning": 1}),
    ("PUT", "/alert-configs/x", {"metric": "responseTime", "warning": 1}),
    ("DELETE", "/alert-configs/x", None),
    ("PUT", "/thresholds", {"thresholds": {"responseTime": {"warning": 1, "critical": 2}}}),
    ("POST", "/alerts/x/acknowledge", {}),
    ("POST", "/silences", {"matchers": {"service": "x"}, "duration": "1h", "comment": "x"}),
    ("DELETE", "/silences/x", None),
    ("POST", "/channels", {"name": "x", "kind": "slack", "settings": {"url": "http://x"}}),
    ("PUT", "/channels/x", {"settings": {}}),
    ("DELETE", "/channels/x", None),
    ("POST", "/channels/x/test", {}),
    ("DELETE", "/agents/x", None),
    ("GET", "/users", None),
    ("POST", "/users", {"name": "x", "role": "admin", "password": "x" * 12}),
    ("PUT", "/users/x", {"role": "admin"}),
    ("DELETE", "/users/x", None),
    ("GET", "/agent-keys", None),
    ("POST", "/agent-keys", {"name": "x"}),
    ("PUT", "/agent-keys/x", {}),
    ("DELETE", "/agent-keys/x", None),
    ("GET", "/tokens", None),
    ("POST", "/tokens", {"name": "x"}),
    ("DELETE", "/tokens/x", None),
    ("GET", "/audit", None),
    ("POST", "/slos", {"name": "x", "target": 0.9}),
    ("DELETE", "/slos/x", None),
)


def test_the_collector_refuses_a_planner_what_the_page_hides(collector: Collector) -> None:
    client = Client(collector.port)
    client.login(_PLANNER)
    answered = {
        f"{method} {path}": client.ask(method, path, body).status for method, path, body in _REFUSED
    }
    assert {each: status for each, status in answered.items() if status != 403} == {}
