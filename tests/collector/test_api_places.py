"""Nobody takes the places of others: not those without a token, not one reader, not all of them."""

import asyncio
import inspect
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from support.onetoken import access_by
from trimtab_collector.api.endpoint import BASE, ApiEndpoint
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.executor import ReadExecutor
from trimtab_collector.api.shared import SharedAnswers
from trimtab_collector.api.web import Api
from trimtab_collector.contract.callers import NOBODY, Role
from trimtab_collector.contract.health import TierSize
from trimtab_collector.contract.languages import LANG, LANGUAGES, language_of
from trimtab_collector.contract.parameters import RANGE, Parameters
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.memory.engine import MemoryStore

TOKEN = {"Authorization": "Bearer sesame"}
OTHER = {"Authorization": "Bearer lentil"}
THIRD = {"Authorization": "Bearer barley"}
ADMIN = {"Authorization": "Bearer saffron"}
MORE = {"lentil": Role.PLANNER, "barley": Role.PLANNER, "saffron": Role.ADMIN}
DEADLINE_S = 10


class Held:
    """A computation that waits until it may go on, and counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def __call__(self, *_: Any) -> TierSize:
        self.begun += 1
        assert self.go.wait(DEADLINE_S)
        return TierSize(files=self.begun, bytes=0)


def run(
    test: Callable[[httpx.AsyncClient], Awaitable[None]],
    *endpoints: ApiEndpoint,
    shares: bool = False,
) -> None:
    """Run a test with what asks an API of these endpoints."""
    executor, store = ReadExecutor(), MemoryStore()

    async def main() -> None:
        access = access_by("sesame", more=MORE)
        shared = SharedAnswers(executor) if shares else None
        parts = [StoreReader(store)]
        api = Api(parts, executor, access, endpoints or ENDPOINTS, shared=shared)
        app = Starlette(routes=api.routes(), exception_handlers=api.exception_handlers())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://x{BASE}") as client:
            await asyncio.wait_for(test(client), DEADLINE_S)

    try:
        asyncio.run(main())
    finally:
        executor.close()
        store.close()


async def settle() -> None:
    """Let every task that is ready run, until it waits for a thread."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_shared_answer_has_nothing_to_depend_on_but_what_it_is_shared_by() -> None:
    """The language of a header is a parameter; who asks, from where and how is not there."""
    seen: list[Parameters] = []

    def read(_store: StoreReader, parameters: Parameters) -> TierSize:
        """Return how often it was read, and the number of the language."""
        seen.append(parameters)
        return TierSize(files=len(seen), bytes=LANGUAGES.index(language_of(parameters)))

    async def test(client: httpx.AsyncClient) -> None:
        async def number(language: str, query: str = "") -> tuple[int, int]:
            headers = {**TOKEN, "Accept-Language": language}
            found = (await client.get(f"/said{query}", headers=headers)).json()["data"]
            return found["files"], found["bytes"]

        assert await number("ko") == (1, 1)
        assert await number("en") == (2, 0)
        assert await number("ko-KR") == await number("en", "?lang=ko") == (1, 1)
        assert await number("de") == await number("ko", "?lang=en") == (2, 0)
        for each in seen:
            assert (each.caller, each.address, dict(each.headers)) == (NOBODY, "", {})

    row = ApiEndpoint(("/said",), read, (TierSize,), (*RANGE, LANG))
    assert row.is_shared
    run(test, row, shares=True)


def test_a_reader_is_answered_while_a_hundred_without_a_token_wait() -> None:
    health = Held()

    async def test(client: httpx.AsyncClient) -> None:
        ask = client.get
        waiting = [asyncio.create_task(ask("/health")) for _ in range(100)]
        await settle()
        assert (await ask("/services", headers=TOKEN)).status_code == 200
        assert (await ask("/openapi.json")).status_code == 200
        health.go.set()
        answers = await asyncio.gather(*waiting)
        assert {(each.status_code, each.json()["data"]["files"]) for each in answers} == {(200, 1)}
        assert health.begun == 1

    others = [each for each in ENDPOINTS if each.paths != ("/health",)]
    run(test, ApiEndpoint(("/health",), health, (TierSize,), role=Role.ANYONE), *others)


def test_health_is_there_for_anyone_while_readers_wait_at_every_place() -> None:
    slow = Held()

    async def test(client: httpx.AsyncClient) -> None:
        ask = client.get
        both = (*([TOKEN] * 32), *([OTHER] * 32))
        waiting = [asyncio.create_task(ask("/slow", headers=each)) for each in both]
        await settle()
        busy = await ask("/slow", headers=THIRD)
        assert (busy.status_code, busy.json()["error"]["code"]) == (503, "busy")
        assert (await ask("/health")).json()["data"]["status"] == "healthy"
        slow.go.set()
        assert {each.status_code for each in await asyncio.gather(*waiting)} == {200}

    run(test, ApiEndpoint(("/slow",), slow, (TierSize,), RANGE), *ENDPOINTS)


def test_one_reader_has_half_of_the_places_and_others_the_rest() -> None:
    slow = Held()

    async def test(client: httpx.AsyncClient) -> None:
        ask = client.get
        waiting = [asyncio.create_task(ask("/slow", headers=TOKEN)) for _ in range(32)]
        await settle()
        busy = await ask("/slow", headers=TOKEN)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        waiting.append(asyncio.create_task(ask("/slow", headers=OTHER)))
        await settle()
        slow.go.set()
        assert {each.status_code for each in await asyncio.gather(*waiting)} == {200}
        assert (await ask("/slow", headers=TOKEN)).status_code == 200

    run(test, ApiEndpoint(("/slow",), slow, (TierSize,), RANGE))


def test_an_admin_changes_something_while_readers_wait_at_every_place() -> None:
    slow, change = Held(), Held()
    change.go.set()

    async def test(client: httpx.AsyncClient) -> None:
        both = (*([TOKEN] * 40), *([OTHER] * 40))
        waiting = [asyncio.create_task(client.post("/slow", headers=each)) for each in both]
        await settle()
        assert (await client.delete("/changed", headers=ADMIN)).status_code == 200
        slow.go.set()
        answers = await asyncio.gather(*waiting)
        assert [each.status_code for each in answers].count(503) == 16

    rows = (
        ApiEndpoint(("/slow",), slow, (TierSize,), RANGE, method="POST", computes=True),
        ApiEndpoint(("/changed",), change, (TierSize,), role=Role.ADMIN, method="DELETE"),
    )
    run(test, *rows)


def test_what_computes_in_spite_of_its_method_is_marked_so() -> None:
    mine = [each for each in ENDPOINTS if each.method != "GET" and each.role is Role.PLANNER]
    threads = [each for each in mine if not inspect.iscoroutinefunction(each.read)]
    assert all(each.computes for each in threads)
    assert [each.paths for each in threads] == [("/alert-configs/preview",)]


def test_a_state_that_another_process_locks_is_unavailable_for_now(tmp_path: Path) -> None:
    holder, other = (
        sqlite3.connect(tmp_path / "x.db", timeout=0, isolation_level=None, check_same_thread=False)
        for _ in range(2)
    )
    holder.execute("BEGIN IMMEDIATE")

    def change(*_: Any) -> TierSize:
        other.execute("BEGIN IMMEDIATE")
        return TierSize(files=0, bytes=0)

    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/change", headers=ADMIN)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["error"]["code"] == "unavailable"

    row = ApiEndpoint(("/change",), change, (TierSize,), role=Role.ADMIN, method="POST")
    run(test, row)
    holder.close()
    other.close()


def test_one_with_the_token_sees_health_as_it_is_now() -> None:
    health = Held()
    health.go.set()

    async def test(client: httpx.AsyncClient) -> None:
        ask = client.get
        first = await ask("/health")
        assert (await ask("/health")).content == first.content
        fresh = await ask("/health", headers=TOKEN)
        assert fresh.json()["data"]["files"] == 2

    run(test, ApiEndpoint(("/health",), health, (TierSize,), role=Role.ANYONE))
