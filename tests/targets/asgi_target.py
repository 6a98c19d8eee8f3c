"""A small Starlette app that servers under test run."""

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import trimtab.endings

# On a busy machine a thread may lose the processor behind a last byte. That is a record of work of
# its own, and tests count records exactly.
vars(trimtab.endings)["BACKGROUND_NS"] = 3600 * 10**9


async def item(request: Request) -> PlainTextResponse:
    """Answer with the item's number."""
    return PlainTextResponse(f"item {request.path_params['number']}")


async def slowly(_: Request) -> PlainTextResponse:
    """Answer after 2 ms: however fast the machine is, 1 ms is slow here."""
    await asyncio.sleep(0.002)
    return PlainTextResponse("at last")


app = Starlette(
    routes=[
        Route("/items/{number:int}", item, methods=["GET", "POST"]),
        Route("/slowly", slowly),
    ]
)
