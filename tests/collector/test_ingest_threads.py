"""In which thread a batch is checked: what takes long must not stop the loop for everybody."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.stores.batches import a_batch, key_of, window
from trimtab_collector.auth.keyring import KeyRing
from trimtab_collector.auth.keys import KeyFile
from trimtab_collector.auth.owners import AgentOwners
from trimtab_collector.cpushares import CpuShares
from trimtab_collector.ingest import Ingest
from trimtab_collector.quotas import Quotas
from trimtab_collector.statefile import StateFile
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import Numbered
from trimtab_collector.watch import Watch
from trimtab_core.batches import Point, encode


class Door:
    """The door of a collector, in this process, and where series were numbered."""

    def __init__(self, directory: Path) -> None:
        self.store = SQLiteStore(directory)
        self.state = StateFile(directory)
        self._text, _ = KeyFile(directory).new("", (), (), ("*",))
        self.keys = keys = KeyRing(directory)
        quotas = Quotas(100_000, 100)
        self._ingest = Ingest(
            *(self.store, keys, AgentOwners(self.state, keys), Watch(), 2**24, 2**26, quotas)
        )
        # No time passes, in which a key would have made good what it brought.
        self._ingest._pacing._shares = CpuShares(lambda: 0.0)
        self.threads: list[int] = []
        #: what is numbered beside the loop waits for it
        self.may_go = threading.Event()
        number = self.store.number

        def noted(*arguments: Any) -> Numbered:
            self.threads.append(threading.get_ident())
            if threading.current_thread() is not threading.main_thread():
                assert self.may_go.wait(10)
            return number(*arguments)

        self.store.number = noted  # type: ignore[method-assign, assignment]

    def level_s(self) -> float:
        """Of how many seconds of its pace the key was."""
        ((_, level_s),) = self._ingest._pacing._shares._paced.values()
        return level_s

    async def send(self, seq: int, series: int, first: int = 0, buckets: int = 1) -> int:
        """Send a batch with so many series, with so many buckets each; return the status."""
        names = range(first, first + series)
        point = Point(sum_us=5, max_us=5, buckets=dict.fromkeys(range(buckets), 1))
        points = {key_of(route=f"/{number}"): point for number in names}
        body = [encode(a_batch(seq, points, window_s=window(-60)))]
        found: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body.pop() if body else b"", "more_body": False}

        async def send(message: Any) -> None:
            found.append(message.get("status", 0))

        scope = {
            "type": "http",
            "path": "/agent/v1/batches",
            "method": "POST",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {self._text}".encode())],
        }
        await self._ingest(scope, receive, send)
        return found[0]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    found = Door(tmp_path)
    yield found
    found.keys.close()
    found.store.close()
    found.state.close()


@pytest.mark.asyncio
async def test_a_batch_of_many_new_names_is_numbered_beside_the_loop(door: Door) -> None:
    door.may_go.set()
    here = threading.get_ident()
    assert await door.send(0, 20) == 202
    assert await door.send(1, 500) == 202
    # The same names, then most of them: both are known.
    assert await door.send(2, 500) == 202
    assert await door.send(3, 450, first=60) == 202
    assert [each == here for each in door.threads] == [True, False, True, True]


@pytest.mark.asyncio
async def test_a_small_body_of_large_points_is_numbered_beside_the_loop(door: Door) -> None:
    door.may_go.set()
    here = threading.get_ident()
    for number in range(3):
        assert await door.send(number, 60, first=60 * number) == 202
    # A few kB, of names that are known, which unpack to 180,000 buckets.
    assert await door.send(3, 180, buckets=1_000) == 202
    assert [each == here for each in door.threads] == [True, True, True, False]


@pytest.mark.asyncio
async def test_two_batches_of_a_key_at_a_time_are_charged_for_their_own_names(door: Door) -> None:
    first = asyncio.ensure_future(door.send(0, 400))
    while not door.threads:
        await asyncio.sleep(0.001)
    assert await door.send(1, 64, first=1_000) == 202
    door.may_go.set()
    assert await first == 202
    assert door.level_s() == pytest.approx(0.464)
