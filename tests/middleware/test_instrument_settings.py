"""What libraries have set is told once per second, as gauges: the advisor compares it."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import httpx
import pytest
import sqlalchemy as sa

from support.apps.deltas import Look, heard, instrumented
from support.processes.peer import running_peer
from support.processes.servers import Proc, wait_for
from trimtab.instrumentation import asyncpg as asyncpg_hooks
from trimtab.instrumentation import httpx as httpx_hooks
from trimtab.instrumentation import sqlalchemy as sqlalchemy_hooks
from trimtab.runtime import PROCESS

POOL = "db.client.connection.pool.name"
CLIENT = "trimtab.http.client."


def values(name: str) -> list[tuple[dict[str, str], float, float]]:
    """Return attributes, smallest and largest value of the measures of a name."""
    family = PROCESS.measures.families().get(name, ())
    found = [(measure.key.attributes, measure.read()) for measure in family]
    return [(dict(pairs), delta.min, delta.max) for pairs, delta in found if delta.count]


def last(name: str, **attributes: str) -> float:
    family = PROCESS.measures.families()[name]
    (measure,) = [each for each in family if dict(each.key.attributes) == attributes]
    return float(measure.read().last)


# ---------------------------------------------------------------- SQLAlchemy


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (5, 10, 0, -1, 30)),
        (
            {"pool_size": 20, "max_overflow": 30, "pool_pre_ping": True, "pool_recycle": 3600,
             "pool_timeout": 7},
            (20, 30, 1, 3600, 7),
        ),
    ],
    ids=["as it comes", "as advised"],
)  # fmt: skip
def test_what_a_pool_of_sqlalchemy_was_made_with_is_told(
    tmp: Path, given: dict[str, Any], expected: tuple[float, ...]
) -> None:
    name = f"settings of {len(given)}"
    with instrumented("sqlalchemy"):
        engine = sa.create_engine(
            f"sqlite:///{tmp}/db", poolclass=sa.QueuePool, pool_logging_name=name, **given
        )
        with engine.connect():
            sqlalchemy_hooks.gauges()
        settings = ("size", "max_overflow", "pre_ping", "recycle", "timeout")
        told = tuple(last(f"trimtab.db.pool.{each}", **{POOL: name}) for each in settings)
        engine.dispose()
    assert told == expected


def test_a_pool_without_a_size_tells_nothing(tmp: Path) -> None:
    with instrumented("sqlalchemy"):
        engine = sa.create_engine(
            f"sqlite:///{tmp}/db", poolclass=sa.NullPool, pool_logging_name="none"
        )
        with engine.connect():
            sqlalchemy_hooks.gauges()
        engine.dispose()
    assert not [each for each, *_ in values("trimtab.db.pool.size") if each[POOL] == "none"]


# ---------------------------------------------------------------- asyncpg


@pytest.mark.asyncio
@pytest.mark.parametrize("seconds", [None, 60.0])
async def test_the_time_limit_of_commands_of_asyncpg_is_told(
    database_dsn: str, seconds: float | None
) -> None:
    asyncpg_hooks._timeouts.clear()
    with instrumented("asyncpg"):
        connection = await asyncpg.connect(database_dsn, command_timeout=seconds)
        try:
            assert await connection.fetchval("SELECT 1") == 1
        finally:
            await connection.close()
        asyncpg_hooks.gauges()
    name = "trimtab.db.command_timeout"
    assert last(name, **{"db.system.name": "postgresql"}) == (seconds or 0)


# ---------------------------------------------------------------- httpx


@pytest.fixture
def look() -> Iterator[Look]:
    gc.collect()  # clients of other tests
    httpx_hooks._recent.clear()
    with instrumented("httpx") as look:
        yield look


def told() -> dict[str, float]:
    httpx_hooks.gauges()
    names = ("timeout", "max_connections", "max_keepalive", "keepalive_expiry")
    return {name: last(CLIENT + name) for name in names}


def test_limits_and_time_out_of_clients_of_httpx_are_told(look: Look) -> None:
    with httpx.Client():
        assert told() == {
            "timeout": 5, "max_connections": 100, "max_keepalive": 20, "keepalive_expiry": 5
        }  # fmt: skip


@pytest.mark.asyncio
async def test_no_limit_is_told_as_less_than_none(look: Look) -> None:
    unbounded = httpx.Limits(max_connections=None, max_keepalive_connections=None,
                             keepalive_expiry=None)  # fmt: skip
    async with httpx.AsyncClient(timeout=None, limits=unbounded):
        assert set(told().values()) == {-1}


def test_a_time_out_that_leaves_out_one_part_is_none(look: Look) -> None:
    with httpx.Client(timeout=httpx.Timeout(10, read=None)):
        assert told()["timeout"] == -1


def test_clients_are_counted_and_those_that_are_gone_are_told_once(look: Look) -> None:
    for _ in range(3):
        httpx.Client(timeout=9).close()
    assert look(CLIENT + "created") == [(3, ())]
    gc.collect()
    assert told()["timeout"] == 9
    before = PROCESS.measures.families()[CLIENT + "timeout"]
    counts = [measure.read().count for measure in before]
    httpx_hooks.gauges()
    assert [measure.read().count for measure in before] == counts


def test_a_transport_without_a_pool_tells_its_time_out_alone(look: Look) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=transport, timeout=3) as client:
        assert [name for name, _ in httpx_hooks._settings(client)] == ["timeout"]


def test_a_client_that_is_made_wrongly_fails_as_it_did(look: Look) -> None:
    with pytest.raises(TypeError, match="nonsense"):
        httpx.Client(nonsense=1)  # type: ignore[call-arg]
    assert look(CLIENT + "created") == []


# ---------------------------------------------------------------- Celery


def test_a_worker_of_celery_tells_what_it_works_with(
    tmp: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = str(Path(__file__).parent.parent / "targets")
    with running_peer() as peer:
        worker = Proc(
            "celery-settings",
            [*(sys.executable, "-m", "celery", "-A", "celery_target", "worker", "-c", "1"),
             *("-Q", "settings", "--without-mingle", "--without-gossip", "-l", "INFO"),
             *("--max-tasks-per-child", "50", "--prefetch-multiplier", "2")],
            tmp,
            {"QUEUE_URL": redis_url, "QUEUE_NAME": "settings", "PYTHONPATH": targets,
             "TRIMTAB_AGENT": peer.address, "TRIMTAB_INTERVAL_MS": "50", "TRIMTAB_GAUGES": "0"},
        )  # fmt: skip
        with worker:
            worker.start().wait_line("ready.")
            monkeypatch.setenv("QUEUE_URL", redis_url)
            from celery import Celery  # type: ignore[import-untyped]

            sender = Celery("sender", broker=redis_url)
            sender.send_task("celery_target.add", (1, 2), queue="settings")
            sender.close()

            def settings() -> dict[str, float] | None:
                found = {
                    key.name.removeprefix("trimtab.celery."): delta.last
                    for key, delta in heard(peer).items()
                    if key.name.startswith("trimtab.celery.")
                }
                return found if "acks_late" in found else None

            assert wait_for(settings, "the settings", 20.0) == {
                "prefetch_multiplier": 2, "max_tasks_per_child": 50, "concurrency": 1,
                "acks_late": 0, "result_expires": 86_400, "compression": 0,
                "broker_pool_limit": 10,
            }  # fmt: skip
