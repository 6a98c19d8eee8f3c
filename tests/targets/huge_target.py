"""An app with a number in its metrics that is wider than 64 bits."""

import asyncio
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from trimtab import Counter, Gauge

_huge = Counter("huge.sent")
_wild = Gauge("huge.wild")
_orders = Counter("huge.orders")


async def order(request: Request) -> PlainTextResponse:
    """Count an order, beside a number that no msgpack holds and one that is none."""
    _huge.inc(2**64)
    _wild.set(float("nan"))
    _orders.inc()
    await asyncio.sleep(0.002)  # slow, by the setting of the test
    return PlainTextResponse("ok")


app: Final = Starlette(routes=[Route("/order", order)])
