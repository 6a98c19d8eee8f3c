"""A fault on purpose: the shop's disk becomes slow, then slower, then well; who is told, and when.

An alert of the shop is sent to three places that stand here for people: a mail server, a webhook,
and a client of the live stream. Each must hear of a warning, of its turn to critical and of its
end, once each and in this order.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiosmtpd.controller import Controller
from websockets.asyncio.client import connect

from examples.demo.services import HOST

__all__ = ["FAULTS", "Heard", "Listeners", "alerts_toml", "inject"]

#: ms by which scans are slow, one phase after the other
_SLOW, _SLOWER = 450, 1500
FAULTS: Final = ("latency",)
RULE: Final = "Shop is slow"
#: what every listener must hear of the rule, in this order
EXPECTED: Final = ("warning", "critical", "resolved")
#: seconds that one phase may take to be told
PHASE_S: Final = 75.0

Say = Callable[[str], None]


class Heard(NamedTuple):
    """One message: warning, critical or resolved, when it came, and its title."""

    what: str
    at_s: float
    title: str


def alerts_toml(webhook_port: int, smtp_port: int) -> str:
    """Return the rules and channels of the demo: times are short, so that one can watch."""
    return f"""
[[rule]]
name = "{RULE}"
metric = "responseTime"
warning = 250
critical = 900
over = "10s"
for = "10s"
keep_firing_for = "20s"
min_requests = 10
where = {{ service = "shop" }}
description = "The demo's disk is slow on purpose."

[channels.webhook]
kind = "webhook"
url = "http://{HOST}:{webhook_port}/alerts"
secret = "a secret of the demo"

[channels.mail]
kind = "smtp"
host = "{HOST}"
port = {smtp_port}
security = "none"
sender = "trimtab@example.com"
to = ["on-call@example.com"]
"""


class Listeners:
    """A mail server, a webhook and a live client, each with what it has heard of the rule."""

    def __init__(self, say: Say) -> None:
        self.heard: dict[str, list[Heard]] = {"webhook": [], "mail": [], "live": []}
        self._say = say
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._mail: Controller | None = None
        self._live: asyncio.Task[None] | None = None

    async def start(self, webhook_port: int, smtp_port: int) -> None:
        """Take mail and webhooks."""
        self._server = await asyncio.start_server(self._webhook, HOST, webhook_port)
        self._mail = Controller(self, hostname=HOST, port=smtp_port)
        await asyncio.to_thread(self._mail.start)

    def follow(self, port: int, token: str) -> None:
        """Listen to the live stream of a collector."""
        self._live = asyncio.create_task(self._stream(port, token))

    async def stop(self) -> None:
        """Listen no more."""
        if self._live is not None:
            self._live.cancel()
        if self._mail is not None:
            await asyncio.to_thread(self._mail.stop)
        if self._server is not None:
            self._server.close()

    async def wait_for(self, what: str, until_s: float) -> bool:
        """Return whether all have heard of something before a time of the monotonic clock."""
        while not all(any(each.what == what for each in heard) for heard in self.heard.values()):
            self._changed.clear()
            try:
                async with asyncio.timeout(until_s - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return True

    def faults(self) -> list[str]:
        """Return what was not as it must be, a sentence each."""
        wrong = []
        for place, heard in self.heard.items():
            got = [each.what for each in heard]
            if tuple(got) != EXPECTED:
                wrong.append(f"{place}: expected {', '.join(EXPECTED)}, got {', '.join(got)}")
        return wrong

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Take a mail; called by the mail server, in a loop of its own."""
        mail = message_from_bytes(envelope.content)
        texts = (each.get_payload(decode=True) for each in mail.walk() if not each.is_multipart())
        if not any(RULE.encode() in text for text in texts if isinstance(text, bytes)):
            # The machine may have alerts of its own, such as a disk that is nearly full.
            return "250 OK"
        title = str(make_header(decode_header(mail["Subject"])))
        what = "resolved" if "resolved" in title.lower() else title.partition("]")[0].strip("[ ")
        self._loop.call_soon_threadsafe(self._note, "mail", what.lower(), title)
        return "250 OK"

    def _note(self, place: str, what: str, title: str) -> None:
        self.heard[place].append(Heard(what, time.monotonic(), title))
        self._say(f"{place:<8} {title}")
        self._changed.set()

    async def _webhook(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length:")[2].split("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        finally:
            writer.close()
        if body["rule_name"] == RULE:
            what = "resolved" if body["kind"] == "resolved" else body["severity"]
            self._note("webhook", what, body["title"])

    async def _stream(self, port: int, token: str) -> None:
        """Follow alerts: Engine.IO 4 and Socket.IO 5 as their protocols are written."""
        address = f"ws://{HOST}:{port}/socket.io/?EIO=4&transport=websocket"
        level = 0
        async with connect(address) as socket:
            await socket.recv()
            await socket.send("40" + json.dumps({"token": token}))
            async for text in socket:
                if text == "2":
                    await socket.send("3")
                elif str(text).startswith("40"):
                    await socket.send('420["subscribe:alerts",{}]')
                elif str(text).startswith("42"):
                    name, alert = json.loads(str(text)[2:])
                    if name not in ("alert:new", "alert:critical") or alert["ruleName"] != RULE:
                        continue
                    rank = EXPECTED.index(alert["severity"]) + 1
                    if alert["state"] == "firing" and rank > level:
                        level = rank
                        self._note("live", alert["severity"], alert["title"])
                    elif alert["state"] == "resolved":
                        self._note("live", "resolved", alert["title"])


async def inject(
    shop: Path, listeners: Listeners, check: Callable[[], None], say: Say
) -> list[str]:
    """Make the shop slow, slower and well again; returns what was not told as it must be."""
    phases: Sequence[tuple[str, int, str]] = (
        ("warning", _SLOW, f"fault: every scan of the shop's disk takes {_SLOW} ms more"),
        ("critical", _SLOWER, f"fault: now {_SLOWER} ms more"),
        ("resolved", 0, "the disk is well again"),
    )
    for what, lag_ms, said in phases:
        say(said)
        (shop / "lag_ms").write_text(str(lag_ms) if lag_ms else "", encoding="ascii")
        begun = time.monotonic()
        if not await listeners.wait_for(what, begun + PHASE_S):
            check()
            return [f"{what} was not heard everywhere within {PHASE_S:.0f} s", *listeners.faults()]
        say(f"{what}: heard everywhere after {time.monotonic() - begun:.0f} s")
        check()
    return listeners.faults()
