"""What somebody sets up once: lines, a rule, an objective, a channel; and who is told by it."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Final

from examples.demo.api import Admin

__all__ = ["Desk", "furnish"]

HOST: Final = "127.0.0.1"
RULE: Final = "Reports are slow"
#: alerts come and go while one watches: their times are short
_RULE: Final = {
    "name": RULE,
    "metric": "p95",
    "warning": 180,
    "critical": 3000,
    "over": "30s",
    "for": "10s",
    "keepFiringFor": "40s",
    "minRequests": 5,
    "where": {"environment": "demo", "service": "shop", "route": "/reports/daily"},
    "description": "Somebody waits for each report. What changed? GET /explain says so.",
}
_OBJECTIVES: Final = (
    {
        "name": "The shop answers without errors",
        "target": 0.97,
        "windowDays": 7,
        "environment": "demo",
        "service": "shop",
    },
    {
        "name": "Reports are there within 150 ms",
        "target": 0.9,
        "objective": "latency",
        "below": 150,
        "windowDays": 1,
        "minRequests": 20,
        "environment": "demo",
        "service": "shop",
        "route": "/reports/daily",
    },
)
_THRESHOLDS: Final = {
    "responseTime": {"warning": 400, "critical": 2000},
    "errorRate": {"warning": 0.05, "critical": 0.2},
}


async def furnish(admin: Admin, webhook_port: int) -> None:
    """Set up channel, thresholds, rule and objectives; raises ApiError."""
    channel = {
        "name": "desk",
        "kind": "webhook",
        "settings": {"url": f"http://{HOST}:{webhook_port}/alerts"},
    }
    await admin.change(
        ("POST", "/channels", channel),
        ("PUT", "/thresholds", {"thresholds": _THRESHOLDS}),
        ("POST", "/alert-configs", _RULE),
        *(("POST", "/slos", objective) for objective in _OBJECTIVES),
    )


class Desk:
    """Takes the messages of the channel and says their titles; for one event loop."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen on a port of this machine, 0 for a free one; returns it."""
        self._server = await asyncio.start_server(self._take, HOST, port)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, ValueError, KeyError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                await writer.drain()
                self._say(f"the desk is told: {body['title']}")
        finally:
            writer.close()
