"""RQ's jobs are measured where they are enqueued and where a real worker performs them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import retry
from redis.backoff import NoBackoff
from rq import Queue, Retry
from rq.job import JobStatus
from rq.rate_limit import RateLimit
from rq.worker import BaseWorker

from support.apps.deltas import Look, heard, instrumented
from support.processes.peer import Peer, running_peer
from support.processes.servers import Proc, wait_for
from trimtab.instrumentation import instrument
from trimtab_core.measures import Delta

RUNS = "messaging.process.duration"
WAITS = "trimtab.task.wait"
SENT = "trimtab.task.sent"
LOST = "trimtab.task.lost"
TARGETS = Path(__file__).parent.parent / "targets"


@pytest.fixture
def queue(redis_url: str) -> Iterator[Queue]:
    with redis.Redis.from_url(redis_url) as connection:
        queue = Queue("mails", connection=connection)
        yield queue
        queue.delete()


@pytest.fixture(params=["Worker", "SimpleWorker"])
def worker(
    request: pytest.FixtureRequest, tmp: Path, redis_url: str
) -> Iterator[tuple[Proc, Peer]]:
    with running_peer() as peer:
        env = {
            "QUEUE_URL": redis_url,
            "PYTHONPATH": str(TARGETS),
            "TRIMTAB_AGENT": peer.address,
            "TRIMTAB_INTERVAL_MS": "50",
            "TRIMTAB_GAUGES": "0",
        }
        command = [sys.executable, str(TARGETS / "rq_target.py"), request.param]
        with Proc("rq", command, tmp, env) as process:
            process.start().wait_line("Listening on mails")
            yield process, peer


@pytest.fixture
def look() -> Iterator[Look]:
    with instrumented("rq") as look:
        yield look


def runs(peer: Peer) -> dict[tuple[str, str, str], int]:
    """Return how often jobs ended, by task, state and class of the exception."""
    found = {}
    for key, delta in heard(peer).items():
        if key.name == RUNS:
            given = dict(key.attributes)
            assert given["messaging.system"] == "rq"
            assert given["messaging.destination.name"] == "mails"
            task = given["trimtab.task"].removeprefix("rq_target.")
            found[task, given["trimtab.task.state"], given.get("error.type", "")] = delta.count
    return found


def one(peer: Peer, name: str, task: str) -> Delta:
    for key, delta in heard(peer).items():
        if key.name == name and ("trimtab.task", f"rq_target.{task}") in key.attributes:
            return delta
    return Delta()


def until(found: Callable[[], Any], what: str) -> Any:
    return wait_for(found, what, 20.0)


def test_a_worker_tells_how_jobs_ended_and_how_long_they_waited(
    worker: tuple[Proc, Peer], queue: Queue, look: Look
) -> None:
    process, peer = worker
    jobs = [queue.enqueue("rq_target.add", n, 1) for n in range(4)]
    queue.enqueue("rq_target.fail", "secret-word")
    queue.enqueue("rq_target.fail", "secret-word", retry=Retry(max=1))
    queue.enqueue("rq_target.again")
    expected = {
        ("add", "success", ""): 4,
        ("fail", "failure", "KeyError"): 2,
        ("fail", "retry", "KeyError"): 1,
        ("again", "retry", ""): 1,
        ("again", "success", ""): 1,
    }
    until(lambda: runs(peer) == expected, "all runs to be told")
    assert [job.return_value() for job in jobs] == [1, 2, 3, 4]
    assert look(SENT, "messaging.destination.name", "trimtab.task") == [
        (1, ("mails", "rq_target.again")),
        (2, ("mails", "rq_target.fail")),
        (4, ("mails", "rq_target.add")),
    ]
    assert process.stop() == 0
    assert runs(peer) == expected
    waited = one(peer, WAITS, "add")
    assert waited.count == 4
    assert 0 <= waited.min <= waited.max < 20
    assert one(peer, SENT, "again").sum == 1  # the worker put it back
    assert "secret-word" not in repr(heard(peer))
    assert not peer.errors


@pytest.mark.parametrize("worker", ["Worker"], indirect=True)
def test_a_job_that_is_killed_with_its_work_horse_is_lost(
    worker: tuple[Proc, Peer], queue: Queue
) -> None:
    _, peer = worker
    job = queue.enqueue("rq_target.kill")
    until(lambda: one(peer, LOST, "kill").sum == 1, "the job to be told as lost")
    until(lambda: job.get_status() == JobStatus.FAILED, "the job to have failed")
    queue.enqueue("rq_target.add", 1, 1)
    until(lambda: runs(peer) == {("add", "success", ""): 1}, "the next job")


def test_jobs_are_counted_however_they_are_enqueued(queue: Queue, look: Look) -> None:
    queue.enqueue("rq_target.add", 1, 2)
    queue.enqueue_many([Queue.prepare_data("rq_target.add", (n, 1)) for n in range(3)])
    job = queue.create_job("rq_target.fail")
    queue.enqueue_job(job)
    limit = RateLimit("calls", 1)
    limited = [queue.enqueue("rq_target.again", rate_limit=limit) for _ in range(2)]
    assert limited[1].get_status() == JobStatus.RATE_LIMITED
    assert look(SENT, "messaging.system", "trimtab.task") == [
        (1, ("rq", "rq_target.fail")),
        (2, ("rq", "rq_target.again")),
        (4, ("rq", "rq_target.add")),
    ]


def test_jobs_that_cannot_be_enqueued_raise_and_are_not_counted(queue: Queue, look: Look) -> None:
    gone = Queue("mails", connection=redis.Redis(port=1, retry=retry.Retry(NoBackoff(), 0)))
    with pytest.raises(redis.ConnectionError):
        gone.enqueue("rq_target.add")
    assert look(SENT, "trimtab.task") == []


def test_instrumenting_twice_measures_once_and_undoing_restores_the_originals(
    queue: Queue,
) -> None:
    owners = [
        (Queue, "_enqueue_job"),
        (Queue, "_enqueue_rate_limited_job"),
        (BaseWorker, "perform_job"),
        (BaseWorker, "handle_exception"),
        (BaseWorker, "handle_work_horse_killed"),
    ]
    originals = [vars(owner)[name] for owner, name in owners]
    with instrumented("rq") as look:
        instrument("rq")
        assert all(
            vars(owner)[name] is not original
            for (owner, name), original in zip(owners, originals, strict=True)
        )
        queue.enqueue("rq_target.add")
        assert look(SENT, "trimtab.task") == [(1, ("rq_target.add",))]
    assert all(
        vars(owner)[name] is original
        for (owner, name), original in zip(owners, originals, strict=True)
    )
    queue.enqueue("rq_target.add")
    assert look(SENT, "trimtab.task") == [(1, ("rq_target.add",))]
