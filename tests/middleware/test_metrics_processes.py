"""Own metrics count exactly: between threads, tasks and the processes of a fork."""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.processes.pushing import serving
from support.processes.servers import wait_for
from trimtab.metrics.counter import Counter
from trimtab.metrics.decorators import measure, monitored
from trimtab.metrics.gauge import Gauge
from trimtab.metrics.histogram import Histogram
from trimtab.metrics.metric import registry
from trimtab.metrics.shortcuts import count
from trimtab.metrics.summary import Summary
from trimtab.runtime import PROCESS
from trimtab.sinks import MemorySink, PushgatewaySink, collect_and_store

forking = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


class World:
    """A metric of each kind, without labels and with; `work` adds one of all to each."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.plain = Counter(f"{word}.plain")
        self.by = Counter(f"{word}.by", labels=["who"])
        self.capped = Counter(f"{word}.capped", labels=["n"], cap=5)
        self.depth = Gauge(f"{word}.depth")
        self.held = Gauge(f"{word}.held", labels=["who"])
        self.sizes = Histogram(f"{word}.sizes")
        self.waits = Histogram(f"{word}.waits", buckets=[1, 2])
        self.recent = Summary(f"{word}.recent", labels=["who"])
        self.timed: Callable[[int], int] = monitored(f"{word}.timed")(self._timed)

    @staticmethod
    def _timed(n: int) -> int:
        if n % 2:
            raise ValueError(n)
        return n

    def work(self, n: int) -> None:
        who = n % 3
        self.plain.inc()
        self.by.inc(2, who=who)
        self.capped.inc(n=n)
        self.depth.inc(3)
        self.depth.dec(2)
        self.held.inc(who=who)
        self.sizes.observe(n)
        self.waits.observe(n % 4)
        self.recent.observe(n, who=who)
        count(f"{self.word}.called", who=who)
        with measure(f"{self.word}.block", who=who):
            pass
        try:
            self.timed(n)
        except ValueError:
            pass

    def read(self) -> dict[str, Any]:
        """Return what there is of it, in sums over the labels."""
        metrics = registry()

        def total(name: str) -> float:
            rows = metrics[f"{self.word}.{name}"].rows() if f"{self.word}.{name}" in metrics else []
            return sum(row.value for row in rows if isinstance(row.value, float))

        [waits] = self.waits.rows()
        assert not isinstance(waits.value, float)
        return {
            "plain": self.plain.value(), "by": total("by"), "capped": total("capped"),
            "depth": self.depth.value(), "held": total("held"), "called": total("called"),
            "sizes": [self.sizes.statistics().count, self.sizes.statistics().sum],
            "waits": [list(each) for each in waits.value.buckets[:-1]],
            "recent": sum(self.recent.statistics(who=who).count for who in range(3)),
            "timed": [total("timed.calls"), total("timed.errors")],
            "block": total("block.calls"),
        }  # fmt: skip


def expected(numbers: range, threads: int = 1) -> dict[str, Any]:
    calls = len(numbers) * threads
    buckets = [threads * sum(n % 4 <= bound for n in numbers) for bound in (1, 2)]
    return {
        "plain": calls, "by": 2 * calls, "capped": calls, "depth": calls, "held": calls,
        "called": calls, "sizes": [calls, threads * sum(numbers)],
        "waits": [[1, buckets[0]], [2, buckets[1]]], "recent": calls,
        "timed": [calls, threads * sum(n % 2 for n in numbers)], "block": calls,
    }  # fmt: skip


def sent(word: str) -> dict[str, float]:
    """Return what the measures behind a word hold for the agent: counts."""
    found: dict[str, float] = {}
    for name, family in PROCESS.measures.families().items():
        if name.startswith(f"{word}."):
            found[name] = sum(measure.read().count for measure in family)
    return found


def test_eight_threads_lose_nothing_while_somebody_reads() -> None:
    world = World("threads")
    done = threading.Event()
    totals: list[float] = []

    def read() -> None:
        while not done.is_set():
            totals.append(world.plain.value())
            collect_and_store(MemorySink(max_rows=10_000), [world.by, world.recent, world.waits])
            # As the emitter does; what it takes is still this process's.
            for measured in PROCESS.measures.families()["threads.plain"]:
                measured.take()

    def work() -> None:
        for n in range(1000):
            world.work(n)

    threads = [threading.Thread(target=work) for _ in range(8)]
    reader = threading.Thread(target=read)
    for thread in [reader, *threads]:
        thread.start()
    for thread in threads:
        thread.join(60)
    done.set()
    reader.join(60)
    assert world.read() == expected(range(1000), threads=8)
    assert totals == sorted(totals)
    counts = sent("threads")
    assert counts["threads.plain"] == counts["threads.sizes"] == counts["threads.recent"] == 8000


@pytest.mark.asyncio
async def test_two_thousand_tasks_lose_nothing() -> None:
    world = World("tasks")

    async def task(n: int) -> None:
        await asyncio.sleep(0)
        world.work(n)

    await asyncio.gather(*(task(n) for n in range(2000)))
    assert world.read() == expected(range(2000))


def in_children(number: int, work: Callable[[int], object]) -> list[Any]:
    """Fork children that work at once; return what each of them answers."""
    pipes = []
    for child in range(number):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(reading)
                with os.fdopen(writing, "w") as pipe:
                    json.dump(work(child), pipe)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        pipes.append((pid, reading))
    answers = []
    for pid, reading in pipes:
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        assert os.waitpid(pid, 0)[1] == 0
        answers.append(json.loads(text))
    return answers


@forking
def test_each_of_four_forks_counts_its_own() -> None:
    world = World("forks")
    for n in range(10):
        world.work(n)

    def work(child: int) -> object:
        empty = world.read()
        numbers = range((child + 1) * 100)
        for n in numbers:
            world.work(n)
        Counter("forks.of.a.child").inc()
        return [empty["plain"], empty["depth"], empty["recent"], empty["waits"], world.read()]

    nothing = [[1, 0], [2, 0]]
    for child, answer in enumerate(in_children(4, work)):
        assert answer == [0, 0, 0, nothing, expected(range((child + 1) * 100))]
    assert world.read() == expected(range(10))
    assert "forks.of.a.child" not in registry()


@forking
def test_a_fork_while_threads_add_is_no_deadlock() -> None:
    world = World("busy")
    ended = threading.Event()

    def work() -> None:
        n = 0
        while not ended.is_set():
            world.work(n := n + 1)

    def once(_: int) -> object:
        for n in range(9):
            world.work(n)
        return world.read()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            [answer] = in_children(1, once)
            assert answer == expected(range(9))
    finally:
        ended.set()
        for thread in threads:
            thread.join(20)


@forking
def test_the_children_of_a_process_that_pushes_push_their_own() -> None:
    counter = Counter("forks.pushed")
    counter.inc(100)
    with serving() as gateway:
        sink = PushgatewaySink(gateway.url, "shop", interval_s=0.05).start()

        def work(child: int) -> object:
            counter.inc(child + 1)
            alive = [each.name for each in threading.enumerate() if each.name == "trimtab-push"]
            done = sink.stop()
            return [os.getpid(), alive, done.failed]

        answers = in_children(3, work)
        sink.stop()
        host = os.uname().nodename

        def pushed(pid: int) -> float:
            group = gateway.groups[("job", "shop"), ("instance", f"{host}:{pid}")]
            return group["forks_pushed_total",]

        for child, (pid, alive, failed) in enumerate(answers):
            assert (alive, failed) == (["trimtab-push"], "")
            assert pushed(pid) == child + 1
        wait_for(lambda: pushed(os.getpid()) == 100, "the parent's own")
