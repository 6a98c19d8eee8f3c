"""Figures near the end of all floats, which add up beyond it: every read answers all the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from support.fuzzing.queries import reads
from support.processes.servers import Collector
from support.stores.batches import Sender, a_batch
from trimtab_collector.reads.digits import whole_of
from trimtab_core.batches import GaugeRow
from trimtab_core.catalog import CATALOG
from trimtab_core.measures import COUNTER, GAUGE, Delta, MeasureKey
from trimtab_core.rows import MeasureRow, pack_rows

HUGE = 1.7e308


@pytest.mark.parametrize(
    ("value", "whole"),
    [(2.9, 2), (-2.9, -2), (1e300, 2**53), (-1e300, -(2**53)), (float("nan"), 0)],
)
def test_a_sum_beyond_all_whole_numbers_is_the_largest(value: float, whole: int) -> None:
    assert whole_of(value) == whole


def test_huge_gauges_and_measures_of_two_apps_break_no_read(tmp: Path) -> None:
    owners = [("test", "shop", f"host#{number}") for number in range(2)]
    gauges = [GaugeRow(*owner, name, HUGE) for owner in owners for name in CATALOG]
    gauges += [GaugeRow("", "", "redis:cache", name, HUGE) for name in CATALOG]
    rows = [
        MeasureRow(*owner, MeasureKey(name, kind), Delta(1, HUGE, HUGE, HUGE, HUGE))
        for owner in owners
        for name in CATALOG
        for kind in (COUNTER, GAUGE)
    ]
    with Collector(tmp).start() as collector, Sender(collector.port, collector.new_key()) as sender:
        sender.insist(a_batch(0, gauges=gauges))
        for number, packed in enumerate(pack_rows(rows, ())):
            sender.insist(replace(a_batch(1 + number), rows=packed))
        asked = {"name": "process.uptime", "q": "shop"}
        for path, names in reads():
            query = {name: text for name, text in asked.items() if name in names}
            status, body = collector.api.request(path, **query)
            assert status == 200, f"GET {path} answered {status}: {body!r:.300}"
