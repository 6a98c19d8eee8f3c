"""Alerts on the live stream: at once, in order, once each, and none missed by who comes late."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from support.alerts import an_alert
from support.processes.livestream import LiveServer, live_server
from support.processes.nodeclient import NodeClient, node_client
from support.stores.alertworld import alert_world, asked
from trimtab_collector.contract.alertconfigs import NewAlertConfig
from trimtab_collector.contract.alerts import NewSilence


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


def heard(client: NodeClient) -> list[tuple[str, str, str]]:
    """Return event, id and state of the alerts that a client heard of, in order."""
    return [
        (each["on"], each["data"]["id"], each["data"]["state"])
        for each in client.seen
        if each.get("on", "") in ("alert:new", "alert:critical")
    ]


def test_alerts_come_at_once_in_order_to_those_whose_filter_has_them(server: LiveServer) -> None:
    with node_client() as shop, node_client() as every:
        for client, chosen in ((shop, {"service": "shop"}), (every, None)):
            client.connect(server.url, "planner", "websocket")
            assert client.emit("subscribe:alerts", chosen)["data"]["alerts"] == []
        begun = time.time()
        server.live.alerts(
            [
                an_alert("1"),
                an_alert("2", service="books"),
                an_alert("3", state="pending"),
                an_alert("1", state="keeping"),
                an_alert("1"),
                an_alert("5", held="silenced"),
                an_alert("5", held="silenced", state="resolved"),
                an_alert("6", held="agentMissing"),
                an_alert("4", severity="warning"),
                an_alert("4", severity="critical"),
                an_alert("4", severity="critical", state="resolved"),
                an_alert("1", state="resolved", held="silenced"),
            ]
        )
        every.wait("alert:new", 5)
        shop.wait("alert:new", 4)

        of_shop = [
            ("alert:new", "1", "firing"),
            ("alert:new", "6", "firing"),
            ("alert:new", "4", "firing"),
            ("alert:critical", "4", "firing"),
            ("alert:critical", "4", "resolved"),
            ("alert:new", "1", "resolved"),
        ]
        assert heard(shop) == of_shop
        assert heard(every) == [of_shop[0], ("alert:new", "2", "firing"), *of_shop[1:]]
        assert every.all("alert:new")[-1]["at"] / 1000 - begun < 1


def test_open_alerts_come_with_the_subscription(server: LiveServer) -> None:
    server.open = [an_alert(str(number)) for number in range(600)]
    server.open.append(an_alert("other", service="books", state="keeping"))
    server.open.append(an_alert("missing", service="books", held="agentMissing"))
    server.open.append(an_alert("early", service="books", state="pending"))
    server.open.append(an_alert("quiet", service="books", held="silenced"))
    with node_client() as client:
        client.connect(server.url, "planner", "websocket")
        data = client.emit("subscribe:alerts", {"service": "shop"})["data"]
        assert (len(data["alerts"]), data["alertsLeftOut"]) == (500, 100)
        assert client.emit("subscribe:alerts", {"service": "books"})["data"]["alerts"] == [
            msgspec.to_builtins(each) for each in server.open[600:602]
        ]
        assert client.emit("unsubscribe:alerts")["success"] is True
        server.live.alerts([an_alert("x")])
        assert client.emit("subscribe:alerts")["success"] is True
        assert not client.all("alert:new")


def test_a_storm_of_alerts_reaches_those_who_read(server: LiveServer) -> None:
    with node_client() as client:
        client.connect(server.url, "planner", "websocket")
        client.emit("subscribe:alerts")
        server.live.alerts([an_alert(str(number)) for number in range(2000)])
        client.wait("alert:new", 2000)
        assert [each["data"]["id"] for each in client.all("alert:new")] == [
            str(number) for number in range(2000)
        ]
    assert server.live.alerts_lost == 0


def test_a_rule_that_fires_grows_worse_and_ends_is_told_once_each(
    server: LiveServer, tmp: Path
) -> None:
    config = NewAlertConfig(
        metric="responseTime", warning=100, critical=1000, for_=10, keep_firing_for=20, over=10
    )
    with alert_world(tmp) as world, node_client() as client, node_client() as late:
        world.rules.change("slow", config, asked(world))
        world.book.on_change(server.live.alerts)
        server.open_alerts = world.book.open
        client.connect(server.url, "planner", "websocket")
        client.emit("subscribe:alerts")
        world.pass_windows(4, 20)
        world.pass_windows(4, 500)
        client.wait("alert:new")
        world.pass_windows(4, 3000)
        critical = client.wait("alert:critical")["data"]
        assert (critical["service"], critical["metric"]) == ("shop", "responseTime")
        # Who connects now finds it in the acknowledgement.
        late.connect(server.url, "planner", "websocket")
        (alert,) = late.emit("subscribe:alerts", {"service": "shop"})["data"]["alerts"]
        assert (alert["id"], alert["state"]) == (critical["id"], "firing")
        world.pass_windows(8, 20)
        late.wait("alert:critical")
        client.wait("alert:critical", 2)
        assert heard(client) == [
            ("alert:new", critical["id"], "firing"),
            ("alert:critical", critical["id"], "firing"),
            ("alert:critical", critical["id"], "resolved"),
        ]
        assert heard(late) == [("alert:critical", critical["id"], "resolved")]


def test_what_people_do_about_an_alert_is_told_to_open_pages(server: LiveServer, tmp: Path) -> None:
    config = NewAlertConfig(metric="responseTime", warning=100, for_=0, keep_firing_for=60, over=10)
    with alert_world(tmp) as world, node_client() as client:
        world.rules.change("slow", config, asked(world))
        world.book.on_change(server.live.alerts)
        world.silences.on_change(server.live.silences)
        world.pass_windows(2, 20)
        client.connect(server.url, "planner", "websocket")
        client.emit("subscribe:alerts", {"service": "shop"})
        silence = NewSilence(matchers={"service": "shop"}, comment="migration", duration=60)
        made = world.silences.add(silence, asked(world))
        assert client.wait("silences:changed")["data"] == {"active": 1, "pending": 0}
        world.pass_windows(2, 500)
        held = client.wait("alert:changed")["data"]
        assert (held["state"], held["held"]) == ("firing", "silenced")
        assert heard(client) == []
        world.silences.remove(made.id, asked(world))
        assert client.wait("silences:changed", 2)["data"] == {"active": 0, "pending": 0}
        world.pass_windows(1, 500)
        # It fires still: now it is told, as if it had just begun.
        assert client.wait("alert:new")["data"]["id"] == held["id"]
        before = len(client.all("alert:changed"))
        world.book.acknowledge(held["id"], asked(world))
        changed = client.wait("alert:changed", before + 1)["data"]
        assert (changed["id"], changed["acknowledgedBy"]) == (held["id"], "ada")
        world.pass_windows(2, 20)
        assert client.wait("alert:changed", before + 2)["data"]["state"] == "keeping"
        assert heard(client) == [("alert:new", held["id"], "firing")]


def test_a_silence_that_runs_out_is_told_by_itself(tmp: Path) -> None:
    with alert_world(tmp) as world:
        told: list[tuple[int, int]] = []
        world.silences.on_change(lambda counts: told.append((counts.active, counts.pending)))
        world.pass_windows(1, 20)
        silence = NewSilence(matchers={"service": "shop"}, comment="migration", duration=15)
        world.silences.add(silence, asked(world))
        world.pass_windows(3, 20)
        assert told[-2:] == [(1, 0), (0, 0)]
