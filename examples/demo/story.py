"""What happens in a demo that tells a story: a deploy that goes wrong, its rollback, its repair.

The new release of the shop counts in its daily report who came back, and lacks the index that this
needs: `/reports/daily` becomes slow. Somebody is told, goes back to the release before, and some
minutes later the release with the index follows. Then it is quiet, until the week begins anew.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from examples.demo.api import Admin, Api, ApiError
from examples.demo.day import WEEK_S
from examples.demo.parts import Stack

__all__ = ["ROUTE", "Story"]

ROUTE: Final = "/reports/daily"
#: what the daily report of the shop may be: see examples/shop/app.py
_STEADY, _SLOW, _FIXED = "", "returning", "indexed"
#: seconds that a check waits until the API shows what has happened
_SEEN_S: Final = 60.0
#: seconds between two looks at the API
_LOOK_S: Final = 0.5


class Times(NamedTuple):
    """Seconds from one thing that happens to the next."""

    deploy_s: float = 50.0
    rollback_s: float = 150.0
    repair_s: float = 300.0


class Story:
    """The releases of the shop, one after the other."""

    def __init__(self, stack: Stack, api: Api, admin: Admin, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._api = api
        self._admin = admin
        self._say = say
        #: what runs now: version, and which report it has
        self._now = ("2.4.0", _STEADY)

    async def run(self) -> None:
        """Tell the story again each week, for ever; raises PartError, ApiError."""
        times, minor = Times(), 5
        while True:
            begun = time.monotonic()
            await asyncio.sleep(times.deploy_s)
            before = self._now
            await self.deploy(f"2.{minor}.0", _SLOW)
            await asyncio.sleep(times.rollback_s)
            await self.roll_back(*before)
            await asyncio.sleep(times.repair_s)
            await self.deploy(f"2.{minor}.1", _FIXED)
            await asyncio.sleep(max(0.0, begun + WEEK_S - time.monotonic()))
            minor += 1

    async def check(self) -> list[str]:
        """Deploy, look whether the API shows what is wrong, and go back; returns what is missing.

        Raises PartError, ApiError.
        """
        before = self._now
        await self.deploy("2.5.0", _SLOW)
        end_s, wrong = time.monotonic() + _SEEN_S, []
        looks: dict[str, Callable[[], Awaitable[str]]] = {
            "the line of the slow query": self._line,
            "the mark of the deploy": self._mark,
            "the route and the version that are to blame": self._blame,
        }
        for what, look in looks.items():
            said = await self._seen(look, end_s)
            self._say(f"{what}: {said or 'expected, and not seen'}")
            if not said:
                wrong.append(what)
        await self.roll_back(*before)
        return wrong

    async def deploy(self, version: str, report: str) -> None:
        """Put a version of the shop in the place of the one that runs."""
        self._say(f"deploy: the shop {self._now[0]} → {version}")
        await self._stack.deploy("shop", version, {"SHOP_REPORT": report} if report else {})
        self._now = (version, report)

    async def roll_back(self, version: str, report: str) -> None:
        """Go back to a version, and mark it: one that was gone for minutes is no deploy."""
        bad = self._now[0]
        await self.deploy(version, report)
        mark = {
            "kind": "deploy",
            "name": version,
            "environment": "demo",
            "service": "shop",
            "detail": f"rollback: {bad} → {version}",
        }
        await self._admin.change(("POST", "/marks", mark))

    async def _seen(self, look: Callable[[], Awaitable[str]], until_s: float) -> str:
        while not (said := await look()) and time.monotonic() < until_s:
            self._stack.check()
            await asyncio.sleep(_LOOK_S)
        return said

    async def _line(self) -> str:
        found = await self._read("/slow-queries", from_="-2m", service="shop", route=ROUTE)
        for each in found.get("worst", ()):
            where = str(each["caller"] or each["site"])
            if "in returning_report" in where:
                return f"{each['duration']:.0f} ms at {where}"
        return ""

    async def _mark(self) -> str:
        found = await self._read("/marks", from_="-10m", kind="deploy", service="shop")
        return next((each["detail"] for each in found.get("marks", ())), "")

    async def _blame(self) -> str:
        sides = {"field": "version", "a": "2.4.0", "b": "2.5.0", "minRequests": 10}
        found = await self._read("/explain", from_="-2m", service="shop", **sides)
        first = next(iter(found.get("routes", ())), None)
        if not first or first["route"] != ROUTE or not first["requestsB"]:
            return ""
        database = first["causes"]["database"]
        if not first["difference"] > 0 or database < first["difference"] / 2:
            return ""
        return (
            f"{ROUTE} takes {first['meanB']:.0f} ms in {sides['b']}, {first['meanA']:.0f} ms in "
            f"{sides['a']}, most of it in the database"
        )

    async def _read(self, path: str, **params: object) -> Any:
        try:
            return await self._api.read(path, **params)
        except ApiError:
            # Nothing of a version is known before its first window.
            return {}
