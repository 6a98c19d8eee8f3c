"""Key figures of hosts and containers together."""

import pytest

from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, world
from support.stores.batches import a_batch
from support.stores.engines import Sent, append
from trimtab_collector.reads.utilization import CPU_USE, by_machine
from trimtab_core.batches import GaugeRow


def test_the_busiest_machine_counts_be_it_a_host_or_a_container() -> None:
    gauges = [
        GaugeRow("", "", "pod-a", "container.cpu.utilization", 0.10),
        # Of a machine with a container around its agent, the host is somebody else's.
        GaugeRow("", "", "pod-a", "system.cpu.utilization", 0.99),
        GaugeRow("", "", "bare-b", "system.cpu.utilization", 0.95),
        GaugeRow("test", "shop", "pod-a#1", "process.uptime", 5.0),
        GaugeRow("test", "shop", "bare-b#2", "process.uptime", 5.0),
        GaugeRow("", "", "elsewhere", "system.cpu.utilization", 0.97),
    ]
    with short_dir() as directory, world(directory, empty=True) as found:
        day_s = NOW_S - NOW_S % 86_400 - 43_200
        append(found.engine, Sent(a_batch(1, {}, window_s=day_s, gauges=gauges), {}))
        found.engine.settle()
        report = found.ask("/report", service="shop")
    kpis = {row["id"]: row for row in report["kpis"]}
    assert (kpis["cpu"]["value"], kpis["cpu"]["status"]) == (pytest.approx(0.95), "fail")
    assert (kpis["cpuPeak"]["value"], kpis["cpuPeak"]["status"]) == (pytest.approx(0.95), "fail")
    assert [(row["host"], row["cpuMean"]) for row in report["hosts"]] == [
        ("bare-b", pytest.approx(0.95)), ("pod-a", pytest.approx(0.10))
    ]  # fmt: skip


def test_of_each_machine_the_first_name_that_it_has_counts() -> None:
    host, container = reversed(CPU_USE)
    found = [("b", host, 1), ("a", host, 2), ("a", container, 3), ("c", "other", 4)]
    assert by_machine(found, CPU_USE) == {"a": 3, "b": 1}
    assert by_machine(reversed(found), CPU_USE) == {"a": 3, "b": 1}
