"""Answers that are asked for at the same time: computed once, and never older than a change."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from support.clock import Clock
from support.processes.api import TOKEN, Api
from support.processes.drive import served
from support.processes.servers import short_dir
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.executor import ReadExecutor
from trimtab_collector.api.shared import SharedAnswers
from trimtab_collector.app import CollectorApp
from trimtab_collector.auth.keys import KeyFile
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.settings import CollectorSettings


class Work:
    """Counts its answers; waits for `go`."""

    def __init__(self) -> None:
        self.count = 0
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def __call__(self) -> bytes:
        self.count += 1
        self.begun.set()
        assert self.go.wait(5)
        return b"%d" % self.count


@pytest.fixture
def executor() -> Iterator[ReadExecutor]:
    found = ReadExecutor()
    yield found
    found.close()


@pytest.mark.asyncio
async def test_those_who_ask_at_the_same_time_get_one_answer(executor: ReadExecutor) -> None:
    shared, work = SharedAnswers(executor), Work()
    work.go.clear()
    asked = [asyncio.ensure_future(shared.get("a", work, f"caller {n}")) for n in range(20)]
    await asyncio.to_thread(work.begun.wait, 5)
    work.go.set()
    assert await asyncio.gather(*asked) == [b"1"] * 20
    assert await shared.get("b", work, "x") == b"2"


@pytest.mark.asyncio
async def test_an_answer_is_shared_for_a_second_and_until_something_changes(
    executor: ReadExecutor,
) -> None:
    clock = Clock(100)
    shared, work = SharedAnswers(executor, clock), Work()
    assert await shared.get("a", work, "x") == b"1"
    clock.advance_s(0.9)
    assert await shared.get("a", work, "y") == b"1"
    clock.advance_s(0.2)
    assert await shared.get("a", work, "y") == b"2"
    shared.renew()
    assert await shared.get("a", work, "y") == b"3"
    clock.advance_s(-50)
    assert await shared.get("a", work, "y") == b"4"


@pytest.mark.asyncio
async def test_a_change_while_an_answer_is_computed_makes_the_next_one_new(
    executor: ReadExecutor,
) -> None:
    shared, work = SharedAnswers(executor), Work()
    work.go.clear()
    first = asyncio.ensure_future(shared.get("a", work, "x"))
    await asyncio.to_thread(work.begun.wait, 5)
    shared.renew()
    second = asyncio.ensure_future(shared.get("a", work, "x"))
    await asyncio.sleep(0)
    work.go.set()
    await asyncio.gather(first, second)
    await shared.get("a", work, "x")
    assert work.count == 2


@pytest.mark.asyncio
async def test_a_failure_is_nobodys_but_of_those_who_wait_for_it(executor: ReadExecutor) -> None:
    shared = SharedAnswers(executor)

    def fail() -> bytes:
        raise ApiError(422, "too_much", "too much")

    found = await asyncio.gather(
        *(shared.get("a", fail, "x") for _ in range(3)), return_exceptions=True
    )
    assert [type(each) for each in found] == [ApiError] * 3
    assert await shared.get("a", Work(), "x") == b"1"


@pytest.mark.asyncio
async def test_who_has_places_left_is_not_refused_because_another_has_none(
    executor: ReadExecutor,
) -> None:
    shared, work, slow = SharedAnswers(executor), Work(), Work()
    slow.go.clear()
    busy = [asyncio.ensure_future(executor.run(slow, by="greedy")) for _ in range(32)]
    await asyncio.sleep(0)
    asked = [
        asyncio.ensure_future(shared.get("a", work, who)) for who in ("greedy", "modest", "greedy")
    ]
    for refused in (asked[0], asked[2]):
        with pytest.raises(ApiError, match="32 reads of yours wait already"):
            await refused
    slow.go.set()
    assert await asked[1] == b"1"
    await asyncio.gather(*busy)


@pytest.mark.asyncio
async def test_answers_for_anyone_take_no_place_from_a_reader_and_wait_for_none(
    executor: ReadExecutor,
) -> None:
    clock, work, slow = Clock(100), Work(), Work()
    shared = SharedAnswers(executor, clock, apart=True)
    slow.go.clear()
    busy = [asyncio.ensure_future(executor.run(slow, by=f"{n % 2}")) for n in range(64)]
    await asyncio.sleep(0)
    assert await shared.get("/health", work, "") == b"1"
    clock.advance_s(0.9)
    assert await shared.get("/health", work, "") == b"1"
    clock.advance_s(0.2)
    assert await shared.get("/health", work, "") == b"2"
    slow.go.set()
    await asyncio.gather(*busy)


@pytest.mark.asyncio
async def test_who_stops_waiting_ends_it_for_nobody_else(executor: ReadExecutor) -> None:
    shared, work = SharedAnswers(executor), Work()
    work.go.clear()
    first = asyncio.ensure_future(shared.get("a", work, "x"))
    await asyncio.to_thread(work.begun.wait, 5)
    second = asyncio.ensure_future(shared.get("a", work, "y"))
    await asyncio.sleep(0)
    first.cancel()
    work.go.set()
    assert await second == b"1"


@pytest.mark.asyncio
async def test_what_is_kept_is_bounded(executor: ReadExecutor) -> None:
    shared = SharedAnswers(executor)
    large: Callable[[], bytes] = lambda: bytes(1024 * 1024)  # noqa: E731
    for number in range(40):
        await shared.get(number, large, "x")
    assert shared.held_bytes <= 16 * 1024 * 1024
    for number in range(300):
        await shared.get(("small", number), Work(), "x")
    assert len(shared) <= 128


def test_answers_that_depend_on_who_asks_are_never_shared() -> None:
    shared = {each.paths[0] for each in ENDPOINTS if each.is_shared}
    assert {"/services", "/metrics/history", "/alerts", "/dashboard"} <= shared
    assert not [path for path in shared if path.startswith(("/auth", "/users", "/tokens"))]
    assert all(each.role is Role.PLANNER for each in ENDPOINTS if each.is_shared)
    assert "/health" not in shared


def test_a_batch_that_was_taken_is_in_the_next_answer_and_in_those_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, runs = ReadExecutor.run, []

    async def counting(self: ReadExecutor, work: Any, *arguments: Any, by: str = "") -> Any:
        runs.append(work)
        return await run(self, work, *arguments, by=by)

    monkeypatch.setattr(ReadExecutor, "run", counting)
    with short_dir() as directory:
        key, _ = KeyFile(directory).new()
        app = CollectorApp(CollectorSettings(data_dir=str(directory), token=TOKEN))
        try:
            with served(app, lifespan="on") as address:
                api = Api(f"http://{address}")
                with Sender(int(address.rpartition(":")[2]), key) as agent:
                    for seq in range(5):
                        agent.insist(a_batch(seq, {key_of(): point_of([5])}, window_s=window()))
                        assert api.get("/services")["services"][0]["requests"] == seq + 1
                before = len(runs)
                answers = [api.request("/routes")[1] for _ in range(20)]
                assert {each["data"]["routes"][0]["requests"] for each in answers} == {5}
                # One of them in each second is computed.
                assert len(runs) - before < 10
        finally:
            app.close()


@pytest.mark.asyncio
async def test_a_commit_ends_an_answer_but_for_those_to_whom_an_older_one_will_do(
    executor: ReadExecutor,
) -> None:
    clock = Clock(100)
    shared, work = SharedAnswers(executor, clock), Work()
    assert await shared.get("a", work, "x") == b"1"
    shared.committed()
    clock.advance_s(4.9)
    assert await shared.get("a", work, "y", oldest_s=5) == b"1"
    assert await shared.get("a", work, "y") == b"2"
    clock.advance_s(5.1)
    assert await shared.get("a", work, "y", oldest_s=5) == b"3"
    shared.renew()
    assert await shared.get("a", work, "y", oldest_s=5) == b"4"


def test_who_takes_an_older_answer_gets_one_and_each_gets_their_coding_and_language() -> None:
    with short_dir() as directory:
        key, _ = KeyFile(directory).new()
        app = CollectorApp(CollectorSettings(data_dir=str(directory), token=TOKEN))
        try:
            with served(app, lifespan="on") as address, Sender(_port(address), key) as agent:

                def ask(path: str, **headers: str) -> httpx.Response:
                    found = {
                        "Authorization": f"Bearer {TOKEN}",
                        "Accept-Encoding": "identity",
                        **{name.replace("_", "-"): value for name, value in headers.items()},
                    }
                    return httpx.get(f"http://{address}/api/performance{path}", headers=found)

                def requests(**headers: str) -> int:
                    services = ask("/services", **headers).json()["data"]["services"]
                    return int(services[0]["requests"])

                for seq in range(2):
                    agent.insist(a_batch(seq, {key_of(): point_of([5])}, window_s=window()))
                    # The first is computed now; after the second batch it is the older one.
                    assert requests(Cache_Control="max-age=10") == 1
                assert requests() == 2
                for coding in ("gzip", "zstd"):
                    answer = ask("/services", Accept_Encoding=coding)
                    assert answer.headers["content-encoding"] == coding
                    assert answer.headers["vary"] == "accept-encoding"
                    assert answer.json()["data"]["services"]
                plain = ask("/services", Accept_Encoding="gzip;q=0, br")
                assert "content-encoding" not in plain.headers
                texts = {
                    ask("/overview", Accept_Language=each).json()["data"]["sentence"]["text"]
                    for each in ("en", "ko")
                }
                assert len(texts) == 2
        finally:
            app.close()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
