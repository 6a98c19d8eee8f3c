"""The payments of the shop: `uvicorn examples.payments.app:app`.

    POST /payments              {"order": 7, "cents": 1250, "method": "card"}; 402 when declined
    GET  /payments/{id:int}     one payment, while it is kept
    GET  /settlements           what was settled so far

It counts what only it can know: payments by method and outcome, amounts, what waits to be settled.
A payment waits for a bank, which takes its time and sometimes does not answer. Receipts are kept
for a minute and a half, so that memory follows the traffic.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trimtab import Counter, Gauge, Histogram, monitored, watch_queue

__all__ = ["app"]

METHODS = ("card", "transfer", "wallet")
#: what a bank takes, in seconds: the median, and how widely it spreads (sigma of the logarithm)
_BANK = {"card": (0.012, 0.5), "transfer": (0.030, 0.7), "wallet": (0.006, 0.3)}
_DECLINED, _SILENT = 0.03, 0.004
_RECEIPT_BYTES = 256 * 1024
_KEPT_S = 90.0
_MOST = 500
_SETTLE_S = 20.0
_PER_SETTLEMENT = 8

taken = Counter("payments.taken", "Payments asked for.", "{payment}", labels=["method", "outcome"])
amounts = Histogram("payments.amount", "Amounts of payments.", "{cent}", labels=["method"])
unsettled = Gauge("payments.unsettled", "Money taken and not settled yet.", "{cent}")

chance = random.Random()
numbers = count(1)
waiting: deque["Payment"] = deque(maxlen=10_000)
#: when it was taken by the loop's clock, the payment, its receipt
kept: deque[tuple[float, "Payment", bytes]] = deque(maxlen=_MOST)
settled = {"payments": 0, "cents": 0}


class BankSilentError(Exception):
    """The bank gave no answer in time."""


class Payment(NamedTuple):
    """A payment that was taken."""

    id: int
    order: int
    cents: int
    method: str


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    settling = asyncio.create_task(_settle_for_ever())
    yield
    settling.cancel()


async def pay(request: Request) -> Response:
    try:
        body = await request.json()
        order, cents, method = int(body["order"]), int(body["cents"]), str(body["method"])
        median_s, spread = _BANK[method]
    except (ValueError, TypeError, KeyError):
        raise HTTPException(422, f"expected order, cents, and a method of {METHODS}") from None
    if not await _ask_bank(method, median_s, spread):
        taken.inc(method=method, outcome="declined")
        raise HTTPException(402, "declined")
    payment = Payment(next(numbers), order, cents, method)
    taken.inc(method=method, outcome="taken")
    amounts.observe(cents, method=method)
    waiting.append(payment)
    unsettled.inc(cents)
    now = asyncio.get_running_loop().time()
    kept.append((now, payment, b"." * _RECEIPT_BYTES))
    while kept[0][0] < now - _KEPT_S:
        kept.popleft()
    return JSONResponse(payment._asdict(), status_code=201)


async def payment(request: Request) -> Response:
    number = request.path_params["id"]
    for _, found, _ in kept:
        if found.id == number:
            return JSONResponse(found._asdict())
    raise HTTPException(404, "no such payment, or it is kept no more")


async def settlements(request: Request) -> Response:
    return JSONResponse({**settled, "waiting": len(waiting)})


async def _ask_bank(method: str, median_s: float, spread: float) -> bool:
    """Return whether the bank agrees; raises BankSilentError."""
    await asyncio.sleep(min(2.0, median_s * chance.lognormvariate(0, spread)))
    luck = chance.random()
    if luck < _SILENT:
        taken.inc(method=method, outcome="unknown")
        raise BankSilentError(method)
    return luck >= _SILENT + _DECLINED


async def _settle_for_ever() -> None:
    while True:
        await asyncio.sleep(_SETTLE_S)
        await _settle([waiting.popleft() for _ in range(min(len(waiting), _PER_SETTLEMENT))])


@monitored("payments.settlement")
async def _settle(batch: list[Payment]) -> None:
    await asyncio.sleep(0.002 * len(batch))
    cents = sum(each.cents for each in batch)
    settled["payments"] += len(batch)
    settled["cents"] += cents
    unsettled.dec(cents)


def _waiting() -> Any:
    return len(waiting)


watch_queue("settlement", _waiting)

app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/payments", pay, methods=["POST"]),
        Route("/payments/{id:int}", payment),
        Route("/settlements", settlements),
    ],
)
