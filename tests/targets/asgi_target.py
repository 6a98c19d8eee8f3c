"""A small Starlette app that servers under test run."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def item(request: Request) -> PlainTextResponse:
    """Answer with the item's number."""
    return PlainTextResponse(f"item {request.path_params['number']}")


app = Starlette(routes=[Route("/items/{number:int}", item, methods=["GET", "POST"])])
