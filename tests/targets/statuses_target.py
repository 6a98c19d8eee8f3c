"""An app that answers with the status it is asked for, and reads what clients send."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import trimtab.endings

vars(trimtab.endings)["BACKGROUND_NS"] = 3600 * 10**9  # as in asgi_target


async def answer(request: Request) -> Response:
    """Answer with a status."""
    return Response(status_code=request.path_params["status"])


async def fails(request: Request) -> Response:
    """Fail before anything is sent."""
    raise RuntimeError("as it is meant to")


async def reads(request: Request) -> Response:
    """Read the body to its end, or until the client has left."""
    await request.body()
    return Response()


app = Starlette(
    routes=[
        Route("/answer/{status:int}", answer, methods=["GET", "POST"]),
        Route("/fails", fails),
        Route("/reads", reads, methods=["POST"]),
    ]
)
