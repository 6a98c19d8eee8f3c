"""redis-py is measured, sync and asyncio, against a real Redis."""

import asyncio
import inspect
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.apps.deltas import Look, in_request, instrumented
from trimtab.instrumentation import instrument, uninstrument

OPERATIONS = "db.client.operation.duration"
#: untyped, as most of what the client returns depends on arguments
CONNECT: Any = redis.asyncio.Redis.from_url


@pytest.fixture
def look() -> Iterator[Look]:
    with instrumented("redis") as look:
        yield look


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client
        for key in client.scan_iter("calls:*"):
            client.delete(key)


def operations(look: Look) -> list[tuple[int, tuple[str, ...]]]:
    return look(OPERATIONS, "db.operation.name", "error.type")


def cache(look: Look) -> dict[str, int]:
    names = ("trimtab.cache.hits", "trimtab.cache.misses")
    return {
        name.rpartition(".")[2]: sum(count for count, _ in look(name, "level")) for name in names
    }


def test_commands_are_measured_by_their_names(client: Any, look: Look) -> None:
    assert client.set("calls:a", "1") is True
    assert client.get("calls:a") == b"1"
    assert client.get("calls:a") == b"1"
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert operations(look) == [(1, ("CONFIG GET", "")), (1, ("SET", "")), (2, ("GET", ""))]
    assert {system for _, (system,) in look(OPERATIONS, "db.system.name")} == {"redis"}


def test_hits_are_reads_that_found_a_value(client: Any, look: Look) -> None:
    with in_request() as context:
        client.set("calls:a", "")
        client.get("calls:a")
        client.get("calls:none")
        client.mget("calls:a", "calls:none", "calls:never")
        client.hset("calls:h", "x", "1")
        client.hget("calls:h", "x")
        client.hmget("calls:h", "x", "y")
        client.hgetall("calls:h")
        client.hgetall("calls:none")
        client.lrange("calls:none", 0, 1)
        client.exists("calls:none")
    assert (context.cache_hits, context.cache_misses) == (5, 5)
    assert cache(look) == {"hits": 5, "misses": 5}


def test_what_queues_look_up_is_neither_hit_nor_miss(client: Any, look: Look) -> None:
    with in_request() as context:
        client.get("celery-task-meta-1")
        client.mget([b"celery-task-meta-1", b"celery-task-meta-2"])
        client.hgetall("rq:job:1")
        client.pipeline().hgetall("rq:job:1").get("calls:none").execute()
    assert (context.cache_hits, context.cache_misses) == (0, 1)
    assert cache(look) == {"hits": 0, "misses": 1}


def test_time_in_redis_is_cache_time_of_the_request(client: Any, look: Look) -> None:
    with in_request() as context:
        client.get("calls:none")
        client.pipeline().set("calls:a", 1).get("calls:a").get("calls:none").execute()
        client.pipeline(transaction=False).get("calls:a").execute()
    assert context.touched
    assert context.cache_ns > 0
    assert (context.cache_hits, context.cache_misses) == (2, 2)
    assert context.spans is not None
    assert [(what, text) for what, _, _, text in context.spans] == [
        ("cache", "GET"), ("cache", "MULTI"), ("cache", "PIPELINE"),
    ]  # fmt: skip
    assert sum(ns for _, _, ns, _ in context.spans) == context.cache_ns
    assert operations(look) == [(1, ("GET", "")), (1, ("MULTI", "")), (1, ("PIPELINE", ""))]


def test_a_pipeline_that_watches_is_measured_command_by_command(client: Any, look: Look) -> None:
    client.set("calls:a", "1")
    with client.pipeline() as pipe:
        pipe.watch("calls:a")
        assert pipe.get("calls:a") == b"1"
        pipe.multi()
        pipe.incr("calls:a")
        assert pipe.execute() == [2]
        assert pipe.execute() == []
    assert operations(look) == [
        (1, ("GET", "")), (1, ("MULTI", "")), (1, ("SET", "")), (1, ("WATCH", "")),
    ]  # fmt: skip


def test_errors_are_the_apps_and_have_their_class_in_the_measure(client: Any, look: Look) -> None:
    client.set("calls:a", "text")
    with in_request() as context:
        with pytest.raises(redis.ResponseError, match="not an integer"):
            client.incr("calls:a")
        with pytest.raises(redis.ResponseError, match="Command # 1"):
            client.pipeline().incr("calls:a").get("calls:a").execute()
        results = client.pipeline().incr("calls:a").get("calls:a").execute(raise_on_error=False)
    assert isinstance(results[0], redis.ResponseError)
    assert results[1] == b"text"
    assert (context.cache_hits, context.cache_misses) == (1, 0)
    assert operations(look) == [
        (1, ("INCRBY", "ResponseError")),
        (1, ("MULTI", "")),
        (1, ("MULTI", "ResponseError")),
        (1, ("SET", "")),
    ]


def test_commands_that_wait_for_others_are_no_cache_time(client: Any, look: Look) -> None:
    client.rpush("calls:l", "x", "y")
    client.xadd("calls:s", {"block": "1"})
    with in_request() as context:
        assert client.blpop(["calls:l"], timeout=1) == (b"calls:l", b"x")
        assert client.blmove("calls:l", "calls:m", 1) == b"y"
        client.xread({"calls:s": 0}, block=1)
        client.script_exists("0")
        assert not context.touched
        client.xread({"calls:s": 0})
        assert context.cache_ns > 0
    assert look(OPERATIONS, "db.operation.name", "trimtab.blocking") == [
        (1, ("BLMOVE", "true")), (1, ("BLPOP", "true")), (1, ("RPUSH", "")),
        (1, ("SCRIPT EXISTS", "")), (1, ("XADD", "")), (1, ("XREAD", "")), (1, ("XREAD", "true")),
    ]  # fmt: skip


def test_nothing_of_keys_and_values_is_kept(client: Any, look: Look) -> None:
    with in_request() as context:
        client.set("calls:key-word", "value-word")
        client.execute_command("SET calls:key-word value-word")
        client.execute_command("get", "calls:key-word")
        client.execute_command(b"GET", b"calls:key-word")
        client.config_set("maxmemory-policy", "noeviction")
        with pytest.raises(redis.ResponseError):
            client.execute_command("{key-word: value-word}")
        for secret in ("KEY-WORD", "XINFO KEY-WORD", b"key-word.value-word"):
            with pytest.raises(redis.ResponseError):
                client.execute_command(secret)
        client.pipeline().execute_command("GET calls:key-word").execute()
    kept = look.texts() + repr(context.spans)
    assert "key-word" not in kept.lower()
    assert "value-word" not in kept.lower()
    assert operations(look) == [
        (1, ("CONFIG SET", "")), (1, ("MULTI", "")), (1, ("XINFO", "ResponseError")),
        (2, ("GET", "")), (2, ("SET", "")), (3, ("_OTHER", "ResponseError")),
    ]  # fmt: skip


def test_as_many_names_as_an_app_may_make_up_are_not_kept(client: Any, look: Look) -> None:
    from trimtab.instrumentation.redis import _commands

    for number in range(600):
        client.execute_command(f"GET calls:{number}")
    assert operations(look) == [(600, ("GET", ""))]
    assert len(_commands) < 510


@pytest.mark.asyncio
async def test_asyncio_commands_and_pipelines_are_measured(redis_url: str, look: Look) -> None:
    async with CONNECT(redis_url) as client:
        with in_request() as context:
            await client.set("calls:a", "1")
            assert await client.get("calls:a") == b"1"
            async with client.pipeline() as pipe:
                await pipe.watch("calls:a")
                assert await pipe.get("calls:a") == b"1"
                pipe.multi()
                assert await pipe.get("calls:none").execute() == [None]
            assert await client.pipeline(transaction=False).delete("calls:a").execute() == [1]
        assert (context.cache_hits, context.cache_misses) == (2, 1)
        assert context.spans is not None
        assert len(context.spans) == 6
        with pytest.raises(redis.ResponseError):
            await client.execute_command("NOSUCH")
    assert operations(look) == [
        (1, ("MULTI", "")), (1, ("PIPELINE", "")), (1, ("SET", "")), (1, ("WATCH", "")),
        (1, ("_OTHER", "ResponseError")), (2, ("GET", "")),
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_a_cancelled_command_is_cancelled_and_booked(redis_url: str, look: Look) -> None:
    async with CONNECT(redis_url) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.blpop(["calls:none"], timeout=0), 0.05)
        # Its connection went with it: the next command has its own answer.
        assert await client.echo("x") == b"x"
    assert operations(look) == [(1, ("BLPOP", "CancelledError")), (1, ("ECHO", ""))]


def test_a_server_that_is_not_there_is_an_error_of_the_app(look: Look) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(redis.ConnectionError):
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)).get("calls:a")
    assert operations(look) == [(1, ("GET", "ConnectionError"))]


def test_subscriptions_are_left_alone(client: Any, look: Look) -> None:
    with client.pubsub() as pubsub:
        pubsub.subscribe("calls:c")
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        client.publish("calls:c", "x")
        assert pubsub.get_message(timeout=5)["data"] == b"x"
    assert operations(look) == [(1, ("PUBLISH", ""))]


def test_instrumenting_twice_measures_once_and_undoing_restores_the_originals(
    client: Any,
) -> None:
    owners = [
        (redis.Redis, "execute_command"),
        (redis.client.Pipeline, "immediate_execute_command"),
        (redis.client.Pipeline, "execute"),
        (redis.asyncio.Redis, "execute_command"),
        (redis.asyncio.client.Pipeline, "immediate_execute_command"),
        (redis.asyncio.client.Pipeline, "execute"),
    ]
    originals = [vars(owner)[name] for owner, name in owners]
    with instrumented("redis") as look:
        instrument("redis")
        assert all(
            vars(owner)[name] is not original
            and inspect.iscoroutinefunction(vars(owner)[name])
            is inspect.iscoroutinefunction(original)
            for (owner, name), original in zip(owners, originals, strict=True)
        )
        client.get("calls:a")
        assert operations(look) == [(1, ("GET", ""))]
    assert all(
        vars(owner)[name] is original
        for (owner, name), original in zip(owners, originals, strict=True)
    )
    client.get("calls:a")
    assert operations(look) == [(1, ("GET", ""))]
    uninstrument()


def test_threads_are_counted_exactly(client: Any, look: Look) -> None:
    client.set("calls:a", "1")

    def read() -> None:
        for _ in range(200):
            client.get("calls:a")

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert operations(look) == [(1, ("SET", "")), (1600, ("GET", ""))]
    assert cache(look) == {"hits": 1600, "misses": 0}
