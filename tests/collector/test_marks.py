"""Marks: those that people set, and versions that show up by themselves."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.clock import Clock
from support.processes.servers import Collector, wait_for
from support.stores.appending import received
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from support.stores.engines import NOON
from trimtab_collector.auth.audit import AUDIT, AuditTrail
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.deploys import Deploys
from trimtab_collector.marks import Mark, Marks
from trimtab_collector.statefile import StateFile
from trimtab_collector.storage.memory.engine import MemoryStore


class Town:
    """Services that run versions, and the marks that come of it."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock(NOON)
        self.state = StateFile(directory, (AUDIT,))
        self.store = MemoryStore(clock=self.clock)
        self.marks = Marks(self.state, self.clock)
        self.deploys = Deploys(self.marks, self.state, self.clock)
        self._seq = 0

    def runs(
        self,
        *versions: str,
        service: str = "shop",
        instances: int = 1,
        t: int = 0,
        key: str = "",
    ) -> None:
        """Send a window in which versions of a service had requests, and look at it."""
        points = {
            key_of("/", service, version=version, instance=f"host#{number}"): point_of([2000])
            for version in versions
            for number in range(instances)
        }
        start_s = (t or int(self.clock.now_s)) // 10 * 10
        batch = a_batch(self._seq, points, window_s=start_s)
        self._seq += 1
        self.deploys.note([replace(received(self.store, batch), key=key)])
        self.deploys.look()

    def minutes(self, count: int, *versions: str) -> None:
        for _ in range(6 * count):
            self.clock.advance_s(10)
            self.runs(*versions)

    def found(self) -> list[Mark]:
        return self.marks.between(0, self.clock.now_s + 86_400)

    def names(self) -> list[str]:
        return [mark.name for mark in self.found()]


@contextmanager
def town_in(directory: Path) -> Iterator[Town]:
    town = Town(directory)
    try:
        yield town
    finally:
        town.deploys.stop()
        town.store.close()
        town.state.close()


@pytest.fixture
def town(tmp: Path) -> Iterator[Town]:
    with town_in(tmp) as found:
        yield found


def test_the_first_version_of_a_service_is_no_deploy(town: Town) -> None:
    town.minutes(2, "1")
    town.runs("7", service="books")
    assert town.found() == []


def test_a_new_version_is_a_mark_at_the_window_in_which_it_shows_up(town: Town) -> None:
    town.minutes(2, "1")
    town.clock.advance_s(10)
    town.runs("2")
    (mark,) = town.found()
    assert (mark.kind, mark.name, mark.environment, mark.service) == ("deploy", "2", "test", "shop")
    assert (mark.at_s, mark.by, mark.detail) == (town.clock.now_s, "", "1 → 2")


def test_a_rolling_deploy_of_six_instances_is_one_mark(town: Town) -> None:
    town.runs("1", instances=6)
    for done in range(1, 7):
        town.clock.advance_s(60)
        town.runs("1", instances=6 - done) if done < 6 else None
        town.runs("2", instances=done)
    assert town.names() == ["2"]


def test_a_canary_with_little_traffic_is_one_mark(town: Town) -> None:
    town.minutes(1, "1")
    for _ in range(10):
        town.runs("2")
        town.minutes(4, "1")
    assert town.names() == ["2"]


def test_a_rollback_is_a_mark_too(town: Town) -> None:
    town.minutes(1, "1")
    town.minutes(6, "2")
    town.minutes(6, "1")
    assert town.names() == ["2", "1"]
    assert town.found()[1].detail == "2 → 1"


def test_a_night_without_requests_is_no_deploy(town: Town) -> None:
    town.minutes(1, "1")
    town.clock.advance_s(8 * 3600)
    town.minutes(1, "1")
    assert town.found() == []


def test_an_agents_backlog_of_an_older_version_is_no_deploy(town: Town) -> None:
    town.minutes(1, "2")
    town.runs("1", t=NOON - 3600)
    assert town.found() == []


def test_versions_are_remembered_over_a_restart(tmp: Path) -> None:
    with town_in(tmp) as town:
        town.minutes(1, "1")
        town.minutes(6, "2")
    with town_in(tmp) as town:
        assert town.names() == ["2"]
        town.clock.advance_s(1800)
        town.minutes(1, "2")
        assert town.names() == ["2"]
        town.runs("3")
        assert town.names() == ["2", "3"]


def test_a_thousand_invented_versions_are_six_marks_and_the_rest_is_counted(town: Town) -> None:
    town.minutes(1, "1")
    for first in range(0, 1000, 50):
        town.clock.advance_s(10)
        town.runs("1", *[f"v{number}" for number in range(first, first + 50)])
    assert len(town.found()) == 6
    assert town.deploys.left_out == 994
    assert len(town.state.rows("SELECT 1 FROM seen_version")) <= 20
    town.clock.advance_s(3601)
    town.runs("1", "really-new")
    assert town.names()[-1] == "really-new"


def test_all_services_together_have_a_bound(town: Town) -> None:
    for version in ("1", "2"):
        town.clock.advance_s(10)
        for number in range(100):
            town.runs(version, service=f"s{number}")
    assert len(town.found()) == 60


def test_a_key_that_invents_services_and_versions_takes_no_mark_from_another(town: Town) -> None:
    town.runs("1", key="honest")
    for number in range(1000):
        # Two versions of each: a deploy, and more services than are remembered.
        for version in ("1", "2"):
            town.runs(version, service=f"s{number}", key="flood")
    town.clock.advance_s(10)
    town.runs("2", key="honest")
    assert [mark.name for mark in town.found() if mark.service == "shop"] == ["2"]
    assert len(town.found()) == 61
    assert town.deploys.left_out == 940


def test_a_deploy_that_somebody_marked_has_no_second_mark(town: Town) -> None:
    town.minutes(1, "1")
    town.marks.add("deploy", "2", "", "shop", by="ci")
    town.clock.advance_s(60)
    town.runs("2")
    assert [mark.by for mark in town.found()] == ["ci"]


def test_a_failure_is_said_and_the_deploy_noted_later(town: Town) -> None:
    town.minutes(1, "1")
    with town.state.change() as connection:
        connection.execute("ALTER TABLE mark RENAME TO away")
    town.clock.advance_s(10)
    town.runs("2")
    assert "no such table" in town.deploys.trouble
    assert town.deploys.missed == 1
    with town.state.change() as connection:
        connection.execute("ALTER TABLE away RENAME TO mark")
    town.clock.advance_s(10)
    town.runs("2")
    assert town.names() == ["2"]
    assert town.deploys.trouble == ""


def test_marks_of_a_service_include_those_of_everything(town: Town) -> None:
    marks = town.marks
    for environment, service in (
        ("", ""),
        ("live", ""),
        ("live", "shop"),
        ("test", "shop"),
        ("live", "books"),
    ):
        marks.add("note", f"{environment}/{service}", environment, service, NOON)
    found = marks.between(NOON, NOON + 1, "live", "shop")
    assert [mark.name for mark in found] == ["/", "live/", "live/shop"]
    assert marks.between(NOON + 1, NOON + 2) == []


def test_the_oldest_marks_go_when_there_are_too_many(town: Town, monkeypatch: Any) -> None:
    monkeypatch.setattr("trimtab_collector.marks._MOST", 5)
    for number in range(8):
        town.marks.add("note", str(number), at_s=NOON + number)
    assert town.names() == ["3", "4", "5", "6", "7"]


def test_a_deleted_mark_is_in_the_audit_trail(town: Town) -> None:
    mark = town.marks.add("note", "x", by="ada")
    bob = Caller("bob", Role.ADMIN)
    assert town.marks.delete(mark.id, bob) == mark
    assert town.marks.delete(mark.id, bob) is None
    ((entry,), _) = AuditTrail(town.state).entries(0, 2**32, 10)
    assert (entry.by, entry.action, entry.subject) == ("bob", "mark.delete", str(mark.id))


def test_a_running_collector_marks_a_new_version(collector: Collector) -> None:
    with Sender(collector.port, collector.new_key()) as sender:
        for seq, version in enumerate(("1", "2")):
            points = {key_of("/", "rolling", version=version): point_of([2000])}
            sender.insist(a_batch(seq, points, window_s=window(3 - seq)))

    def marked() -> Any:
        return collector.api.get("/marks", service="rolling")["marks"]

    (mark,) = wait_for(marked, "the mark of version 2")
    assert (mark["kind"], mark["name"], mark["by"]) == ("deploy", "2", None)
    assert collector.api.get("/marks", service="rolling", kind="note")["marks"] == []


def test_a_planner_sets_no_marks(collector: Collector) -> None:
    with Sender(collector.port, collector.api.token) as sender:
        sender.more = {"Content-Type": "application/json"}
        body = json.dumps({"name": "x"}).encode()
        status, answer = sender.request("POST", "/api/performance/marks", body)
        assert (status, answer["error"]["code"]) == (403, "forbidden")
        status, answer = sender.request("DELETE", "/api/performance/marks/1")
        assert (status, answer["error"]["code"]) == (403, "forbidden")
