"""The shop's pages: `uvicorn examples.shop.app:app`.

    GET  /                          the window, cached for two seconds
    GET  /products/{id:int}         one product, cached
    GET  /search?q=                 a search without an index
    POST /cart/{user}/items         {"product": 7, "quantity": 1}
    POST /checkout                  {"user": "ann"}; the confirmation is written in the background
    GET  /orders/{id:int}           an order, by one query too many for each line
    GET  /reports/daily             a slow query
    GET  /stream                    all products as lines of JSON, as they are read
    GET  /broken                    raises

SHOP_DATA names the directory of the database (default `.cache/shop`). SHOP_REDIS, a URL, moves the
cache of products there and lets confirmations wait in a queue; with SHOP_TASKS they are tasks of RQ
on the Redis of that URL. SHOP_PAYMENTS, a URL, has orders paid there. SHOP_REPORT says which
release of the daily report this is: `returning` also counts customers who came back, and `indexed`
has the index that this needs. SHOP_LEAK_KIB, off by default, makes each product page lose that much
memory for ever.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from examples.shop import mail
from examples.shop.cache import Cache, Shared, connected
from examples.shop.database import Database, OutOfStockError
from examples.shop.payments import PaymentError, payments_at

__all__ = ["app"]

PAGE = 100
TODAY = "2026-03-01"

database = Database(Path(os.environ.get("SHOP_DATA", ".cache/shop")))
leak_kib = int(os.environ.get("SHOP_LEAK_KIB", "0"))
leaked: list[bytes] = []
redis = connected(os.environ.get("SHOP_REDIS", ""))
tasks = mail.tasks_on(os.environ.get("SHOP_TASKS", ""))
payments = payments_at(os.environ.get("SHOP_PAYMENTS", ""))
report = os.environ.get("SHOP_REPORT", "")
if report:
    database.index_customers(report == "indexed")
windows = Cache(1, ttl_s=2.0)
products = Shared(redis, "shop:product:", ttl_s=10.0) if redis else Cache(500, ttl_s=10.0)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    sending = asyncio.create_task(mail.work(redis)) if redis and tasks is None else None
    yield
    if sending is not None:
        sending.cancel()
    if payments is not None:
        await payments.close()
    if redis:
        await redis.aclose()


async def window(request: Request) -> Response:
    page = await windows.get("window")
    if page is None:
        rows = await run_in_threadpool(database.window)
        items = "".join(f"<li>{row['name']}: {row['price_cents'] / 100:.2f}</li>" for row in rows)
        page = f"<!doctype html><title>Chandlery</title><h1>Chandlery</h1><ul>{items}</ul>"
        await windows.put("window", page)
    return HTMLResponse(page)


async def product(request: Request) -> Response:
    number = request.path_params["id"]
    if leak_kib:
        leaked.append(bytes(leak_kib * 1024))
    found = await products.get(str(number))
    if found is None:
        row = await run_in_threadpool(database.product, number)
        if row is None:
            raise HTTPException(404, "no such product")
        found = row._asdict()
        await products.put(str(number), found)
    return JSONResponse(found)


async def search(request: Request) -> Response:
    words = request.query_params.get("q", "")
    if len(words) < 2:
        raise HTTPException(400, "expected at least two letters in q")
    return JSONResponse({"found": await run_in_threadpool(database.search, words)})


async def put_into_cart(request: Request) -> Response:
    body = await _body(request)
    number, quantity = body.get("product"), body.get("quantity", 1)
    if not isinstance(number, int) or not isinstance(quantity, int) or not 1 <= quantity <= 99:
        raise HTTPException(422, "expected product and a quantity from 1 to 99")
    user = request.path_params["user"]
    try:
        items = await run_in_threadpool(database.put_into_cart, user, number, quantity)
    except KeyError:
        raise HTTPException(404, "no such product") from None
    return JSONResponse({"items": items}, status_code=201)


async def check_out(request: Request) -> Response:
    user = (await _body(request)).get("user")
    if not isinstance(user, str):
        raise HTTPException(422, "expected user")
    try:
        order = await run_in_threadpool(database.check_out, user, TODAY)
    except OutOfStockError:
        raise HTTPException(409, "out of stock") from None
    if order is None:
        raise HTTPException(409, "the cart is empty")
    if payments is not None:
        try:
            await payments.take(order, await run_in_threadpool(database.total, order))
        except PaymentError as error:
            raise HTTPException(error.status, str(error)) from None
    later = BackgroundTask(_confirm, order)
    return JSONResponse({"order": order}, status_code=201, background=later)


async def _confirm(order: int) -> None:
    await run_in_threadpool(database.confirm, order)
    if tasks is not None:
        await run_in_threadpool(tasks.enqueue, mail.send, order)
    elif redis:
        await mail.post(redis, order)


async def order(request: Request) -> Response:
    found = await run_in_threadpool(database.order, request.path_params["id"])
    if found is None:
        raise HTTPException(404, "no such order")
    return JSONResponse(found)


async def daily_report(request: Request) -> Response:
    read = database.returning_report if report else database.daily_report
    return JSONResponse({"days": await run_in_threadpool(read)})


async def stream(request: Request) -> Response:
    return StreamingResponse(_lines(), media_type="application/x-ndjson")


async def _lines() -> AsyncIterator[bytes]:
    after = 0
    while rows := await run_in_threadpool(database.page, after, PAGE):
        after = rows[-1]["id"]
        yield b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def broken(request: Request) -> Response:
    raise RuntimeError("the mast is gone")


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise HTTPException(400, "expected JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(422, "expected an object")
    return body


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", window),
        Route("/products/{id:int}", product),
        Route("/search", search),
        Route("/cart/{user}/items", put_into_cart, methods=["POST"]),
        Route("/checkout", check_out, methods=["POST"]),
        Route("/orders/{id:int}", order),
        Route("/reports/daily", daily_report),
        Route("/stream", stream),
        Route("/broken", broken),
    ],
)
