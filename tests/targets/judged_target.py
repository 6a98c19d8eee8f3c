"""An app with what an analysis should find: slow and repeated queries, a cache that never hits."""

import os
from typing import Any

import sqlalchemy
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

engine = sqlalchemy.create_engine(
    os.environ["DSN"].replace("postgresql://", "postgresql+psycopg://"),
    pool_size=4,
    max_overflow=0,
)
redis = Redis.from_url(os.environ["REDIS"])


def _run(statement: str, times: int = 1, **values: Any) -> None:
    with engine.connect() as connection:
        for _ in range(times):
            connection.execute(sqlalchemy.text(statement), values).all()


async def report(request: Request) -> Response:
    await run_in_threadpool(_run, "SELECT pg_sleep(:seconds)", seconds=0.55)
    return PlainTextResponse("ok")


async def orders(request: Request) -> Response:
    await run_in_threadpool(_run, "SELECT id FROM things WHERE word = :word", 8, word="x")
    return PlainTextResponse("ok")


async def cached(request: Request) -> Response:
    for number in range(60):
        await redis.get(f"never-there-{number}")
    return PlainTextResponse("ok")


app = Starlette(
    routes=[Route("/report", report), Route("/orders", orders), Route("/cached", cached)]
)
