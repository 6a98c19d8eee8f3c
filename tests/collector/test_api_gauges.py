"""GET /gauges: gauges step by step, over restarts of the collector."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.processes.servers import Collector, short_dir
from support.stores.batches import Sender, a_batch, window
from trimtab_core.batches import GaugeRow

MEMORY = "process.memory.usage"
LOAD = "system.cpu.load_1m"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with three windows of two processes and a host, started again since."""
    with short_dir() as directory, Collector(directory) as process:
        process.start()
        with Sender(process.port, process.new_key()) as sender:
            for back in (4, 3, 2):
                gauges = [
                    GaugeRow("test", "shop", "host#0", MEMORY, 100.0 * back),
                    GaugeRow("test", "shop", "host#1", MEMORY, 50.0),
                    GaugeRow("", "", "host", LOAD, back / 4),
                ]
                sender.insist(a_batch(back, {}, window_s=START + 10 * (4 - back), gauges=gauges))
        process.kill9()
        process.start()
        yield process


#: three windows from here on, in one step of ten minutes
START = window(60)
START -= START % 600


def ask(collector: Collector, **query: Any) -> Any:
    query = {"from_": START, "to": START + 600, "step": 600, **query}
    return collector.api.get("/gauges", **query)


def test_gauges_are_shown_step_by_step(collector: Collector) -> None:
    found = ask(collector, name=MEMORY, step=10, instance="host#0")
    (gauge,) = found["gauges"]
    assert gauge["name"] == MEMORY
    assert gauge["group"] == {"environment": "test", "service": "shop", "instance": "host#0"}
    assert [step["last"] for step in gauge["series"]] == [400.0, 300.0, 200.0]
    assert {step["count"] for step in gauge["series"]} == {1}
    assert (found["step"], found["resolution"]) == (10, 10)


def test_names_come_as_asked_for_and_of_each_the_largest_first(collector: Collector) -> None:
    found = ask(collector, name=f"{LOAD},nothing,{MEMORY}")
    names = [(gauge["name"], gauge["group"]["instance"]) for gauge in found["gauges"]]
    assert names == [(LOAD, "host"), (MEMORY, "host#0"), (MEMORY, "host#1")]
    found = ask(collector, name=f"{LOAD},{MEMORY}", limit=1)
    assert [gauge["name"] for gauge in found["gauges"]] == [LOAD]
    assert found["gaugesLeftOut"] == 2


def test_processes_are_taken_together_when_nothing_tells_them_apart(collector: Collector) -> None:
    (gauge,) = ask(collector, name=MEMORY, groupBy="")["gauges"]
    (step,) = gauge["series"]
    del step["t"]
    assert step == {
        "count": 6, "mean": 175.0, "min": 50.0, "max": 400.0, "last": None, "total": 350.0
    }  # fmt: skip
    assert gauge["group"] == {}
    assert ask(collector, name=MEMORY, agent="another")["gauges"] == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({}, "name"),
        ({"name": ","}, "name"),
        ({"name": ",".join(map(str, range(21)))}, "name"),
        ({"name": MEMORY, "groupBy": "route"}, "groupBy"),
        ({"name": MEMORY, "groupBy": "agent,agent"}, "groupBy"),
        ({"name": MEMORY, "route": "/"}, "route"),
        ({"name": MEMORY, "limit": "0"}, "limit"),
        ({"name": MEMORY, "step": "7"}, "step"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    collector: Collector, query: dict[str, str], parameter: str
) -> None:
    status, body = collector.api.request("/gauges", **query)
    assert (status, body["error"]["code"]) == (422, "bad_parameter")
    assert body["error"]["details"] == {"parameter": parameter}


def test_too_many_steps_are_refused_with_a_way_out(collector: Collector) -> None:
    day_s = 86_400
    query = {"name": MEMORY, "from_": START - day_s, "to": START, "step": 60, "limit": 100}
    status, body = collector.api.request("/gauges", **query)
    assert (status, body["error"]["code"]) == (422, "too_much")
    assert "lower limit" in body["error"]["message"]
