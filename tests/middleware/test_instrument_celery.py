"""Celery's tasks are measured where they are sent and where a real worker runs them."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from support.apps.deltas import Look, heard, instrumented
from support.processes.peer import Peer, running_peer
from support.processes.servers import Proc, wait_for
from trimtab.instrumentation import instrument, uninstrument
from trimtab_core.measures import Delta

RUNS = "messaging.process.duration"
WAITS = "trimtab.task.wait"
SENT = "trimtab.task.sent"
LOST = "trimtab.task.lost"


@pytest.fixture(scope="module")
def tasks(redis_url: str) -> Iterator[Any]:
    """The module of tasks, in this process as the sender."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "targets"))
    patch = pytest.MonkeyPatch()
    patch.setenv("QUEUE_URL", redis_url)
    module = import_module("celery_target")
    uninstrument()
    yield module
    module.app.close()
    patch.undo()
    sys.path.pop(0)


class Worker(Proc):
    """A Celery worker that takes from the queue `orders` and tells a peer what it measures."""

    def __init__(self, directory: Path, redis_url: str, peer: Peer, pool: str) -> None:
        command = [
            *(sys.executable, "-m", "celery", "-A", "celery_target", "worker"),
            *("--pool", pool, "-c", "2", "-Q", "orders", "--without-mingle", "--without-gossip"),
            *("-l", "INFO", "-n", f"{pool}@%h"),
        ]
        env = {
            "QUEUE_URL": redis_url,
            "PYTHONPATH": str(Path(__file__).parent.parent / "targets"),
            "TRIMTAB_AGENT": peer.address,
            "TRIMTAB_INTERVAL_MS": "50",
            "TRIMTAB_GAUGES": "0",
        }
        super().__init__(f"celery-{pool}", command, directory, env)


@pytest.fixture(params=["prefork", "solo"])
def worker(
    request: pytest.FixtureRequest, tmp: Path, redis_url: str, tasks: Any
) -> Iterator[tuple[Worker, Peer]]:
    with running_peer() as peer, Worker(tmp, redis_url, peer, request.param) as process:
        process.start().wait_line("ready.")
        yield process, peer


@pytest.fixture
def look(tasks: Any) -> Iterator[Look]:
    with instrumented("celery") as look:
        yield look


def runs(peer: Peer) -> dict[tuple[str, str, str], int]:
    """Return how often tasks ended, by task, state and class of the exception."""
    found = {}
    for key, delta in heard(peer).items():
        if key.name == RUNS:
            given = dict(key.attributes)
            assert given["messaging.system"] == "celery"
            assert given["messaging.destination.name"] == "orders"
            task = given["trimtab.task"].removeprefix("celery_target.")
            found[task, given["trimtab.task.state"], given.get("error.type", "")] = delta.count
    return found


def wait_of(peer: Peer, task: str) -> Delta:
    for key, delta in heard(peer).items():
        if key.name == WAITS and ("trimtab.task", f"celery_target.{task}") in key.attributes:
            return delta
    return Delta()


def until(found: Callable[[], Any], what: str) -> Any:
    return wait_for(found, what, 20.0)


def test_a_worker_tells_how_tasks_ended_and_how_long_they_waited(
    worker: tuple[Worker, Peer], tasks: Any, look: Look
) -> None:
    process, peer = worker
    assert [tasks.add.delay(n, 1).get(timeout=20) for n in range(5)] == [1, 2, 3, 4, 5]
    with pytest.raises(KeyError):
        tasks.fail.delay("secret-word").get(timeout=20)
    assert tasks.again.delay("secret-word").get(timeout=20) == "done"
    tasks.ignore.delay()
    tasks.reject.delay()
    expected = {
        ("add", "success", ""): 5,
        ("fail", "failure", "KeyError"): 1,
        ("again", "retry", "OSError"): 2,
        ("again", "success", ""): 1,
        ("ignore", "ignored", ""): 1,
        ("reject", "rejected", ""): 1,
    }
    until(lambda: runs(peer) == expected, "all runs to be told")
    assert look(SENT, "messaging.destination.name", "trimtab.task") == [
        (1, ("orders", "celery_target.again")),
        (1, ("orders", "celery_target.fail")),
        (1, ("orders", "celery_target.ignore")),
        (1, ("orders", "celery_target.reject")),
        (5, ("orders", "celery_target.add")),
    ]
    assert process.stop() == 0
    assert runs(peer) == expected
    waited = wait_of(peer, "add")
    assert waited.count == 5
    assert 0 <= waited.min <= waited.max < 20
    assert wait_of(peer, "again").count == 3
    told = {key: delta.sum for key, delta in heard(peer).items() if key.name == SENT}
    assert sum(told.values()) == 2  # the retries, sent by the worker
    assert "secret-word" not in repr(heard(peer))
    assert not peer.errors


def test_a_task_that_is_done_as_the_worker_ends_is_told(
    worker: tuple[Worker, Peer], tasks: Any, look: Look
) -> None:
    process, peer = worker
    tasks.add.delay(1, 1).get(timeout=20)
    assert process.stop() == 0
    assert runs(peer) == {("add", "success", ""): 1}


@pytest.mark.parametrize("worker", ["prefork"], indirect=True)
def test_tasks_that_end_with_their_processes_are_lost(
    worker: tuple[Worker, Peer], tasks: Any, look: Look
) -> None:
    _, peer = worker
    tasks.leave.delay()
    tasks.kill.delay()

    def lost() -> set[tuple[str, str, float]]:
        given = [
            (dict(key.attributes), delta.sum)
            for key, delta in heard(peer).items()
            if key.name == LOST
        ]
        return {(each["trimtab.task"], each["error.type"], count) for each, count in given}

    until(
        lambda: lost() == {
            ("celery_target.kill", "WorkerLostError", 1),
            ("celery_target.leave", "WorkerLostError", 1),
        },
        "the tasks to be told as lost",
    )  # fmt: skip
    assert tasks.add.delay(1, 1).get(timeout=20) == 2
    # One that leaves in order tells of its run.
    expected = {("add", "success", ""): 1, ("leave", "failure", "SystemExit"): 1}
    until(lambda: runs(peer) == expected, "the runs that ended")


@pytest.mark.parametrize("worker", ["solo"], indirect=True)
def test_tasks_of_senders_that_do_not_measure_have_no_wait(
    worker: tuple[Worker, Peer], tasks: Any
) -> None:
    process, peer = worker
    uninstrument()
    assert tasks.headers.delay().get(timeout=20)["headers"] is None
    eta = datetime.now(UTC) + timedelta(seconds=1.5)
    with instrumented("celery"):
        seen = tasks.headers.apply_async(headers={"mine": 1}).get(timeout=20)["headers"]
        tasks.headers.apply_async(eta=eta).get(timeout=20)
        tasks.headers.apply_async(
            headers={"mine": 1}, eta=eta.replace(tzinfo=None).isoformat()
        ).get(timeout=20)
    assert set(seen) == {"mine", "trimtab_sent_ms"}
    assert process.stop() == 0
    assert runs(peer) == {("headers", "success", ""): 4}
    waited = wait_of(peer, "headers")
    assert waited.count == 2
    # What a task was told to wait is no delay in the queue.
    assert waited.max < 1.5


def test_eager_tasks_are_calls(tasks: Any, look: Look) -> None:
    assert tasks.add.apply((1, 2)).get() == 3
    assert look(RUNS, "trimtab.task") == []
    assert look(SENT, "trimtab.task") == []


def test_clocks_that_differ_make_no_negative_wait(look: Look) -> None:
    from trimtab.instrumentation.tasks import book_wait
    from trimtab.runtime import PROCESS

    book_wait("celery", "clocks", "task", -5.0)
    [measure] = [
        each
        for each in PROCESS.measures.families()[WAITS]
        if ("messaging.destination.name", "clocks") in each.key.attributes
    ]
    assert (measure.read().count, measure.read().min) == (1, 0.0)


def test_instrumenting_twice_measures_once_and_undoing_restores_the_signals(tasks: Any) -> None:
    from celery import signals  # type: ignore[import-untyped]

    watched = [
        signals.before_task_publish,
        signals.after_task_publish,
        signals.task_prerun,
        signals.task_postrun,
        signals.task_failure,
        signals.worker_process_shutdown,
    ]
    before = [list(signal.receivers) for signal in watched]
    with instrumented("celery") as look:
        instrument("celery")
        tasks.add.apply_async((1, 2), queue="nobodys")
        assert look(SENT, "messaging.destination.name") == [(1, ("nobodys",))]
    assert [list(signal.receivers) for signal in watched] == before
    tasks.add.apply_async((1, 2), queue="nobodys")
    assert look(SENT, "messaging.destination.name") == [(1, ("nobodys",))]
