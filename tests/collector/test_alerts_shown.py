"""Alerts as the API shows them, of a collector that judges."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stores.alertworld import AlertWorld, add, alert_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AlertWorld]:
    with alert_world(tmp_path) as found:
        yield found


def test_an_alert_whose_app_has_died_says_how_old_its_value_is(world: AlertWorld) -> None:
    add(world, "slow", metric="responseTime", threshold=100, for_=0)
    world.pass_windows(2, 20)
    world.pass_windows(2, 500)
    (alert,) = world.book.open()
    assert (alert.no_data, alert.title) == (None, "shop: responseTime")
    world.pass_windows(24)
    (alert,) = world.book.open()
    assert (alert.state, alert.no_data) == ("firing", "keep")
    assert alert.title == "shop: responseTime (last value 4 min ago)"
    assert alert.message.endswith("; last value 4 min ago")
    assert world.book.find(alert.id) == alert
    world.pass_windows(1, 500)
    assert world.book.open()[0].no_data is None
