"""The probe of queues against a real Redis, filled by Celery, RQ and plain commands."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import kombu.pools
import pytest
import redis
from celery import Celery  # type: ignore[import-untyped]
from rq import Queue, SimpleWorker

from support.apps import queuejobs
from support.processes.probing import gauges, read, running, until
from trimtab_agent.probes.queues import QueueProbe
from trimtab_core.catalog import CATALOG
from trimtab_core.errors import SettingsError

DEPTH = "trimtab.queue.depth"
STARTED = "trimtab.queue.started"
FAILED = "trimtab.queue.failed"
LAG = "trimtab.queue.lag"


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    client = redis.Redis.from_url(redis_url)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def name() -> str:
    return f"work-{uuid4().hex[:8]}"


def depths(url: str, queue: str) -> dict[str, float]:
    probe = QueueProbe(f"{url}#{queue}")
    try:
        return dict(read(probe).gauges)
    finally:
        probe.close()


def test_a_list_is_as_deep_as_it_is_long(redis_url: str, client: Any, name: str) -> None:
    assert depths(redis_url, f"list:{name}") == {DEPTH: 0}
    client.rpush(name, *range(7))
    client.lpop(name)
    assert depths(redis_url, f"list:{name}") == {DEPTH: 6}


def test_a_stream_has_a_length_and_what_its_slowest_group_has_not_got(
    redis_url: str, client: Any, name: str
) -> None:
    assert depths(redis_url, f"stream:{name}") == {DEPTH: 0}
    for number in range(10):
        client.xadd(name, {"n": number})
    assert depths(redis_url, f"stream:{name}") == {DEPTH: 10}
    for group, taken in (("fast", 9), ("slow", 3)):
        client.xgroup_create(name, group, id="0")
        client.xreadgroup(group, "one", {name: ">"}, count=taken)
    (entry, *_) = client.xrange(name, count=1)
    client.xack(name, "fast", entry[0])
    assert depths(redis_url, f"stream:{name}") == {DEPTH: 10, LAG: 7, STARTED: 8 + 3}


def test_a_queue_of_celery_counts_all_priorities_and_what_is_taken_and_not_finished(
    redis_url: str, client: Any, name: str
) -> None:
    with Celery("app", broker=redis_url, set_as_current=False) as app:
        app.conf.task_default_queue = name
        with app.connection_for_write() as connection:
            for priority in (0, 0, 3, 6, 9):
                app.send_task("tasks.work", priority=priority, connection=connection)
        assert depths(redis_url, f"celery:{name}") == {DEPTH: 5, STARTED: 0}
        with app.connection_for_read() as connection, connection.SimpleQueue(name) as taken:
            message = taken.get(timeout=5)
            found = depths(redis_url, f"celery:{name}")
            assert found[STARTED] >= 1
            assert found[DEPTH] + found[STARTED] == 5
            message.ack()
        app.pool.force_close_all()
        # Pools are kept by URL: the next app of this Redis would get a closed one.
        kombu.pools.reset()  # type: ignore[no-untyped-call]


def test_a_queue_of_rq_counts_waiting_running_and_failed_jobs(
    redis_url: str, client: Any, name: str
) -> None:
    queue = Queue(name, connection=client)
    queue.enqueue(queuejobs.look, redis_url, name)
    queue.enqueue(queuejobs.fail)
    queue.enqueue(queuejobs.look, redis_url, name)
    assert depths(redis_url, f"rq:{name}") == {DEPTH: 3, STARTED: 0, FAILED: 0}
    queuejobs.seen.clear()
    SimpleWorker([queue], connection=client).work(burst=True, logging_level="CRITICAL")
    assert queuejobs.seen == [
        {DEPTH: 2, STARTED: 1, FAILED: 0},
        {DEPTH: 0, STARTED: 1, FAILED: 1},
    ]
    assert depths(redis_url, f"rq:{name}") == {DEPTH: 0, STARTED: 0, FAILED: 1}


@pytest.mark.asyncio
async def test_queues_are_named_by_their_name_and_a_second_of_that_name_is_told_apart(
    redis_url: str, client: Any, name: str
) -> None:
    client.rpush(name, "x")
    client.xadd(f"{name}-s", {"n": 1})
    queues = (
        f"{redis_url}#list:{name}",
        f"{redis_url}#stream:{name}-s",
        f"{redis_url}#stream:{name}",
        f"{redis_url}#list:{name}",
    )

    async def scenario() -> dict[str, dict[str, float]]:
        async with running(probe_queues=queues) as probes:
            await until(lambda: len(probes.gauges()) >= 3 * 3 + 1, "all gauges")
            return {gauge.instance: gauges(probes, gauge.instance) for gauge in probes.gauges()}

    found = await scenario()
    assert set(found) == {
        f"queue:{name}", f"queue:{name}-s", f"queue:{name}#2", f"queue:{name}#3"
    }  # fmt: skip
    assert found[f"queue:{name}"][DEPTH] == found[f"queue:{name}#3"][DEPTH] == 1
    assert found[f"queue:{name}#2"] == {"trimtab.probe.up": 0}, "a list is no stream"
    assert {each for gauges in found.values() for each in gauges} <= set(CATALOG)


@pytest.mark.parametrize(
    "text",
    [
        "redis://:s3cret@h/0",
        "redis://:s3cret@h/0#heap:x",
        "redis://:s3cret@h/0#list:",
        "s3cret#rq:a",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SettingsError, match="probe_queues: expected redis://") as caught:
        QueueProbe(text)
    assert "s3cret" not in str(caught.value)
