"""How much a machine uses: every answer shows the gauge that rules judge."""

import json
from collections.abc import Iterator

import pytest

from support.alerts import NoAlerts
from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, World, world
from support.stores.batches import a_batch
from support.stores.engines import Sent, append
from trimtab_collector.alerts.metrics import METRICS
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.parameters import RANGE, Parameters, parse
from trimtab_collector.overview.situation import Situation, Sources
from trimtab_collector.reads.utilization import USES
from trimtab_collector.top.rows import hosts_in
from trimtab_core.batches import GaugeRow

#: of a container that is nearly full, on a host that is not
POD = {
    "container.cpu.utilization": 0.97,
    "system.cpu.utilization": 0.10,
    "container.memory.utilization": 0.95,
    "system.memory.utilization": 0.20,
    "system.filesystem.utilization": 0.30,
    "system.network.utilization": 0.40,
}
#: of a host whose agent is in no container
BARE = {"system.cpu.utilization": 0.50, "system.memory.utilization": 0.60}
START_S = NOW_S - 600


@pytest.fixture(scope="module")
def pods() -> Iterator[World]:
    """Ten minutes of a container, and of a host without one."""
    with short_dir() as directory, world(directory, empty=True) as found:
        sent = []
        for seq, t in enumerate(range(START_S, NOW_S, 10)):
            for agent, host, values in (("a", "pod", POD), ("b", "bare", BARE)):
                gauges = [GaugeRow("", "", host, name, value) for name, value in values.items()]
                batch = a_batch(seq, {}, agent=agent, window_s=t, gauges=gauges)
                sent.append(Sent(batch, {}))
        append(found.engine, *sent)
        yield found


def _parameters(found: World) -> Parameters:
    return parse(RANGE, {"from": str(START_S), "to": str(NOW_S)}.items(), found.clock.now_s, 600)


def test_the_answer_of_hosts_has_what_is_judged_beside_the_gauges(pods: World) -> None:
    bare, pod = pods.ask("/system")["hosts"]
    assert pod["use"] == {"cpu": 0.97, "memory": 0.95, "disk": 0.30, "network": 0.40}
    assert pod["gauges"] == POD
    assert bare["use"] == {"cpu": 0.50, "memory": 0.60, "disk": None, "network": None}


def test_the_answer_of_memory_keeps_to_its_gauges_and_has_all_that_is_judged(pods: World) -> None:
    pod = pods.ask("/memory")["hosts"][1]
    assert pod["gauges"].keys() == {"container.memory.utilization", "system.memory.utilization"}
    assert pod["use"]["cpu"] == 0.97


def test_the_console_shows_what_is_judged(pods: World) -> None:
    bare, pod = hosts_in(json.loads(json.dumps(pods.ask("/system"))))
    assert (pod.cpu, pod.memory, pod.disk) == (0.97, 0.95, 0.30)
    assert (bare.cpu, bare.memory, bare.disk) == (0.50, 0.60, None)


def test_the_overview_sees_all_that_is_judged(pods: World) -> None:
    situation = Situation(Sources(pods.reader, pods.marks, NoAlerts()), _parameters(pods))
    uses = {(use.metric, use.machine): use.value for use in situation.observed.machines.uses}
    assert uses == {
        ("cpuUsage", "pod"): pytest.approx(0.97),
        ("cpuUsage", "bare"): pytest.approx(0.50),
        ("memoryUsage", "pod"): pytest.approx(0.95),
        ("memoryUsage", "bare"): pytest.approx(0.60),
        ("diskUsage", "pod"): pytest.approx(0.30),
        ("networkUsage", "pod"): pytest.approx(0.40),
    }


def test_a_chart_of_what_is_judged_has_of_each_machine_the_gauge_that_is(pods: World) -> None:
    asked = {"from_": START_S, "to": NOW_S, "step": 600, "groupBy": "instance"}
    found = pods.ask("/gauges", name="cpuUsage,system.cpu.utilization", **asked)["gauges"]
    shown = [
        (each["name"], each["group"]["instance"], each["unit"], each["series"][0]["mean"])
        for each in found
    ]
    assert shown == [
        ("cpuUsage", "pod", "1", pytest.approx(0.97)),
        ("cpuUsage", "bare", "1", pytest.approx(0.50)),
        ("system.cpu.utilization", "bare", "1", pytest.approx(0.50)),
        ("system.cpu.utilization", "pod", "1", pytest.approx(0.10)),
    ]


def test_a_chart_of_what_is_judged_is_by_machine(pods: World) -> None:
    with pytest.raises(ApiError, match="expected instance among the fields"):
        pods.ask("/gauges", name="cpuUsage", groupBy="agent")


def test_rules_and_all_that_show_judge_the_same_gauges() -> None:
    assert {name: METRICS[name].names for name in USES} == dict(USES)


def test_a_host_that_leaves_its_container_goes_on_with_its_own_gauge() -> None:
    with short_dir() as directory, world(directory, empty=True) as found:
        sent = []
        for seq, t in enumerate(range(NOW_S - 120, NOW_S, 10)):
            gauges = [GaugeRow("", "", "pod", "system.cpu.utilization", 0.10)]
            if t < NOW_S - 60:
                gauges.append(GaugeRow("", "", "pod", "container.cpu.utilization", 0.97))
            sent.append(Sent(a_batch(seq, {}, window_s=t, gauges=gauges), {}))
        append(found.engine, *sent)
        asked = {"from_": NOW_S - 120, "to": NOW_S, "step": 60}
        (one,) = found.ask("/gauges", name="cpuUsage", **asked)["gauges"]
        assert [row["mean"] for row in one["series"]] == [pytest.approx(0.97), pytest.approx(0.10)]
