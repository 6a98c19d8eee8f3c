"""Bodies of batches that are being read: no key keeps others from sending."""

import asyncio
from typing import Any

import pytest

from trimtab_collector.batchbodies import BatchBodies
from trimtab_collector.contract.errors import ApiError


class Body:
    """A body whose parts come when the test says so."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = asyncio.Queue[dict[str, Any]]()
        for part in parts:
            self.parts.put_nowait({"type": "http.request", "body": part, "more_body": True})

    def end(self) -> None:
        self.parts.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def receive(self) -> dict[str, Any]:
        return await self.parts.get()


@pytest.mark.asyncio
async def test_bodies_of_one_key_that_do_not_end_leave_half_to_others() -> None:
    bodies = BatchBodies(1_000, 4_000)
    held = [Body(b"x" * 900) for _ in range(2)]
    reading = [asyncio.ensure_future(bodies.read({}, each.receive, "greedy")) for each in held]
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as refused:
        await bodies.read({}, Body(b"x" * 900).receive, "greedy")
    assert (refused.value.status, refused.value.code) == (503, "unavailable")
    other = Body(b"y" * 500, b"y" * 500)
    other.end()
    assert await bodies.read({}, other.receive, "modest") == b"y" * 1_000
    for each in held:
        each.end()
    assert await asyncio.gather(*reading) == [b"x" * 900] * 2


@pytest.mark.asyncio
async def test_the_largest_body_that_is_allowed_always_fits() -> None:
    bodies = BatchBodies(1_000, 1_000)
    body = Body(b"x" * 600, b"x" * 400)
    body.end()
    assert await bodies.read({}, body.receive, "key") == b"x" * 1_000
