"""A gauge has one owner by its name, and nobody else's is taken for it."""

import pytest

from support.stores.batches import a_batch
from trimtab_core.batches import GaugeRow, decode, encode
from trimtab_core.catalog import CATALOG
from trimtab_core.gaugeowners import AGENT, APP, HOST, PROBE, gauge_owner, is_of_app
from trimtab_core.messages import Gauges, parse
from trimtab_core.names import STOPPING

OTHERS = [STOPPING, *(name for name in CATALOG if not is_of_app(name))]


def test_each_metric_of_the_catalogue_has_the_owner_that_measures_it() -> None:
    first = {(name.partition(".")[0], gauge_owner(name)) for name in CATALOG}
    assert first == {
        ("http", APP), ("process", APP), ("cpython", APP), ("trimtab", APP),
        ("system", HOST), ("container", HOST), ("trimtab", HOST),
        ("trimtab", PROBE), ("redis", PROBE), ("postgresql", PROBE), ("trimtab", AGENT),
    }  # fmt: skip
    of_apps = {name for name in CATALOG if name.startswith("trimtab.") and is_of_app(name)}
    assert {name.split(".")[1] for name in of_apps} == {"app"}
    assert gauge_owner(STOPPING) == AGENT


def test_an_app_has_no_gauge_of_its_host_its_agent_or_what_that_probes() -> None:
    values = {**dict.fromkeys(OTHERS, 1.0), "process.uptime": 7.0, "own.depth": 8.0}
    message = parse(["gauges", 1, 2, {}, values])
    assert isinstance(message, Gauges)
    assert message.values == {"process.uptime": 7.0, "own.depth": 8.0}
    assert message.malformed == len(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_a_row_of_a_service_under_a_name_that_is_not_an_apps_costs_itself(name: str) -> None:
    own = [GaugeRow("", "", "host", name, 1.0), GaugeRow("t", "shop", "h#0", "process.uptime", 1.0)]
    batch = a_batch(0, {}, gauges=[GaugeRow("t", "shop", "h#0", name, 2.0), *own])
    found = decode(encode(batch))
    assert list(found.gauges) == own
    (why,) = found.malformed
    assert f"no service has {name!r}, a gauge of the {gauge_owner(name)}" in why
