"""Objectives whose budget burns: one incident each, by the pair of windows that burns fastest."""

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from support.stores.alertworld import AlertWorld, add, alert_world, told
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.alerts.evaluator import Evaluator
from trimtab_collector.circumstances import Circumstances
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.slos import SloSettings
from trimtab_collector.marks import Marks
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.texts import Texts
from trimtab_collector.objectives.slos import SloBook
from trimtab_collector.reads.reader import StoreReader
from trimtab_core.batches import GaugeRow
from trimtab_core.rows import EventRow, pack_rows

ADA = Caller("ada", Role.ADMIN)
ERRORS = SloSettings(name="few errors", target=0.99, service="shop", min_requests=10)


class Promised:
    """A collector's judging, with objectives and marks."""

    def __init__(self, world: AlertWorld) -> None:
        self.world = world
        self.slos = SloBook(world.state, world.clock)
        self.marks = Marks(world.state, world.clock)
        found = Circumstances(StoreReader(world.store), self.slos, self.marks)
        world.evaluator = Evaluator(
            *(world.store, world.state, world.rules, world.silences, world.book, world.sink),
            signals=(found.burns,), explain=found.changes, promised=found.promised,
            clock=world.clock,
        )  # fmt: skip


@pytest.fixture
def promised(tmp_path: Path) -> Iterator[Promised]:
    with alert_world(tmp_path) as world:
        yield Promised(world)


def test_an_objective_that_burns_over_an_hour_and_six_is_told_once(promised: Promised) -> None:
    promised.slos.add(ERRORS, ADA)
    promised.world.pass_windows(20, 10, errors=20)
    assert told(promised.world, "slo") == ["firing"]
    (notice,) = [each for each in promised.world.sink.taken if each.metric == "burnRate"]
    assert (notice.severity, notice.threshold) == ("critical", 14.4)
    assert notice.value == pytest.approx(40)
    assert (notice.where.service, notice.where.subject) == ("shop", "few errors")
    assert (notice.where.subject_kind, notice.where.instance) == ("slo", "")
    assert notice.promise is not None
    assert (notice.promise.kind, notice.promise.target) == ("errors", 0.99)
    assert (notice.promise.window_days, notice.promise.long_s) == (30, 3600)
    assert notice.promise.left == pytest.approx(1 - 40)
    (body,) = [each for each in promised.world.book.open() if each.metric == "burnRate"]
    assert body.instance == ""
    assert body.labels == {"slo": "few errors", "environment": "", "service": "shop"}


def test_a_slow_burn_is_a_warning_by_the_line_of_its_windows(promised: Promised) -> None:
    promised.slos.add(ERRORS, ADA)
    promised.world.pass_windows(20, 10, errors=1)
    (notice,) = promised.world.sink.taken
    assert (notice.severity, notice.threshold) == ("warning", 1.0)
    assert notice.value == pytest.approx(2)
    assert notice.promise is not None
    assert notice.promise.long_s == 3 * 86_400


def test_a_service_that_takes_no_more_requests_has_not_recovered(promised: Promised) -> None:
    promised.slos.add(ERRORS, ADA)
    promised.world.pass_windows(20, 10, errors=20)
    promised.world.pass_windows(90, agents=())
    assert told(promised.world, "slo") == ["firing"]


def test_marks_come_with_kind_and_the_place_that_the_alert_does_not_name(
    promised: Promised,
) -> None:
    promised.slos.add(ERRORS, ADA)
    promised.marks.add("deploy", "1.4.2", "", "shop")
    promised.marks.add("config", "tax", "live")
    promised.world.pass_windows(20, 10, errors=20)
    (notice,) = [each for each in promised.world.sink.taken if each.metric == "burnRate"]
    deploy, config = (each for each in notice.changes if each.kind == "mark")
    assert (deploy.mark, deploy.service, deploy.environment) == ("deploy", "", "")
    assert (config.mark, config.service, config.environment) == ("config", "", "live")


def test_an_alert_of_errors_names_the_route_the_exception_and_its_line(
    promised: Promised,
) -> None:
    world = promised.world
    add(world, "errors", metric="errorRate", threshold=0.05)
    promised.marks.add("note", "generated until here", "live")
    for _ in range(20):
        start_s = int(world.clock.now_s)
        failed = EventRow("live", "shop", "agent-1#0", {
            "kind": "request", "reason": "failed", "route": "/overdue", "method": "GET",
            "error": "ZeroDivisionError", "error_site": "app.py:124 in overdue",
            "at_us": start_s * 1_000_000,
        })  # fmt: skip
        world.clock.advance_s(10)
        world.send(a_batch(
            start_s, {
                key_of("/overdue", environment="live"): point_of([1000] * 50, errors=50),
                key_of("/cart", environment="live"): point_of([1000] * 50),
            }, window_s=start_s, rows=pack_rows((), (failed,))[0],
        ))  # fmt: skip
        world.evaluator.step(int(world.clock.now_s))
    notice = next(each for each in world.sink.taken if each.metric == "errorRate")
    (change,) = notice.changes
    assert (change.kind, change.name, change.share) == ("errors", "GET /overdue", 1.0)
    assert change.detail == "ZeroDivisionError: app.py:124 in overdue"
    text = Texts("en", UTC, "").write(Message("k", (notice,), world.clock.now_s)).plain()
    assert "100 % of the errors are in GET /overdue (ZeroDivisionError: app.py:124 in over" in text


def test_a_cpu_alert_names_the_processes_that_take_most_of_it(promised: Promised) -> None:
    world = promised.world
    taken = {"shop": 1.5, "library": 0.25, "mailer": 0.125, "idle": 0.01}
    for place in range(60):
        rows = [
            GaugeRow("live", name, f"agent-1#{name[0]}", "process.cpu.utilization", cores)
            for name, cores in taken.items()
        ]
        now_s = int(world.clock.now_s)
        world.send(
            a_batch(
                10_000 + place, {}, window_s=now_s, closed_us=now_s * 10**6 + 10**7, gauges=rows
            )
        )
        world.pass_windows(1, gauges={"system.cpu.utilization": 0.95})
    notices = [each for each in world.sink.taken if each.metric == "cpuUsage"]
    named = [(each.name, each.detail, each.share) for each in notices[0].changes]
    assert named == [("shop agent-1#s", "live", 1.5), ("library agent-1#l", "live", 0.25)]
