"""The overview when an agent falls silent: what it last said is not told as now."""

from collections.abc import Mapping
from typing import Any

import pytest

from support.alerts import an_alert
from support.stores.towns import HOUR_S, NOW_S, Town, key, steady, town
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.errors import instant
from trimtab_core.batches import GaugeRow
from trimtab_core.names import STOPPING


def _silence(since_s: int, agent: str = "agent-1") -> AlertBody:
    return an_alert(
        "silent", metric="agentSilence", unit="s", threshold=25.0, value=60.0, environment="",
        service="", route="", labels={"agent": agent}, since=instant(since_s + 25),
    )  # fmt: skip


def _cpu(instance: str = "host") -> AlertBody:
    return an_alert(
        "cpu", severity="critical", metric="cpuUsage", unit="ratio", threshold=0.9, value=0.99972,
        environment="", service="", route="", instance=instance, since=instant(NOW_S - 200),
    )  # fmt: skip


def _rows(found: Any) -> Mapping[str, Any]:
    return {each["service"]: each for each in found["services"]}


def _tiles(found: Any) -> Mapping[str, Any]:
    return {each["name"]: each for each in found["tiles"]}


def _one_dies_then_the_agent_falls_silent(place: Town, silent_s: int, lived_s: int = 90) -> int:
    """Return when beta died."""
    gone_s = silent_s - 60
    both = ("alpha", "beta")
    place.fill(gone_s - lived_s, gone_s, steady(place, *both), services=both, step_s=10)
    place.fill(gone_s, silent_s, steady(place, "alpha"), services=("alpha",), step_s=10)
    return gone_s


@pytest.mark.parametrize("lived_s", [40, 90, 3 * HOUR_S], ids=str)
def test_a_silent_agent_leads_and_what_it_last_said_is_not_told_as_now(lived_s: int) -> None:
    with town() as place:
        silent_s = NOW_S - 50
        gone_s = silent_s - 60
        if lived_s > 600:
            both = ("alpha", "beta")
            place.fill(NOW_S - lived_s, gone_s - 60, steady(place, *both), services=both)
        _one_dies_then_the_agent_falls_silent(place, silent_s, min(lived_s, 90))
        errors = an_alert("errors", severity="critical", environment="live", service="beta")
        found = place.ask(_silence(silent_s), _cpu(), errors)
    sentence = found["sentence"]
    assert sentence["text"] == "Agent agent-1 has sent nothing since 10:59."
    assert sentence["severity"] == "critical"
    assert "The processes of beta were gone before that." in sentence["detail"]
    assert "Also without data: alpha." in sentence["detail"]
    assert "CPU" not in sentence["detail"]
    rows = _rows(found)
    assert {name: row["state"] for name, row in rows.items()} == {"alpha": "lost", "beta": "lost"}
    assert rows["alpha"]["requestsPerSecond"] is None
    assert rows["alpha"]["from"] == instant(silent_s)
    assert rows["beta"]["requestsPerSecond"] == 0
    assert [each["at"] for each in found["happened"] if each["kind"] == "gone"] == [instant(gone_s)]
    assert _tiles(found)["cpu"]["value"] is None
    assert _tiles(found)["requests"]["value"] is None
    assert "silent" in _tiles(found)["cpu"]["why"]


@pytest.mark.parametrize("ago_s", [120, 900])
def test_when_nothing_arrives_any_more_the_dead_stay_dead_and_others_are_unknown(
    ago_s: int,
) -> None:
    with town() as place:
        _one_dies_then_the_agent_falls_silent(place, NOW_S - ago_s)
        found = place.ask(_silence(NOW_S - ago_s), _cpu())
    assert found["sentence"]["severity"] == "late"
    assert "The processes of beta were gone before that." in found["sentence"]["detail"]
    assert {name: row["state"] for name, row in _rows(found).items()} == {
        "alpha": "lost", "beta": "lost",
    }  # fmt: skip
    assert _rows(found)["alpha"]["requestsPerSecond"] is None
    assert [each["text"] for each in found["happened"] if each["kind"] == "gone"] == [
        "The processes of beta are gone"
    ]


def test_another_agent_that_is_well_keeps_its_figures_and_its_alerts() -> None:
    with town() as place:
        silent_s = NOW_S - 120
        _one_dies_then_the_agent_falls_silent(place, silent_s)
        place.fill(NOW_S - 900, NOW_S, steady(place, "books"), services=("books",), step_s=10,
                   agent="agent-2", host="other")  # fmt: skip
        found = place.ask(_silence(silent_s), _cpu())
        living = place.ask(_silence(silent_s), _cpu("other"))
    assert found["sentence"]["text"].startswith("Agent agent-1 has sent nothing since")
    states = {name: row["state"] for name, row in _rows(found).items()}
    assert states == {"alpha": "lost", "beta": "lost", "books": "ok"}
    assert _tiles(found)["cpu"]["value"] == 0.25
    assert _tiles(found)["cpu"]["cores"] == 8
    assert _tiles(found)["requests"]["judgement"] == "ordinary"
    assert living["sentence"]["text"].startswith("CPU usage of other has been past its critical")


def test_a_service_that_another_agent_still_runs_is_neither_dead_nor_unknown() -> None:
    with town() as place:
        for agent, host, until_s in (("agent-1", "host", NOW_S - 120), ("agent-2", "b", NOW_S)):
            place.fill(NOW_S - 900, until_s, lambda t, host=host: {  # type: ignore[misc]
                key(instance=f"{host}#0"): place.times(100)}, step_s=10, agent=agent, host=host,
            )  # fmt: skip
        shop = place.ask(_silence(NOW_S - 120))["services"][0]
    assert (shop["state"], shop["instances"]) == ("ok", 1)
    assert shop["requestsPerSecond"] > 0


def test_an_agent_that_stopped_in_order_makes_its_services_quiet_and_nobody_unknown() -> None:
    with town() as place:
        ended_s = NOW_S - 120
        place.fill(NOW_S - 900, ended_s - 10, steady(place), step_s=10)
        stopping = [GaugeRow("", "", "host", STOPPING, 1.0)]
        place.fill(ended_s - 10, ended_s, lambda t: {}, services=(), gauges=stopping)
        place.fill(NOW_S - 900, NOW_S, steady(place, "books"), services=("books",), step_s=10,
                   agent="agent-2", host="other")  # fmt: skip
        found = place.ask()
    assert _rows(found)["shop"]["state"] == "quiet"
    assert "processes are gone" not in found["sentence"]["text"]


def _died(place: Town, ago_s: int) -> int:
    """Return when a service died that had lived for a minute and a half."""
    gone_s = NOW_S - ago_s
    both = ("alpha", "beta")
    place.fill(gone_s - 90, gone_s, steady(place, *both), services=both, step_s=10)
    place.fill(gone_s, NOW_S, steady(place, "alpha"), services=("alpha",), step_s=10)
    return gone_s


@pytest.mark.parametrize("ago_s", [40, 90, 310, 700, 3400])
def test_a_service_that_lived_briefly_is_told_as_gone_for_an_hour_since_the_same_moment(
    ago_s: int,
) -> None:
    with town() as place:
        gone_s = _died(place, ago_s)
        found = place.ask()
    assert found["sentence"]["text"].startswith("No requests have come to beta since")
    assert found["sentence"]["since"] == instant(gone_s)
    assert _rows(found)["beta"]["state"] == "lost"
    assert _rows(found)["beta"]["from"] == instant(gone_s)
    assert [(each["kind"], each["at"]) for each in found["happened"]] == [("gone", instant(gone_s))]


def test_after_an_hour_and_once_it_is_back_it_is_told_no_more() -> None:
    with town() as place:
        _died(place, 3700)
        found = place.ask(from_=NOW_S - 3 * HOUR_S)
    assert (found["sentence"]["severity"], found["happened"]) == ("ok", [])
    with town() as place:
        _died(place, 700)
        place.fill(NOW_S - 60, NOW_S, steady(place, "beta"), services=("alpha", "beta"), step_s=10)
        found = place.ask()
    assert "gone" not in found["sentence"]["text"]
    assert found["happened"] == []


def test_a_worker_without_requests_that_ended_is_no_death() -> None:
    with town() as place:
        place.fill(NOW_S - 900, NOW_S - 600, steady(place), services=("shop", "job"), step_s=10)
        place.fill(NOW_S - 600, NOW_S, steady(place), step_s=10)
        found = place.ask()
    assert (found["sentence"]["severity"], found["happened"]) == ("ok", [])
    assert list(_rows(found)) == ["shop"]
