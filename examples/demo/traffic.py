"""Mixed traffic at a bounded rate, and an exact count of what was sent to each service."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from examples.demo.client import Client

__all__ = ["MIX", "STORY_MIX", "Mix", "Traffic"]

CONNECTIONS = 6
SEED = 8620


class Request(NamedTuple):
    """What is sent: method, path and a JSON body or none."""

    method: str
    path: str
    body: object = None


Maker = Callable[[random.Random], Request]
#: the share of its full rate that a service has now
Pace = Callable[[str], float]


def _get(path: str, most: int = 1) -> Maker:
    return lambda chance: Request("GET", path.replace("#", str(chance.randint(1, most))))


def _wanted(chance: random.Random) -> Request:
    # Few things are looked at often, most hardly ever.
    return Request("GET", f"/products/{1 + int(2_000 * chance.random() ** 4)}")


def _word(chance: random.Random) -> str:
    return chance.choice(("bolt", "cover", "hook", "pin", "ring", "strap"))


def _checkout(chance: random.Random) -> Request:
    return Request("POST", "/checkout", {"user": f"reader-{chance.randint(1, 40)}"})


#: service -> (share of all requests, what is asked of it with its weight)
Mix = Mapping[str, tuple[float, list[tuple[int, Maker]]]]

MIX: Mix = {
    "shop": (
        0.50,
        [
            (20, _get("/")),
            (40, _wanted),
            (6, lambda chance: Request("GET", f"/search?q={_word(chance)}")),
            (1, _get("/search?q=")),
            (
                10,
                lambda chance: Request(
                    "POST",
                    f"/cart/reader-{chance.randint(1, 40)}/items",
                    {"product": chance.randint(1, 2_000), "quantity": chance.randint(1, 3)},
                ),
            ),
            (4, _checkout),
            (10, _get("/orders/#", 4_000)),
            (2, _get("/reports/daily")),
            (2, _get("/stream")),
            (2, _get("/products/9999#", 9)),
            (2, _get("/wp-login-#.php", 900)),
            (1, _get("/broken")),
        ],
    ),
    "library": (
        0.40,
        [
            (15, _get("/")),
            (50, _get("/books/#", 3_000)),
            (10, _get("/books/by/author-#", 119)),
            (8, _get("/shelves/hall-3/row-#", 39)),
            (3, _get("/catalogue.csv")),
            (
                8,
                lambda chance: Request(
                    "POST", "/loans/", {"book": chance.randint(1, 3_000), "reader": "ann"}
                ),
            ),
            (2, lambda chance: Request("POST", "/loans/", {"book": "none"})),
            (2, lambda chance: Request("DELETE", f"/loans/{_uuid(chance)}")),
            (1, _get("/books/777#", 999)),
            (1, _get("/loans/overdue")),
        ],
    ),
    "records": (
        0.10,
        [
            (10, _get("/shop")),
            (30, _get("/shop/products/#", 2_000)),
            (20, _get("/shop/products.json?_size=20&_next=#", 1_900)),
            (20, _get("/shop/orders.json?_size=20&customer_id=#", 500)),
            (10, _get("/shop.json?sql=select+count(*)+from+order_lines+where+product_id=#", 2_000)),
            (4, _get("/shop/order_lines.csv?_size=max")),
            (3, _get("/shop/no_such_table")),
            (3, _get("/shop/products?_size=10")),
        ],
    ),
}


def _of_a_day() -> Mix:
    share, shop = MIX["shop"]
    # Reports and checkouts are asked for more often than in the short demo, for a day is short.
    shop = [*shop, (4, _get("/reports/daily")), (6, _checkout)]
    payments = [(6, _get("/payments/#", 400)), (4, _get("/settlements"))]
    return {**MIX, "shop": (share, shop), "payments": (0.04, payments)}


def _uuid(chance: random.Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


#: what a demo that tells a story asks
STORY_MIX: Mix = _of_a_day()


class Traffic:
    """Connections to each service that ask at random moments, `rate` requests a second in all.

    `pace` gives the share of that rate which a service has now, from 0 to 1. A service may move to
    another port. `statuses[service]` counts the answers read to the end, `failures[service]` the
    requests that got none; together they are what was sent. For one event loop.
    """

    def __init__(
        self, ports: Mapping[str, int], rate: float, mix: Mix = MIX, pace: Pace | None = None
    ) -> None:
        self.statuses: dict[str, Counter[int]] = {name: Counter() for name in mix}
        self.failures: dict[str, list[str]] = {name: [] for name in mix}
        self._mix = mix
        self._pace = pace
        self._ports = ports
        self._rate = rate
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin sending."""
        for name, (share, choices) in self._mix.items():
            for number in range(CONNECTIONS):
                pause_s = CONNECTIONS / (self._rate * share)
                chance = random.Random(f"{SEED} {name} {number}")
                self._tasks.append(
                    asyncio.create_task(self._connection(name, choices, pause_s, chance))
                )

    async def stop(self) -> None:
        """Send nothing new and read the answers that are still to come."""
        self._ending.set()
        await asyncio.gather(*self._tasks)

    def abandon(self) -> None:
        """Drop everything at once; the counts are no longer exact."""
        for task in self._tasks:
            task.cancel()

    def sent(self, service: str) -> int:
        """Return the number of requests sent to a service and finished, one way or the other."""
        return self.statuses[service].total() + len(self.failures[service])

    @property
    def total(self) -> int:
        """All requests sent."""
        return sum(map(self.sent, self._mix))

    async def _connection(
        self,
        service: str,
        choices: list[tuple[int, Maker]],
        pause_s: float,
        chance: random.Random,
    ) -> None:
        weights = [weight for weight, _ in choices]
        client = Client(self._ports[service])
        loop = asyncio.get_running_loop()
        due = loop.time() + chance.uniform(0, pause_s)
        try:
            while not await self._pause(due - loop.time()):
                # Late requests are not made up for: the rate is a bound.
                due = max(due + chance.expovariate(1 / pause_s), loop.time())
                if self._pace is not None and chance.random() > self._pace(service):
                    continue
                client.aim(self._ports[service])
                ((_, make),) = chance.choices(choices, weights)
                request = make(chance)
                body = b"" if request.body is None else json.dumps(request.body).encode()
                try:
                    answer = await client.request(request.method, request.path, body)
                except (OSError, EOFError, ValueError) as error:
                    found = self.failures[service]
                    # Of a service that is gone for hours the first ones say it all.
                    shown = (
                        f"{request.method} {request.path}: {error!r}" if len(found) < 100 else ""
                    )
                    found.append(shown)
                else:
                    self.statuses[service][answer.status] += 1
        finally:
            client.close()

    async def _pause(self, seconds: float) -> bool:
        """Wait for the next moment; True when no more is to be sent."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._ending.wait()
        except TimeoutError:
            pass
        return self._ending.is_set()
