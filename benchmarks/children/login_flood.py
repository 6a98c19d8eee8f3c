"""Many people who log in at once, again and again, each from an address of their own.

Reads a line of JSON, {"port", "names", "password"}. Each has one connection and logs in as soon as
the answer before has come; after 429 or 503 it waits as long as Retry-After says. Prints a line
when the first has logged in, goes on until a line comes, and prints {"seconds", "logins",
"refused", "others", "took_ms"}, where took_ms are the times of those that were let in.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop


class Flood:
    """The people, and what became of their tries."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self.password = password
        self.refused = 0
        self.others: dict[str, int] = {}
        self.took_ms: list[float] = []
        self.first = asyncio.Event()

    async def person(self, name: str, address: str) -> None:
        """Log in until cancelled."""
        body = json.dumps({"name": name, "password": self.password}).encode()
        head = (
            "POST /api/performance/auth/login HTTP/1.1\r\nHost: x\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(address, 0)
        )
        try:
            while True:
                begun_s = time.perf_counter()
                writer.write(head.encode() + body)
                answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(_header(answer, "content-length")))
                status = answer.split(" ", 2)[1]
                if status == "200":
                    self.took_ms.append((time.perf_counter() - begun_s) * 1e3)
                    self.first.set()
                elif status in ("429", "503"):
                    self.refused += 1
                    await asyncio.sleep(float(_header(answer, "retry-after")))
                else:
                    self.others[status] = self.others.get(status, 0) + 1
                    await asyncio.sleep(1)
        finally:
            writer.close()


async def main(asked: dict[str, Any]) -> None:
    """Run the people; see above."""
    flood = Flood(asked["port"], asked["password"])
    people = [
        asyncio.create_task(flood.person(name, f"127.1.{n >> 7}.{(n & 127) + 1}"))
        for n, name in enumerate(asked["names"])
    ]
    await asyncio.wait_for(flood.first.wait(), 30)
    begun_s = time.perf_counter()
    print(json.dumps({"people": len(people)}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    seconds = time.perf_counter() - begun_s
    broken = [each for each in people if each.done()]
    if broken:
        raise SystemExit(f"logins: {len(broken)} connections broke: {broken[0].exception()!r}")
    for each in people:
        each.cancel()
    await asyncio.gather(*people, return_exceptions=True)
    result = {
        "seconds": seconds,
        "logins": len(flood.took_ms),
        "refused": flood.refused,
        "others": flood.others,
        "took_ms": flood.took_ms,
    }
    print(json.dumps(result), flush=True)


def _header(head: str, name: str) -> str:
    return head.partition(f"\r\n{name}:")[2].partition("\r\n")[0].strip()


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.stdin.readline())))
