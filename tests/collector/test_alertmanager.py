"""Alerts at a real Alertmanager: they begin, grow worse, go on while renewed, and end."""

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.lacking import lack
from support.notices import notice
from support.processes.servers import Proc, free_port, short_dir, wait_for
from support.processes.stub_collector import Answer, StubCollector
from trimtab_collector.notify.addresses import AllowedHosts
from trimtab_collector.notify.alertmanager import AlertmanagerChannel
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.channels import parse_channel
from trimtab_collector.notify.notice import Notice
from trimtab_collector.notify.options import Sending
from trimtab_collector.notify.outbound import Outbound

CONFIG = """
route: {receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers: [{name: hook, webhook_configs: [{url: "%s/", send_resolved: true}]}]
"""


class Alertmanager:
    """A real one, with a receiver of its own."""

    def __init__(self, directory: Path, hook: StubCollector) -> None:
        self.hook = hook
        self.url = f"http://127.0.0.1:{free_port()}"
        config = directory / "alertmanager.yml"
        config.write_text(CONFIG % hook.url, encoding="utf-8")
        self.process = Proc(
            "alertmanager",
            [
                *("prometheus-alertmanager", f"--config.file={config}"),
                *(f"--storage.path={directory}", f"--web.listen-address={self.url[7:]}"),
                "--cluster.listen-address=",
            ],
            directory,
            {},
        )

    def alerts(self) -> list[Any]:
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            found: list[Any] = json.loads(answer.read())
        return found

    def ready(self) -> bool:
        try:
            return self.alerts() == []
        except OSError:
            return False

    def told(self) -> list[tuple[str, str]]:
        """Return severity and status of every alert that it passed on, in order."""
        bodies = [json.loads(each.body) for each in self.hook.asked]
        return [
            (alert["labels"]["severity"], alert["status"])
            for body in bodies
            for alert in body["alerts"]
        ]

    def open(self) -> list[str]:
        return sorted(each["labels"]["severity"] for each in self.alerts())


@pytest.fixture(scope="module")
def manager() -> Iterator[Alertmanager]:
    if shutil.which("prometheus-alertmanager") is None:
        lack("prometheus-alertmanager is not installed")
    with short_dir() as directory, StubCollector(lambda body, number: Answer(200)) as hook:
        made = Alertmanager(directory, hook)
        with made.process.start():
            wait_for(made.ready, "an Alertmanager", 40)
            yield made


def channel(manager: Alertmanager) -> AlertmanagerChannel:
    entry = parse_channel("am", {"kind": "alertmanager", "url": manager.url})
    outbound = Outbound(AllowedHosts.of(["127.0.0.1"]))
    return AlertmanagerChannel(entry.settings, Sending(outbound, "https://t.example.com"))  # type: ignore[arg-type]


def of(kind: Any, number: int, name: str, before: Notice | None = None, **more: Any) -> Message:
    now_s = time.time()
    times: dict[str, Any] = {"since_s": now_s - 60, "at_s": now_s, "rule_name": name}
    if kind == "resolved":
        times["ended_s"] = now_s
    each = notice(kind, number, **times, **more)
    return Message(f"{each.key}:am", (each,), now_s, before=before)


@pytest.mark.asyncio
async def test_an_alert_begins_grows_worse_and_ends(manager: Alertmanager) -> None:
    made = channel(manager)
    name = "Slow pages"

    def told() -> list[tuple[str, str]]:
        return manager.told()

    warning = of("firing", 1, name, severity="warning")
    await made.send(warning)
    wait_for(lambda: ("warning", "firing") in told(), "the warning", 20)
    (alert,) = manager.alerts()
    assert alert["labels"]["service"] == "checkout"
    assert alert["labels"]["alertname"] == name
    assert "5.23 s over 5 s" in alert["annotations"]["summary"]
    critical = of("escalated", 2, name, before=warning.notices[0])
    await made.send(critical)
    wait_for(lambda: ("critical", "firing") in told(), "the critical one", 20)
    # For Alertmanager another severity is another alert: the warning is over.
    wait_for(lambda: manager.open() == ["critical"], "the end of the warning", 20)
    await made.send(of("resolved", 3, name, before=critical.notices[0]))
    wait_for(lambda: ("critical", "resolved") in told(), "the end", 20)
    assert manager.open() == []


@pytest.mark.asyncio
async def test_what_goes_on_is_renewed_and_ends_by_itself_when_nobody_renews_it(
    manager: Alertmanager,
) -> None:
    made = channel(manager)
    message = of("firing", 1, "Renewed")
    made.renew_s = 0.25
    await made.send(message)
    (first,) = manager.alerts()
    await made.renew(message.notices, time.time())
    (again,) = manager.alerts()
    assert again["fingerprint"] == first["fingerprint"]
    assert again["startsAt"] == first["startsAt"]
    assert again["endsAt"] > first["endsAt"]
    # Four intervals after the last renewal it is over, as when the collector is killed.
    wait_for(lambda: manager.open() == [], "the end of what nobody renews", 20)


@pytest.mark.asyncio
async def test_a_test_message_is_an_alert_that_ends_by_itself(manager: Alertmanager) -> None:
    await channel(manager).send(of("test", 1, "trimtab test"))
    (alert,) = [each for each in manager.alerts() if each["labels"]["alertname"] == "trimtab test"]
    assert alert["endsAt"] > alert["startsAt"]
