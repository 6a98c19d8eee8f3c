"""A service without a process fires an alert, as the overview says it is gone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.stores.alertworld import AlertWorld, alert_world, asked, told
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.alerts.evaluator import Evaluator
from trimtab_collector.circumstances import Circumstances
from trimtab_collector.contract.errors import instant
from trimtab_collector.marks import Marks
from trimtab_collector.objectives.slos import SloBook
from trimtab_collector.overview.overviews import Overviews, overview
from trimtab_collector.overview.situation import Sources
from trimtab_collector.reads.reader import StoreReader
from trimtab_core.batches import GaugeRow

RULE = "threshold.serviceGone"
LIVE = ("shop",)


class Host:
    """A collector's judging, and hosts that say which services have a process."""

    def __init__(self, world: AlertWorld) -> None:
        self.world = world
        self.reader = StoreReader(world.store)
        self.judge()
        self._seq = 0

    def judge(self) -> None:
        """Begin to judge, as after a start of the collector."""
        world, marks = self.world, Marks(self.world.state, self.world.clock)
        found = Circumstances(self.reader, SloBook(world.state, world.clock), marks)
        world.evaluator = Evaluator(
            *(world.store, world.state, world.rules, world.silences, world.book, world.sink),
            signals=(found.departures,), began=found.began, clock=world.clock,
        )  # fmt: skip

    def live(
        self,
        seconds: int,
        services: Sequence[str] = LIVE,
        *,
        agents: Sequence[str] = ("agent-1",),
        requests: int = 20,
    ) -> None:
        """Let time pass in which the agents tell of a process of each service, and of requests."""
        for _ in range(seconds // 10):
            now_s = int(self.world.clock.now_s)
            for agent in agents:
                rows = [GaugeRow("", "", agent, "system.memory.usage", 1e9)]
                rows += [GaugeRow("live", name, f"{agent}#0", "process.uptime", 60.0)
                         for name in services]  # fmt: skip
                point = point_of([20_000] * requests)
                points = {key_of(service=name, environment="live", instance=f"{agent}#0"): point
                          for name in services} if requests else {}  # fmt: skip
                self._seq += 1
                self.world.send(
                    a_batch(10_000 + self._seq, points, agent=agent, window_s=now_s, gauges=rows,
                            closed_us=(now_s + 10) * 10**6)
                )  # fmt: skip
            self.world.pass_windows(1, agents=())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with alert_world(tmp_path) as world:
        yield Host(world)


def test_a_service_whose_processes_are_gone_is_told_within_a_minute(host: Host) -> None:
    host.live(600)
    gone_s = host.world.clock.now_s
    host.live(40, ())
    assert told(host.world, RULE) == []
    host.live(20, ())
    (notice,) = host.world.sink.taken
    assert (notice.rule_id, notice.kind, notice.severity) == (RULE, "firing", "critical")
    assert (notice.where.environment, notice.where.service) == ("live", "shop")
    assert notice.since_s == gone_s
    assert "service" in dict(notice.links)
    (body,) = host.world.book.open()
    assert (body.service, body.since) == ("shop", instant(gone_s))


def test_the_alert_is_over_when_a_process_is_there_again(host: Host) -> None:
    host.live(600)
    host.live(60, ())
    host.live(80)
    assert told(host.world, RULE) == ["firing", "resolved"]


def test_a_process_of_another_agent_ends_it_though_the_first_is_missing(host: Host) -> None:
    host.live(600)
    host.live(60, ())
    host.live(90, agents=("agent-2",))
    assert told(host.world, RULE) == ["firing", "resolved"]


def test_a_restart_and_a_deploy_are_silent(host: Host) -> None:
    host.live(600)
    host.live(30, ())
    host.live(60)
    host.live(60, agents=("agent-1", "agent-2"))
    host.live(120, agents=("agent-2",))
    assert told(host.world, RULE) == []


def test_what_an_agent_that_is_silent_told_of_is_not_gone(host: Host) -> None:
    both = ("agent-1", "agent-2")
    host.live(600, agents=both)
    host.live(120, (), agents=("agent-2",))
    assert told(host.world, RULE) == []
    host.live(120, agents=())
    assert told(host.world, RULE) == []


def test_a_worker_without_requests_is_not_missed(host: Host) -> None:
    host.live(600, requests=0)
    host.live(120, ())
    assert told(host.world, RULE) == []


def test_a_service_that_was_stopped_for_good_is_told_of_for_an_hour(host: Host) -> None:
    host.live(1800)
    host.live(3000, ())
    assert told(host.world, RULE) == ["firing"]
    host.live(700, ())
    assert told(host.world, RULE) == ["firing", "expired"]
    host.live(600, ())
    assert told(host.world, RULE) == ["firing", "expired"]


def test_a_collector_that_was_started_again_goes_on_with_the_alert(host: Host) -> None:
    host.live(600)
    gone_s = host.world.clock.now_s
    host.live(120, ())
    host.world.restart()
    host.judge()
    host.live(120, ())
    (body,) = host.world.book.open()
    assert (body.state, body.since, body.value) == ("firing", instant(gone_s), 240)
    assert told(host.world, RULE) == ["firing"]


def test_the_overview_says_the_same_at_the_same_time(host: Host) -> None:
    host.live(600)
    gone_s = host.world.clock.now_s
    host.live(120, ())
    world = host.world
    sources = Sources(host.reader, Marks(world.state, world.clock), world.book)
    found = overview(Overviews(sources), asked(world))
    assert found.sentence.text.startswith("No requests have come to shop since")
    assert (found.sentence.severity, found.sentence.since) == ("critical", instant(gone_s))
    assert "Also" not in found.sentence.detail
    (happening,) = [each for each in found.happened if each.kind == "alert"]
    assert happening.at == instant(gone_s)
