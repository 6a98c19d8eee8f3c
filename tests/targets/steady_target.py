"""An app that counts a steady rate beside its requests, from its first request until `/stop`."""

import threading
import time
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from trimtab import Counter, Histogram

RATE: Final = 20

_work = Counter("steady.work")
_times = Histogram("steady.times")
_stopped = threading.Event()


def _count() -> None:
    begun, done = time.monotonic(), 0
    while not _stopped.wait(0.02):
        due = int((time.monotonic() - begun) * RATE) - done
        done += due
        for _ in range(due):
            _work.inc()
            _times.observe(0.01)


_thread = threading.Thread(target=_count, daemon=True)


async def start(request: Request) -> PlainTextResponse:
    """Begin to count."""
    _thread.start()
    return PlainTextResponse("ok")


async def stop(request: Request) -> PlainTextResponse:
    """End counting; answer with how often it was counted."""
    _stopped.set()
    _thread.join(5)
    return PlainTextResponse(str(int(_work.value())))


app = Starlette(routes=[Route("/start", start), Route("/stop", stop)])
