"""What a preview reads: steps no finer than what the store still has of a time."""

from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch
from support.stores.engines import NOON
from trimtab_collector.alerts.configs import rule_of
from trimtab_collector.alerts.preview import Previews
from trimtab_collector.contract.alertconfigs import NewAlertConfig
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention

HOUR_S = 3600
DAY_S = 24 * HOUR_S
#: 10 s for three hours, 60 s for three days
KEPT = Retention(3 * HOUR_S, 3 * DAY_S, 30 * DAY_S)


@pytest.mark.parametrize(
    ("metric", "age_s", "step_s"),
    [
        ("p99", HOUR_S, 10),
        ("p99", 6 * HOUR_S, 60),
        ("p99", 5 * DAY_S, 3600),
        ("memoryUsage", HOUR_S, 10),
        ("memoryUsage", 6 * HOUR_S, 60),
        ("memoryUsage", 5 * DAY_S, 3600),
        ("measure:shop.orders", 600, 10),
        ("measure:shop.orders", 6 * HOUR_S, 60),
        ("measure:shop.orders", 5 * DAY_S, 3600),
    ],
)
def test_steps_are_as_wide_as_what_the_settings_keep(
    tmp_path: Path, metric: str, age_s: int, step_s: int
) -> None:
    clock = Clock(NOON)
    store = SQLiteStore(tmp_path, clock=clock, retention=KEPT)
    store.start()
    try:
        append(store, a_batch(0, window_s=NOON - 20))
        clock.now_s += age_s
        store.compact(clock.now_s)
        rule = rule_of("slow", NewAlertConfig(metric=metric, threshold=1, over=10))
        begin_s = NOON - 60
        found = Previews(store).run(rule, begin_s, begin_s + 2 * HOUR_S, clock.now_s)
    finally:
        store.close()
    assert found.step == step_s
    wider = [note for note in found.notes if "keeps longer windows" in note]
    assert len(wider) == (step_s > 10)
