"""A number beyond 64 bits in one metric costs no other measure, gauge or event of its process."""

import urllib.request
from typing import Any

from support.processes.servers import short_dir, wait_for
from support.processes.stack import stack, uvicorn


def test_beside_a_number_beyond_64_bits_all_else_arrives_complete() -> None:
    with short_dir() as directory, stack(directory, TRIMTAB_AGENT_WINDOW_S="1") as system:
        slow = {"TRIMTAB_SLOW_REQUEST_MS": "1"}
        app = system.app("huge", uvicorn(target="huge_target:app"), **slow)

        def read(path: str, **asked: Any) -> Any:
            return system.collector.api.get(path, from_="-10m", **asked)

        def values() -> dict[str, float]:
            return {each["name"]: each["value"] for each in read("/custom")["metrics"]}

        for _ in range(5):
            with urllib.request.urlopen(f"{app.url}/order", timeout=10) as answer:
                assert answer.status == 200
        wanted = {"huge.sent": 5 * 2.0**64, "huge.orders": 5}
        wait_for(lambda: values().get("huge.orders") == 5, "the orders", 20)
        found = values()
        assert abs(found["huge.sent"] / wanted["huge.sent"] - 1) < 1e-5
        assert "huge.wild" not in found
        wait_for(lambda: len(read("/slow-requests")["requests"]) == 5, "the slow requests", 20)
        wait_for(
            lambda: any(
                gauge["series"] for gauge in read("/gauges", name="process.memory.usage")["gauges"]
            ),
            "the gauges",
            20,
        )
        assert system.agent.metric("trimtab_agent_measures_dropped_total") == 5
