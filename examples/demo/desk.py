"""What somebody sets up once: lines, a rule, objectives, a channel; and who is told by it."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Final

from examples.demo.api import Admin
from examples.demo.services import HOST

__all__ = ["Desk", "furnish", "promise"]

RULE: Final = "Reports are slow"
_OF_REPORTS: Final = {"environment": "demo", "service": "shop", "route": "/reports/daily"}
#: the lowest line for reports, in ms; how far above what is usual it lies, and the critical one
_LEAST_MS, _ABOVE, _FAR_ABOVE = 150, 3, 30
_THRESHOLDS: Final = {
    "responseTime": {"warning": 400, "critical": 2000},
    "errorRate": {"warning": 0.05, "critical": 0.2},
}


async def furnish(admin: Admin, webhook_port: int) -> None:
    """Set up a channel and thresholds; raises ApiError."""
    channel = {
        "name": "desk",
        "kind": "webhook",
        "settings": {"url": f"http://{HOST}:{webhook_port}/alerts"},
    }
    await admin.change(
        ("POST", "/channels", channel),
        ("PUT", "/thresholds", {"thresholds": _THRESHOLDS}),
    )


async def promise(admin: Admin, usual_ms: float) -> None:
    """Set up a rule for reports and two objectives, by the usual p95 of reports in ms.

    A busy machine is slower than a calm one, and each has its own line. Raises ApiError.
    """
    line_ms = max(_LEAST_MS, round(_ABOVE * usual_ms, -1))
    rule = {
        "name": RULE,
        "metric": "p95",
        "warning": line_ms,
        "critical": max(_FAR_ABOVE * _LEAST_MS, round(_FAR_ABOVE * usual_ms, -1)),
        # Alerts come and go while one watches: their times are short.
        "over": "50s",
        "for": "10s",
        "keepFiringFor": "40s",
        "minRequests": 4,
        "where": _OF_REPORTS,
        "description": "Somebody waits for each report. What changed? GET /explain says so.",
    }
    fast = {
        "name": f"Reports are there within {line_ms:g} ms",
        "target": 0.9,
        "objective": "latency",
        "below": line_ms,
        "windowDays": 1,
        "minRequests": 20,
        **_OF_REPORTS,
    }
    right = {
        "name": "The shop answers without errors",
        "target": 0.97,
        "windowDays": 7,
        "environment": "demo",
        "service": "shop",
    }
    await admin.change(
        ("POST", "/alert-configs", rule), ("POST", "/slos", fast), ("POST", "/slos", right)
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
