"""What the sender does with a batch that is refused: put aside, cut in two, and on to the next."""

import asyncio
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from support.stores.batches import BOOT, a_batch, accounting_of, key_of, point_of
from trimtab_agent.forwarder import Forwarder, make_client
from trimtab_agent.spool.regroup import points_of
from trimtab_agent.spool.spool import Spool
from trimtab_core.batches import Batch, decode, encode


class Stub:
    """A collector that answers what a function of the batch says, and notes what it took when."""

    def __init__(self, answer: Callable[[Batch], int]) -> None:
        self.taken: list[Batch] = []
        self.asked: list[tuple[float, int, int]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                batch = decode(self.rfile.read(int(self.headers["content-length"])))
                status = answer(batch)
                stub.asked.append((time.monotonic(), batch.seq, status))
                if status == 202:
                    stub.taken.append(batch)
                self.send_response(status)
                body = b'{"duplicate":false,"watchSeconds":0}'
                if status != 202:
                    body = b'{"success":false,"error":{"code":"refused","message":"refused"}}'
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Stub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


async def send_all(spool: Spool, url: str, until: Callable[[], bool] | None = None) -> None:
    """Run a sender until the spool is empty, or until something else holds."""
    done = until or (lambda: spool.stats.held_batches == 0)
    client = make_client(url, "key", "")
    task = asyncio.create_task(Forwarder(spool, client, 10, lambda _: None, BOOT).run())
    try:
        async with asyncio.timeout(10):
            while not done():
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()


def filled(directory: Path, batches: list[Batch]) -> Spool:
    spool = Spool(directory / "spool")
    for batch in batches:
        samples = sum(sum(point.buckets.values()) for _, point in points_of(batch))
        spool.append(encode(batch), samples=samples, window_s=batch.window_s)
    return spool


def wide(seq: int, routes: int) -> Batch:
    points = {key_of(f"/{n}"): point_of([n]) for n in range(routes)}
    return a_batch(seq, points, processes=[accounting_of([(0, routes)], sent=routes)])


@pytest.mark.asyncio
async def test_a_batch_that_is_too_large_arrives_in_parts_that_add_up(tmp_path: Path) -> None:
    with Stub(lambda batch: 413 if batch.points > 10 else 202) as stub:
        spool = filled(tmp_path, [wide(1, 100), a_batch(2)])
        await send_all(spool, stub.url)
    parts = [batch for batch in stub.taken if batch.seq != 2]
    assert sum(batch.points for batch in parts) == 100
    assert len({batch.seq for batch in parts}) == len(parts)
    claims = [range_ for batch in parts for each in batch.processes for range_ in each.ranges]
    numbers = sorted(n for first, count in claims for n in range(first, first + count))
    assert numbers == list(range(100))
    assert spool.stats.split == len(parts) - 1
    assert (spool.stats.quarantined, spool.stats.held_bytes) == (0, 0)
    spool.close()
    again = Spool(tmp_path / "spool")
    assert again.stats.held_batches == 0
    again.close()


@pytest.mark.asyncio
async def test_a_single_point_that_is_still_too_large_is_put_aside(tmp_path: Path) -> None:
    with Stub(lambda batch: 413 if batch.seq % 2**40 == 1 else 202) as stub:
        spool = filled(tmp_path, [wide(1, 4), a_batch(2)])
        await send_all(spool, stub.url)
    assert [batch.seq for batch in stub.taken] == [2]
    assert (spool.stats.quarantined, spool.stats.quarantined_samples) == (4, 4)
    spool.close()


@pytest.mark.asyncio
async def test_a_refused_batch_is_put_aside_at_once_and_the_next_follows(tmp_path: Path) -> None:
    for status in (400, 422):
        with Stub(lambda batch, status=status: status if batch.seq == 2 else 202) as stub:  # type: ignore[misc]
            spool = filled(tmp_path / str(status), [a_batch(n) for n in (1, 2, 3)])
            await send_all(spool, stub.url)
        assert [seq for _, seq, _ in stub.asked] == [3, 2, 1]
        refused_at, next_at = stub.asked[1][0], stub.asked[2][0]
        assert next_at - refused_at < 1
        assert spool.stats.quarantined == 1
        spool.close()


@pytest.mark.asyncio
async def test_a_batch_that_a_server_saw_counts_as_sent_and_one_without_connection_does_not(
    tmp_path: Path,
) -> None:
    with Stub(lambda batch: 503) as stub:
        seen = filled(tmp_path / "seen", [a_batch(1)])
        await send_all(seen, stub.url, until=lambda: bool(stub.asked))
        url = stub.url
    alone = filled(tmp_path / "alone", [a_batch(1)])
    forwarder = Forwarder(alone, make_client(url, "key", ""), 10, lambda _: None, BOOT)
    await forwarder.flush(0.1)
    assert forwarder.failed == {"unreachable": 1}
    for spool, tried in ((seen, True), (alone, False)):
        entry = spool.next(newest=True)
        assert entry is not None
        assert entry.tried is tried
        spool.close()
