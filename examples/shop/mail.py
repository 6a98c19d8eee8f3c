"""Confirmations wait in a list on Redis until a worker sends them, one at a time."""

import asyncio
import json
from typing import Any

__all__ = ["QUEUE", "post", "work"]

QUEUE = "shop:mail"
#: what sending one takes
_SEND_S = 0.4


async def post(redis: Any, order: int) -> None:
    """Have the confirmation of an order sent."""
    await redis.rpush(QUEUE, json.dumps({"order": order}))


async def work(redis: Any) -> None:
    """Send confirmations for ever; cancelled at the end."""
    while True:
        await redis.blpop([QUEUE], timeout=5)
        await asyncio.sleep(_SEND_S)
