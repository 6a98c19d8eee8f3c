"""What agents look at is told from hosts by how its name begins."""

import re
from pathlib import Path

import trimtab_agent.probes
from trimtab_collector.reads.latest import hosts_of, is_probed
from trimtab_collector.storage.store import LatestGauge

_TARGET = re.compile(r"self\.target = f\"([a-z]+:)")


def test_no_target_of_a_probe_is_taken_for_a_host() -> None:
    (folder,) = trimtab_agent.probes.__path__
    kinds = [
        kind for path in Path(folder).glob("*.py") for kind in _TARGET.findall(path.read_text())
    ]
    assert len(kinds) >= 4
    assert [kind for kind in kinds if not is_probed(kind)] == []


def test_a_host_may_be_named_like_a_kind_of_probe() -> None:
    gauges = [
        LatestGauge("agent-1", "", "", instance, "system.memory.usage", 1.0, 0.0)
        for instance in ("redis", "redis:6379", "http-1", "queue")
    ]
    assert [each.host for each in hosts_of(gauges)] == ["http-1", "queue", "redis"]
