"""An app that queries, caches and calls others, with secrets wherever one may hold one."""

import os
from typing import Any

import httpx
import sqlalchemy
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import trimtab

SECRETS = [f"s3cret-{number:02}" for number in range(22)]
CARD, TOKEN = "4111111111111111", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzM2NyZXQifQ.c2VjcmV0LXNpZw"

asked = trimtab.Counter("instrumented.asked", "Requests that were asked.", labels=["by"])
trimtab.watch_queue("webhook", lambda: 7)
trimtab.watch_queue("broken", lambda: 1 // 0)
sizes = trimtab.Histogram("instrumented.sizes", "Sizes.", unit="By")
engine = sqlalchemy.create_engine(
    os.environ["DSN"].replace("postgresql://", "postgresql+psycopg://")
)
redis = Redis.from_url(os.environ["REDIS"])
client = httpx.AsyncClient()
text = sqlalchemy.text


def _rows(statement: str, **values: Any) -> list[Any]:
    with engine.connect() as connection:
        return [*connection.execute(text(statement), values)]


def _orders() -> int:
    with engine.connect() as connection:
        for number in range(7):
            connection.execute(
                text("SELECT name FROM things WHERE id = :n AND word <> :word"),
                {"n": number, "word": SECRETS[0]},
            ).all()
    return 7


async def orders(request: Request) -> Response:
    return JSONResponse({"orders": await run_in_threadpool(_orders)})


def _planted() -> None:
    s = SECRETS
    statements = [
        f"SELECT id FROM things WHERE word = '{s[1]}' OR word = 'it''s {s[2]}'",
        f"SELECT id FROM things /* {s[3]} */ WHERE id = 1 -- {s[4]}",
        f"SELECT $${s[5]}$$, $tag$ {s[6]} $tag$, E'\\'{s[7]}', U&'{s[8]}'",
        f"SELECT id FROM things WHERE word IN ('{s[9]}', '{s[10]}') AND id = {CARD}",
        f"INSERT INTO things VALUES (1, '{s[11]}', 'b'), (2, '{s[12]}', 'c')",
        f"SELECT '{TOKEN}', /* a /* {s[13]} */ b */ 1",
    ]
    for statement in statements:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement.replace("%", "%%"))


async def planted(request: Request) -> Response:
    await run_in_threadpool(_planted)
    await request.body()
    return PlainTextResponse("ok")


async def slow(request: Request) -> Response:
    await run_in_threadpool(_rows, "SELECT pg_sleep(:time), :word", time=0.3, word=SECRETS[14])
    return PlainTextResponse("ok")


async def failing(request: Request) -> Response:
    await run_in_threadpool(
        _rows, f"SELECT no_such_column FROM things WHERE word = '{SECRETS[15]}'"
    )
    return PlainTextResponse("never")


async def cached(request: Request) -> Response:
    name = f"{SECRETS[16]}:{request.path_params['key']}"
    found = await redis.get(name)
    if found is None:
        await redis.set(name, SECRETS[17])
    return PlainTextResponse("hit" if found else "miss")


async def calls(request: Request) -> Response:
    url = f"http://name:{SECRETS[18]}@127.0.0.1:{request.url.port}/ok?word={SECRETS[19]}"
    answer = await client.get(url, headers={"Authorization": TOKEN})
    return PlainTextResponse(answer.text)


async def ok(request: Request) -> Response:
    asked.inc(by="calls")
    sizes.observe(2.5)
    return PlainTextResponse("ok")


app = Starlette(
    routes=[
        Route("/orders/{id}", orders),
        Route("/planted", planted, methods=["POST"]),
        Route("/slow", slow),
        Route("/failing", failing),
        Route("/cached/{key}", cached),
        Route("/calls", calls),
        Route("/ok", ok),
    ]
)
