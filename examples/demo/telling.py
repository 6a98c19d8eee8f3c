"""What a demo that tells a story does besides traffic: a desk, a history, releases, an address."""

import argparse
import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable

from examples.demo import history
from examples.demo.api import Admin, Api, ApiError
from examples.demo.desk import Desk, furnish, promise
from examples.demo.parts import ADMIN, Stack
from examples.demo.services import STORY_SERVICES
from examples.demo.story import ROUTE, Story
from examples.demo.traffic import Traffic
from trimtab_collector.auth.links import guest_link
from trimtab_collector.contract.callers import Role
from trimtab_collector.desktop import has_desktop, show
from trimtab_core.addresses import DASHBOARD

__all__ = ["Telling", "lead"]

#: seconds of warming up that tell nothing, and seconds after them that history is made of
_WARM_S, _MEASURED_S = 8.0, 25.0


class Telling:
    """One story beside the traffic; for one event loop."""

    def __init__(
        self,
        stack: Stack,
        traffic: Traffic,
        options: argparse.Namespace,
        say: Callable[[str], None],
    ) -> None:
        self._stack = stack
        # A client is for one task at a time: this one is for what happens here, in order.
        api = self._api = Api(stack.ports["collector"], stack.token)
        self._traffic = traffic
        self._options = options
        self._say = say
        self._admin = Admin(stack.ports["collector"], ADMIN, stack.password)
        self._desk = Desk(say)
        self._story = Story(stack, api, self._admin, say)
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = threading.Event()
        #: where the dashboard is, and how to sign in
        self.address = f"{stack.url}{DASHBOARD} (as {ADMIN}, {stack.password})"

    async def begin(self) -> None:
        """Set the desk up, say where the dashboard is, and let things happen; raises ApiError."""
        begun_s = time.time()
        await self._desk.start(self._stack.ports["webhook"])
        await furnish(self._admin, self._stack.ports["webhook"])
        if self._options.check:
            return
        await lead(self._stack, self._say, opens=not self._options.no_browser)
        self._tasks = [asyncio.create_task(self._tell(begun_s))]

    def look(self) -> None:
        """Say why the story has ended, if it has; raises PartError."""
        for task in [each for each in self._tasks if each.done()]:
            self._tasks.remove(task)
            try:
                task.result()
            except ApiError as error:
                self._say(f"the story ends here: {error}")

    async def check(self) -> int:
        """Tell the story at once and look at what the API says; returns the exit code."""
        await promise(self._admin, usual_ms=0)
        wrong = await self._story.check()
        failures = [each for some in self._traffic.failures.values() for each in some]
        if failures:
            wrong.append(f"an answer to every request ({failures[0]})")
        self._traffic.abandon()
        told = f"not seen: {'; '.join(wrong)}" if wrong else "the API names line, route and version"
        verdict = "failed" if wrong else "passed"
        print(f"demo: story check {verdict}: {told}", flush=True)
        return 1 if wrong else 0

    async def stop(self) -> None:
        """Let nothing more happen."""
        self._ending.set()
        for task in self._tasks:
            task.cancel()
        self._desk.stop()

    async def _tell(self, begun_s: float) -> None:
        try:
            await self._past(begun_s)
        except (ApiError, OSError, ValueError) as error:
            self._say(f"the story has no day before it: {error}")
        await self._story.run()

    async def _past(self, begun_s: float) -> None:
        """Draw lines and generate the day before, as soon as it is known what is usual."""
        await asyncio.sleep(_WARM_S + _MEASURED_S)
        versions = {each.name: each.version for each in STORY_SERVICES}
        routes = await history.measured(self._api, versions, begun_s + _WARM_S)
        reports = [each.p95_ms for each in routes if each.route == ROUTE]
        await promise(self._admin, max(reports, default=0.0))
        name = ("--name", history.AGENT, "--environment", "demo")
        key = await self._stack.key(*name)
        begun = time.monotonic()
        port = self._stack.ports["collector"]
        count = await asyncio.to_thread(history.send, port, key, routes, begun_s, self._ending)
        mark = {
            "kind": "note",
            "name": "generated until here",
            "environment": "demo",
            "at": str(int(begun_s)),
        }
        await self._admin.change(("POST", "/marks", mark))
        self._say(
            f"{count:,} requests of the day before are generated, from what was measured so far "
            f"({time.monotonic() - begun:.1f} s); a mark says where they end"
        )


async def lead(stack: Stack, say: Callable[[str], None], *, opens: bool) -> None:
    """Say where the dashboard is, by a link that signs an admin in once; open it on a desktop."""
    directory = stack.directory / "collector"
    link = await asyncio.to_thread(guest_link, directory, stack.url, ADMIN, Role.ADMIN)
    say(f"the dashboard, signed in once within 10 minutes: {link}")
    if opens and has_desktop(os.environ, sys.platform, is_terminal=sys.stdout.isatty()):
        show(link)
