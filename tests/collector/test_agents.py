"""The agents that a collector knows: how they are listed, and what ends when one is dismissed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.processes.people import ADMIN as ADMIN_NAME
from support.processes.people import PASSWORD, Client
from support.processes.servers import Collector, short_dir, wait_for
from support.stores.alertworld import ADMIN, AlertWorld, alert_world
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from trimtab_collector.alerts.agents import SeenAgent
from trimtab_collector.alerts.reading import Signal
from trimtab_collector.contract.agents import AgentList
from trimtab_collector.contract.errors import ApiError
from trimtab_core.batches import GaugeRow, ProcessAccounting
from trimtab_core.names import STOPPING


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        yield found


def states(world: AlertWorld) -> dict[str, str]:
    rows = world.evaluator.agents.listed(world.clock.now_s)
    return {agent: state for agent, state, _, _ in rows}


def restarted(world: AlertWorld) -> None:
    """Restart the collector, as one that has heard its agents all the time."""
    world.restart()
    world.evaluator.agents.excuse(0)


def test_an_agent_sends_falls_silent_and_is_gone_after_a_day(world: AlertWorld) -> None:
    world.pass_windows(2, 10, agents=("agent-1", "lost"))
    assert states(world) == {"agent-1": "sending", "lost": "sending"}
    world.pass_windows(3, 10)
    assert states(world) == {"agent-1": "sending", "lost": "silent"}
    world.clock.advance_s(86_400)
    world.pass_windows(1, 10)
    assert states(world) == {"agent-1": "sending", "lost": "gone"}
    world.clock.advance_s(7 * 86_400)
    world.pass_windows(1, 10)
    assert states(world) == {"agent-1": "sending"}


def test_an_agent_that_stopped_in_order_is_gone_at_once_and_alarms_nobody(
    world: AlertWorld,
) -> None:
    world.pass_windows(2, 10)
    world.pass_windows(1, 10, gauges={STOPPING: 1})
    assert states(world) == {"agent-1": "gone"}
    world.pass_windows(5, agents=())
    assert world.sink.kinds == []


def test_the_alert_of_a_dismissed_agent_ends_and_says_so(world: AlertWorld) -> None:
    world.pass_windows(2, 10, agents=("agent-1", "lost"))
    world.pass_windows(4, 10)
    assert world.sink.kinds == ["firing"]
    world.evaluator.agents.dismiss("lost", ADMIN)
    world.pass_windows(1, 10)
    assert world.sink.kinds == ["firing", "expired"]
    assert [each.state for each in world.changed][-1] == "dismissed"
    assert world.changed[-1].message.endswith("was dismissed with its agent; the worst was 40 s")
    assert world.book.open() == []
    assert states(world) == {"agent-1": "sending"}
    rows = world.state.rows("SELECT by, action, subject FROM audit")
    assert rows == [("ada", "agent.dismiss", "lost")]


def test_a_crash_between_dismissal_and_step_ends_the_alert_all_the_same(
    world: AlertWorld,
) -> None:
    world.pass_windows(2, 10, agents=("agent-1", "lost"))
    world.pass_windows(4, 10)
    world.evaluator.agents.dismiss("lost", ADMIN)
    restarted(world)
    world.pass_windows(1, 10)
    assert world.sink.kinds == ["firing", "expired"]
    assert states(world) == {"agent-1": "sending"}
    restarted(world)
    assert world.evaluator.agents.dismissed() == frozenset()


def test_a_dismissed_agent_that_sends_again_is_back_and_may_fall_silent_again(
    world: AlertWorld,
) -> None:
    world.pass_windows(2, 10, agents=("agent-1", "lost"))
    world.evaluator.agents.dismiss("lost", ADMIN)
    world.pass_windows(5, 10)
    assert world.sink.kinds == []
    world.pass_windows(2, 10, agents=("agent-1", "lost"))
    assert states(world)["lost"] == "sending"
    world.pass_windows(4, 10)
    assert world.sink.kinds == ["firing"]


def started_again(world: AlertWorld, after_s: int) -> None:
    """Start the collector again after a while, and make up for the last steps, as it does."""
    world.restart()
    world.clock.advance_s(after_s)
    world.evaluator.agents.excuse(world.clock.now_s)
    for back in range(30, 0, -1):
        world.evaluator.step(int(world.clock.now_s) - 10 * back)


def test_a_start_of_the_collector_does_not_end_the_alert_of_an_agent_that_stays_dead(
    world: AlertWorld,
) -> None:
    world.pass_windows(2, 10, agents=("agent-1", "dead"))
    world.pass_windows(12, 10)
    (before,) = world.book.open()
    assert states(world)["dead"] == "silent"
    started_again(world, 60)
    (alert,) = world.book.open()
    assert (alert.state, alert.since) == ("firing", before.since)
    assert states(world)["dead"] == "silent"
    world.pass_windows(20, 10)
    (alert,) = world.book.open()
    assert (alert.id, alert.state, alert.since) == (before.id, "firing", before.since)
    assert alert.value == 20 * 10 + 60 + 12 * 10
    assert world.sink.kinds == ["firing"]


def test_an_agent_that_is_heard_again_after_a_start_ends_its_alert(world: AlertWorld) -> None:
    world.pass_windows(2, 10, agents=("agent-1", "back"))
    world.pass_windows(12, 10)
    started_again(world, 60)
    world.pass_windows(9, 10, agents=("agent-1", "back"))
    assert world.sink.kinds == ["firing", "resolved"]


def test_the_clock_of_an_agent_that_says_nothing_is_not_taken_for_right(world: AlertWorld) -> None:
    def known(skews: dict[str, float]) -> set[str]:
        found = world.evaluator.agents.signals(world.clock.now_s, skews)
        return {each.metric for each in found}

    world.pass_windows(2, 10, agents=("off",))
    assert known({"off": 90.0}) == {"agentSilence", "clockSkew"}
    world.pass_windows(12, 10, agents=())
    assert known({}) == {"agentSilence"}
    started_again(world, 60)
    assert known({}) == set()


def test_troubles_of_the_collector_before_its_start_are_not_known(tmp_path: Path) -> None:
    def trouble(now_s: float) -> list[Signal]:
        return [Signal("collectorTrouble", {"part": "store"}, float(now_s <= broken_s))]

    with alert_world(tmp_path, signals=(trouble,)) as world:
        broken_s = world.clock.now_s + 10_000
        world.pass_windows(9, 10)
        assert world.sink.kinds == ["firing"]
        broken_s = 0
        started_again(world, 600)
        assert world.sink.kinds == ["firing"]
        world.pass_windows(14, 10)
        assert world.sink.kinds == ["firing", "resolved"]


def test_nobody_is_dismissed_who_is_not_there(world: AlertWorld) -> None:
    with pytest.raises(ApiError, match="expected the name of an agent that is listed"):
        world.evaluator.agents.dismiss("nobody", ADMIN)
    assert world.state.rows("SELECT * FROM audit") == []


def test_what_its_apps_dropped_is_counted_once_over_processes_and_restarts(
    world: AlertWorld,
) -> None:
    def drop(number: int, seq: int, **reasons: int) -> None:
        claim = ProcessAccounting(number.to_bytes(8), "test", "shop", f"h#{number}", [], 0, reasons)
        at_s = int(world.clock.now_s)
        world.send(a_batch(seq, {}, agent="a", window_s=at_s, processes=[claim]))

    for seq in range(120):
        drop(seq % 40, 1000 + seq, queue=2 * (1 + seq // 40), spool=1)
    world.pass_windows(1, 10)
    world.clock.advance_s(120)
    world.pass_windows(1, 10)
    restarted(world)
    ((_, _, _, seen),) = [
        row for row in world.evaluator.agents.listed(world.clock.now_s) if row[0] == "a"
    ]
    assert seen.dropped == {"queue": 40 * 6, "spool": 40}
    assert seen.batches == 120


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN_NAME,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        process.start()
        claim = ProcessAccounting(b"p" * 8, "test", "shop", "web-1#0", [(0, 5)], 9, {"queue": 4})
        gauges = [
            GaugeRow("", "", "web-1", "system.memory.usage", 5e9),
            GaugeRow("", "", "web-1", "trimtab.agent.spool.size", 2048.0),
            GaugeRow("", "", "web-1", "trimtab.agent.spool.batches", 3.0),
            GaugeRow("test", "shop", "web-1#0", "process.uptime", 5.0),
        ]
        points = {key_of("/a"): point_of([1000] * 5)}
        with Sender(process.port, process.new_key()) as sender:
            sender.more = {"User-Agent": "trimtab-agent/1.2.3"}
            sender.insist(a_batch(0, points, gauges=gauges, processes=[claim], window_s=window()))
        yield process


def listed(collector: Collector, **query: object) -> dict[str, Any]:
    found: dict[str, Any] = collector.api.get("/agents", **query)
    assert msgspec.to_builtins(msgspec.convert(found, AgentList, strict=True)) == found
    return found


def test_an_agent_is_listed_with_all_that_is_known_of_it(collector: Collector) -> None:
    (agent,) = listed(collector)["agents"]
    assert agent["name"] == "agent-1"
    assert (agent["host"], agent["version"], agent["state"]) == ("web-1", "1.2.3", "sending")
    assert (agent["environments"], agent["services"]) == (["test"], ["shop"])
    assert (agent["batches"], agent["points"], agent["dropped"]) == (1, 1, {"queue": 4})
    assert (agent["spoolBytes"], agent["spoolBatches"], agent["memory"]) == (2048, 3, None)
    assert agent["key"]
    assert agent["firstSeen"] == agent["lastSeen"]
    assert abs(agent["clockSkewSeconds"]) < 60
    assert listed(collector)["states"] == {"silent": 0, "sending": 1, "gone": 0}


def test_agents_are_chosen_by_state_and_by_what_they_send_for(collector: Collector) -> None:
    assert listed(collector, state="silent")["agents"] == []
    assert listed(collector, service="books")["agents"] == []
    assert len(listed(collector, service="shop", environment="test")["agents"]) == 1


def test_an_admin_alone_dismisses_an_agent_which_comes_back_by_sending(
    collector: Collector,
) -> None:
    reader = Client(collector.port, collector.api.token)
    assert reader.ask("DELETE", "/agents/agent-1").status == 403
    admin = Client(collector.port)
    admin.login()
    assert admin.ask("DELETE", "/agents/agent-1").data == {"name": "agent-1"}
    assert listed(collector)["agents"] == []
    assert admin.ask("DELETE", "/agents/agent-1").status == 404
    with Sender(collector.port, collector.new_key()) as sender:
        sender.insist(a_batch(1, {}, window_s=window()))
    wait_for(lambda: listed(collector)["agents"], "the agent to be back")


def test_what_a_process_drops_is_kept_by_a_bounded_number_of_reasons() -> None:
    """An agent that invents reasons made the state grow with every batch."""
    seen = SeenAgent(heard_s=0.0, window_s=0.0)
    for batch in range(100):
        seen.drop("process", {f"reason-{batch}-{n}": 1 for n in range(64)})
    seen.drop("process", {"reason-0-1": 7})
    assert len(seen.dropping["process"]) == 64
    assert seen.drops()["reason-0-1"] == 7
