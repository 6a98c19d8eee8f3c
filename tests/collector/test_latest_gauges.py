"""The latest values of gauges: a bounded number, and the idle ones give way first."""

from support.stores.batches import a_batch
from support.stores.engines import NOON
from trimtab_collector.storage.gauges import LatestGauges
from trimtab_core.batches import GaugeRow


def note(latest: LatestGauges, read_s: float, *names: str) -> None:
    gauges = [GaugeRow("test", "shop", "host#0", name, 1.0) for name in names]
    latest.note(a_batch(0, {}, gauges=gauges), read_s)


def shown(latest: LatestGauges, now_s: float) -> set[str]:
    return {row.name for row in latest.fresh(now_s)}


def test_a_new_gauge_takes_the_place_of_one_that_is_idle() -> None:
    latest = LatestGauges(max_gauges=3)
    note(latest, NOON, "idle", "busy", "gone")
    note(latest, NOON + 25, "busy")
    note(latest, NOON + 31, "new")
    assert shown(latest, NOON + 31) == {"busy", "new"}
    note(latest, NOON + 32, "newer", "newest")
    # One was idle still; then all places are in use.
    assert shown(latest, NOON + 32) == {"busy", "new", "newer"}
    assert latest.left_out == 1


def test_what_is_in_use_keeps_its_place_and_what_is_left_out_is_counted() -> None:
    latest = LatestGauges(max_gauges=2)
    for second in range(0, 120, 10):
        note(latest, NOON + second, "one", "two")
        note(latest, NOON + second, "three")
    assert shown(latest, NOON + 110) == {"one", "two"}
    assert latest.left_out == 12


def test_a_late_value_of_an_unknown_gauge_takes_no_place() -> None:
    latest = LatestGauges(max_gauges=1)
    note(latest, NOON, "idle")
    note(latest, NOON + 60)
    note(latest, NOON + 10, "late")
    assert latest.left_out == 1
    note(latest, NOON + 60, "new")
    assert shown(latest, NOON + 60) == {"new"}
