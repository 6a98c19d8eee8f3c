"""Confirmations wait on Redis until a worker sends them, one at a time.

They wait in a list, which the shop's own processes work off; or in a queue of RQ, which a worker
beside them does: `rq worker confirmations`.
"""

import asyncio
import json
import time
from typing import Any

__all__ = ["QUEUE", "TASKS", "BouncedError", "post", "send", "tasks_on", "work"]

QUEUE = "shop:mail"
#: name of the queue of RQ
TASKS = "confirmations"
#: what sending one takes; and as a task, which is in no hurry
_SEND_S, _TASK_S = 0.4, 1.5
#: one address in so many is wrong
_WRONG = 60


class BouncedError(Exception):
    """The mail server knows no such address."""


async def post(redis: Any, order: int) -> None:
    """Have the confirmation of an order sent."""
    await redis.rpush(QUEUE, json.dumps({"order": order}))


async def work(redis: Any) -> None:
    """Send confirmations for ever; cancelled at the end."""
    while True:
        await redis.blpop([QUEUE], timeout=5)
        await asyncio.sleep(_SEND_S)


def send(order: int) -> None:
    """Send one confirmation: a task of RQ; raises BouncedError."""
    time.sleep(_TASK_S)
    if order % _WRONG == 0:
        raise BouncedError(order)


def tasks_on(url: str) -> Any:
    """Return the queue of RQ on the Redis at url, None for none."""
    if not url:
        return None
    from redis import Redis
    from rq import Queue

    return Queue(TASKS, connection=Redis.from_url(url))
