"""What the sender makes of a collector that refuses, misleads, dawdles or pours: bounds and counts.

Real sender, spool, client and sockets. How batches that are too large are cut in two stands in
test_spool_sending.py.
"""

import asyncio
import logging
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from support.processes.stub_collector import Answer, StubCollector
from trimtab_agent import forwarder as module
from trimtab_agent.forwarder import Forwarder, make_client
from trimtab_agent.relay import Relay
from trimtab_agent.spool.spool import Spool

OK = Answer()


class Sending:
    """A sender, not running yet, with a spool of batches that were closed just now."""

    def __init__(self, directory: Path, url: str, batches: int) -> None:
        self.spool = Spool(directory / "spool")
        self.client = make_client(url, "ttk_secret", "")
        self.watched: list[float] = []
        self.forwarder = Forwarder(self.spool, self.client, 10, self.watched.append, b"boot-one")
        for number in range(batches):
            payload = b"batch %d" % number
            self.spool.append(payload, samples=1, window_s=int(time.time()))

    @property
    def held(self) -> int:
        return self.spool.stats.held_batches

    async def once(self) -> float:
        """Send the newest batch; return the pause that the sender would make."""
        entry = self.spool.next(newest=True)
        assert entry is not None, "every batch is leased or gone"
        return await self.forwarder.send(entry)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.forwarder.run())
        try:
            yield
        finally:
            alive = not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert alive, "the sender has ended"


@asynccontextmanager
async def sending(directory: Path, url: str, batches: int = 1) -> AsyncIterator[Sending]:
    opened = Sending(directory, url, batches)
    try:
        yield opened
    finally:
        await opened.client.aclose()
        opened.spool.close()


async def until(predicate: Callable[[], object], what: str, timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        await asyncio.sleep(0.01)


async def pass_by(seconds: float) -> None:
    """Let time pass in which nothing may happen."""
    over_at = time.monotonic() + seconds
    await until(lambda: time.monotonic() > over_at, "time to pass", seconds + 5)


async def _put_aside(tmp_path: Path, status: int) -> None:
    def answer(body: bytes, _: int) -> Answer:
        refused = Answer(status, body=b'{"success":false,"error":{"code":"bad_batch"}}')
        return refused if body == b"batch 1" else OK

    with StubCollector(answer) as stub:
        async with sending(tmp_path, stub.url, 3) as opened, opened.running():
            await until(lambda: opened.held == 0, "the spool to be empty")
        assert opened.spool.stats.quarantined == 1
        assert opened.forwarder.failed == {str(status): 1}
    assert [asked.body for asked in stub.asked] == [b"batch 2", b"batch 1", b"batch 0"]
    assert stub.asked[2].at - stub.asked[1].at < 1.0


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [400, 422])
async def test_a_batch_refused_for_good_is_asked_once_and_the_next_follows_within_a_second(
    tmp_path: Path, status: int
) -> None:
    await _put_aside(tmp_path, status)


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_the_collector_asks_for_is_kept(tmp_path: Path, status: int) -> None:
    def answer(_: bytes, before: int) -> Answer:
        return OK if before else Answer(status, {"Retry-After": "1"})

    with StubCollector(answer) as stub:
        async with sending(tmp_path, stub.url) as opened, opened.running():
            await until(lambda: opened.held == 0, "the batch to be taken")
            assert opened.forwarder.failed == {str(status): 1}
    first, second = stub.asked
    assert 1.0 <= second.at - first.at <= 1.2 + 1.0


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["40", "0", "soon", "-3", "Fri, 31 Dec 1999 23:59:59 GMT"])
async def test_a_pause_is_bounded_whatever_the_collector_asks_for(
    tmp_path: Path, text: str
) -> None:
    async def run() -> list[float]:
        async with sending(tmp_path, stub.url) as opened:
            return [await opened.once() for _ in range(5)]

    with StubCollector(lambda *_: Answer(503, {"Retry-After": text})) as stub:
        pauses = await run()
    low, high = (40.0, 48.0) if text == "40" else (0.25, 30.0)
    assert low <= min(pauses) <= max(pauses) <= high


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_tried_once_a_minute_and_another_one_at_once(
    tmp_path: Path, status: int
) -> None:
    def answer(_: bytes, before: int) -> Answer:
        return OK if 0 < before < 4 else Answer(status)

    with StubCollector(answer) as stub:
        async with sending(tmp_path, stub.url, 3) as opened, opened.running():
            await until(lambda: opened.forwarder.failed, "the refusal")
            opened.forwarder.wake()
            await pass_by(1.5)
            assert len(stub.asked) == 1
            assert (opened.held, opened.spool.stats.quarantined) == (3, 0)
            assert opened.forwarder.trouble.startswith(str(status))
            async with make_client(stub.url, "ttk_right", "") as right:
                opened.forwarder.use(right)
                await until(lambda: opened.held == 0, "the batches to be taken")
        async with sending(tmp_path / "pause", stub.url) as opened:
            assert await opened.once() >= 60
    keys = [asked.headers["authorization"].split()[1] for asked in stub.asked]
    assert keys == ["ttk_secret", *["ttk_right"] * 3, "ttk_secret"]


@pytest.mark.asyncio
async def test_another_key_that_comes_while_the_old_one_is_being_refused_is_used_at_once(
    tmp_path: Path,
) -> None:
    use: list[Callable[[], object]] = []

    def answer(_: bytes, before: int) -> Answer:
        if before:
            return OK
        use[0]()
        return Answer(401)

    with StubCollector(answer) as stub:
        async with sending(tmp_path, stub.url) as opened, make_client(stub.url, "new", "") as new:
            loop = asyncio.get_running_loop()
            use.append(lambda: loop.call_soon_threadsafe(opened.forwarder.use, new))
            async with opened.running():
                await until(lambda: opened.held == 0, "the batch to be taken")


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(
    tmp_path: Path, status: int
) -> None:
    with StubCollector(lambda *_: OK) as other:
        location = {"Location": f"{other.url}/agent/v1/batches"}
        with StubCollector(lambda *_: Answer(status, location)) as stub:
            async with sending(tmp_path, stub.url) as opened, opened.running():
                await until(lambda: opened.forwarder.failed[str(status)] == 2, "two tries")
                assert (opened.held, opened.spool.stats.quarantined) == (1, 0)
        assert {asked.path for asked in stub.asked} == {"/agent/v1/batches"}
        assert other.asked == []


BODIES = [b"<html>", b"", b"\xff\xfe\x00", b"[1]", b'{"watchSeconds":"x"}', b"[" * 50_000]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_a_success_of_something_in_the_collectors_place_frees_nothing(
    tmp_path: Path, body: bytes, status: int
) -> None:
    with StubCollector(lambda *_: Answer(status, {"Content-Type": "text/html"}, body)) as stub:
        async with sending(tmp_path, stub.url) as opened:
            assert await opened.once() > 0
            assert (opened.held, opened.forwarder.sent, opened.watched) == (1, 0, [])
            assert "something else answers in its place" in opened.forwarder.trouble


@pytest.mark.asyncio
async def test_only_the_collectors_own_status_with_its_body_is_a_receipt(tmp_path: Path) -> None:
    told = b'{"duplicate":true,"watchSeconds":0}'
    for status, held in ((200, 1), (202, 0)):
        with StubCollector(lambda *_, status=status: Answer(status, body=told)) as stub:
            async with sending(tmp_path / str(status), stub.url) as opened:
                await opened.once()
                assert opened.held == held


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [400, 422])
async def test_a_refusal_of_something_in_the_collectors_place_puts_nothing_aside(
    tmp_path: Path, status: int
) -> None:
    with StubCollector(lambda *_: Answer(status, body=b"<html>Bad request</html>")) as stub:
        async with sending(tmp_path, stub.url) as opened:
            assert await opened.once() > 0
            assert (opened.held, opened.spool.stats.quarantined) == (1, 0)


@pytest.mark.asyncio
async def test_a_pause_may_be_told_as_a_date(tmp_path: Path) -> None:
    headers = {"Retry-After": formatdate(time.time() + 100, usegmt=True)}
    with StubCollector(lambda *_: Answer(503, headers)) as stub:
        async with sending(tmp_path, stub.url) as opened:
            assert 95 <= await opened.once() <= 125


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [202, 503])
async def test_an_answer_of_fifty_megabytes_is_not_kept(tmp_path: Path, status: int) -> None:
    huge = Answer(status, body=bytes(2**20), times=50)
    with StubCollector(lambda *_: huge) as stub:
        async with sending(tmp_path, stub.url) as opened:
            tracemalloc.start()
            try:
                paused = await opened.once()
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak < 20 * 2**20
            # Nothing of that form is the collector's yes.
            assert paused > 0
            assert opened.held == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [202, 500])
async def test_an_answer_that_never_ends_holds_the_sender_no_longer_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 1.0)
    with StubCollector(lambda *_: Answer(status, trickle_s=0.2)) as stub:
        async with sending(tmp_path, stub.url, 2) as opened:
            async with opened.running():
                await until(lambda: len(stub.asked) >= 2, "the next request", 5)
            assert opened.held == (1 if status == 202 else 2)


class Broken(httpx.AsyncBaseTransport):
    """Raises what no transport should."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise RuntimeError("broken on purpose")


@pytest.mark.asyncio
async def test_an_error_that_nobody_expected_costs_a_pause_and_no_batch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with StubCollector(lambda *_: OK) as stub, caplog.at_level(logging.WARNING):
        async with sending(tmp_path, stub.url) as opened:
            broken = httpx.AsyncClient(transport=Broken(), base_url=stub.url)
            opened.forwarder.use(broken)
            async with opened.running(), broken:
                await until(lambda: opened.forwarder.failed["internal"] == 2, "two tries")
                await opened.forwarder.send_live(b"live")
                assert opened.held == 1
                opened.forwarder.use(opened.client)
                await until(lambda: opened.held == 0, "the batch to be taken")
    said = [each.getMessage() for each in caplog.records if "broken on purpose" in each.message]
    assert len([text for text in said if "Traceback" in text]) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [b"<html>", OK.body, b"[" * 50_000], ids=["html", "ok", "deep"])
async def test_polls_that_are_answered_at_once_with_nothing_stay_rare_and_go_on(
    body: bytes,
) -> None:
    with StubCollector(lambda *_: Answer(200, body=body)) as stub:
        async with make_client(stub.url, "key", "") as client:
            reached = asyncio.Event()
            reached.set()
            task = asyncio.create_task(Relay(client, "agent-1", lambda _: None, reached).run())
            await until(lambda: len(stub.asked) == 2, "the second poll")
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert stub.asked[1].at - stub.asked[0].at > 0.9


@pytest.mark.asyncio
async def test_pauses_grow_to_a_cap_differ_from_each_other_and_start_anew_after_a_success(
    tmp_path: Path,
) -> None:
    async def run() -> list[float]:
        async with sending(tmp_path, stub.url, 2) as opened:
            return [await opened.once() for _ in range(tries + 2)]

    tries = 300
    with StubCollector(lambda _, before: OK if before == tries else Answer(500)) as stub:
        pauses = await run()
    for failures, pause in enumerate(pauses[:tries], 1):
        assert 0.25 <= pause <= min(0.25 * 6**failures, 30.0)
    capped = pauses[10:tries]
    # Uniform over the whole range also at the cap; each bound is missed once in more than 10^9.
    assert min(capped) < 5 < 25 < max(capped)
    assert 11 < sum(capped) / len(capped) < 19
    assert len(set(capped)) > len(capped) / 2
    assert pauses[tries] == 0
    assert pauses[tries + 1] <= 1.5


@pytest.mark.asyncio
async def test_where_nobody_listens_pauses_stay_short_and_differ(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with sending(tmp_path, url) as opened:
            pauses = [await opened.once() for _ in range(40)]
    assert 0.5 <= min(pauses) <= max(pauses) <= 2.5
    assert len(set(pauses)) > 20


@pytest.mark.asyncio
@pytest.mark.parametrize("news", ["wake", "answered"])
async def test_a_fresh_window_or_an_answered_poll_ends_a_pause_that_has_grown_long(
    tmp_path: Path, news: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BACKOFF_S", (29.0, 30.0))
    with StubCollector(lambda _, before: OK if before else Answer(500)) as stub:
        async with sending(tmp_path, stub.url) as opened, opened.running():
            await until(lambda: opened.forwarder.trouble, "a failure")
            getattr(opened.forwarder, news)()
            await until(lambda: opened.held == 0, "the batch to be taken", 3)


@pytest.mark.asyncio
async def test_no_news_ends_a_pause_that_the_collector_asked_for(tmp_path: Path) -> None:
    def answer(_: bytes, before: int) -> Answer:
        return OK if before else Answer(503, {"Retry-After": "1"})

    with StubCollector(answer) as stub:
        async with sending(tmp_path, stub.url) as opened, opened.running():
            await until(lambda: opened.forwarder.trouble, "a failure")
            opened.forwarder.wake()
            opened.forwarder.answered()
            await until(lambda: opened.held == 0, "the batch to be taken")
    assert stub.asked[1].at - stub.asked[0].at >= 1.0
