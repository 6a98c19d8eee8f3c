"""Time zones on a machine whose own table lacks some, or that has none."""

import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from support.processes.api import TOKEN
from support.processes.servers import Collector, short_dir
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.parameters import RANGE, parse
from trimtab_collector.contract.zones import zone_of
from trimtab_collector.notify.options import ChannelSettings

#: names that browsers still report, which several systems do not install
OLDER = (
    *("Asia/Calcutta", "Asia/Katmandu", "Asia/Saigon", "Asia/Rangoon"),
    *("Europe/Kiev", "America/Buenos_Aires"),
)


@pytest.fixture(scope="module")
def bare() -> Iterator[Collector]:
    """A collector of a machine without a table of time zones."""
    with short_dir() as directory, Collector(directory, PYTHONTZPATH="") as process:
        yield process.start()


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "Asia/Seoul", *OLDER])
def test_a_machine_without_a_table_of_zones_knows_those_of_browsers(
    bare: Collector, name: str
) -> None:
    assert bare.api.request("/services", tz=name)[0] == 200


def test_reports_are_of_a_zone_that_the_machine_lacks(bare: Collector) -> None:
    url = f"{bare.api.base}/report?format=html&tz=Asia/Calcutta"
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert "Asia/Calcutta" in answer.read().decode()


@pytest.mark.parametrize("name", ["", "Asia", "Nowhere/City", "../etc/passwd", "a\0b", "x" * 500])
def test_a_name_of_no_zone_is_a_lookup_error(name: str) -> None:
    with pytest.raises(LookupError):
        zone_of(name)


def test_channels_and_questions_know_the_same_zones() -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    for name in OLDER:
        assert ChannelSettings(tz=name).zone.utcoffset(at) == zone_of(name).utcoffset(at)


def test_a_range_that_clocks_leave_out_is_refused_as_it_was_typed() -> None:
    pairs = [("from", "2026-03-29T02:30"), ("to", "2026-03-29T03:10"), ("tz", "Europe/Berlin")]
    with pytest.raises(ApiError) as found:
        parse((*RANGE,), pairs, 1_800_000_000)
    assert found.value.message == (
        "parameter 'from': expected a time before to "
        "(2026-03-29T03:10 is 2026-03-29T03:10:00.000+02:00), "
        "got '2026-03-29T02:30 is 2026-03-29T03:30:00.000+02:00'"
    )
